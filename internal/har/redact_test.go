package har

import "testing"

// What is left of a header that holds a secret.
func TestRedactHeader(t *testing.T) {
	for value, want := range map[string]string{
		"Basic c2Vrcml0": "Basic redacted", "bearer s1": "bearer redacted", "Digest a=b": "Digest redacted", "Negotiate \tx": "Negotiate redacted",
		"Other s1": "redacted", "Bearer": "redacted", "": "",
	} {
		if got := redactHeader("Authorization", value); got != want {
			t.Errorf("%q became %q, want %q", value, got, want)
		}
	}
}
