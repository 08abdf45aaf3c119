// Package release names the releases of Consul that the fake knows.
package release

import "fmt"

// Version is a release of Consul whose behaviour is known. Later ones are greater.
type Version int

// The releases that the fake knows.
const (
	V1_8_7 Version = iota
	V1_21_4
)

// String returns the version as the agent writes it.
func (v Version) String() string {
	if v == V1_8_7 {
		return "1.8.7"
	}
	return "1.21.4"
}

// Parse returns the version with that text.
func Parse(text string) (Version, error) {
	for _, v := range []Version{V1_8_7, V1_21_4} {
		if v.String() == text {
			return v, nil
		}
	}
	return 0, fmt.Errorf("version %q: want 1.21.4 or 1.8.7", text)
}
