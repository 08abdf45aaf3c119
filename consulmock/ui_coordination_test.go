package consulmock

import (
	"strings"
	"testing"
)

func TestUIBytes(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		"two\nlines":                   "two\nlines",
		"a \x00 byte":                  `"a \x00 byte"`,
		strings.Repeat("x", 201):       strings.Repeat("x", 200) + " … (201 bytes)",
		"x" + strings.Repeat("é", 100): "x" + strings.Repeat("é", 99) + " … (201 bytes)",
	} {
		if got := uiBytes([]byte(text)); got != want {
			t.Errorf("%q is shown as %s, want %s", text, got, want)
		}
	}
}
