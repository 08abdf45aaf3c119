package differential

import "testing"

// TestSubstance leaves out what agents make up, and what comes to the catalog later or
// never.
func TestSubstance(t *testing.T) {
	const (
		one   = `[{"Node":{"ID":"11111111-0000-0000-0000-000000000001","Node":"n"},"Status":"passing","Output":"a","ModifyIndex":7}]`
		same  = `[{"ModifyIndex":9,"Node":{"ID":"22222222-0000-0000-0000-000000000002","Node":"n"},"Status":"passing","Output":"b"}]`
		other = `[{"Node":{"ID":"11111111-0000-0000-0000-000000000001","Node":"n"},"Status":"critical","Output":"a","ModifyIndex":7}]`
	)
	if substance([]byte(one)) != substance([]byte(same)) {
		t.Errorf("%s and %s differ in substance", one, same)
	}
	if substance([]byte(one)) == substance([]byte(other)) {
		t.Errorf("%s and %s are the same in substance", one, other)
	}
}

// TestValueAt finds texts and numbers in a body.
func TestValueAt(t *testing.T) {
	const body = `[{"ID":"x","ModifyIndex":18446744073709551615,"On":true}]`
	for path, want := range map[string]string{"0.ID": "x", "0.ModifyIndex": "18446744073709551615", "0.On": "", "1.ID": "", "ID": "", "0.ID.x": ""} {
		if got := valueAt([]byte(body), path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if got := valueAt([]byte("no JSON"), "0"); got != "" {
		t.Errorf("of no JSON it is %q", got)
	}
}
