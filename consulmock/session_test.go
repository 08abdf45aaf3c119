package consulmock

import "testing"

// What is wrong with several fields of a session is reported in the agent's order, and
// fields that are only read are looked at too.
func TestSessionDefinition(t *testing.T) {
	for _, version := range []string{"1.21.4", "1.8.7"} {
		s := New(t, WithVersion(version))
		applied, alias, raft := "500 apply failed: ", ".Alias.", ".Alias.RaftIndex."
		if version == "1.8.7" {
			applied, alias, raft = "500 ", ".", "."
		}
		const wrong = "400 Request decode failed: json: cannot unmarshal "
		for body, want := range map[string]string{
			`{"LockDelay":"x","TTL":5}`:                     wrong + "number into Go struct field " + alias + "TTL of type string",
			`{"LockDelay":"x","Behavior":"x"}`:              `400 Request decode failed: time: invalid duration "x"`,
			`{"TTL":"1s","Behavior":"x","Node":""}`:         "500 Must provide Node",
			`{"TTL":"1s","Behavior":"x"}`:                   "500 Invalid Behavior setting 'x'",
			`{"TTL":"1s","NodeChecks":["no"]}`:              "500 Invalid Session TTL '1000000000', must be between [10s=24h0m0s]",
			`{"Checks":["a"],"NodeChecks":["b"]}`:           applied + "Missing check 'a' registration",
			`{"ServiceChecks":[{"ID":"c"}],"Checks":["a"]}`: applied + "Missing check 'a' registration",
			`{"ServiceChecks":[{"ID":"c"}],"Node":"none"}`:  applied + "Missing node registration",
			`{"Checks":5}`:                    wrong + "number into Go struct field " + alias + "Checks of type []types.CheckID",
			`{"Checks":[5]}`:                  wrong + "number into Go struct field " + alias + "Checks of type types.CheckID",
			`{"ServiceChecks":["a"]}`:         wrong + "string into Go struct field " + alias + "ServiceChecks of type structs.ServiceCheck",
			`{"ServiceChecks":[{"ID":5}]}`:    wrong + "number into Go struct field ServiceCheck" + alias + "ServiceChecks.ID of type string",
			`{"ID":5}`:                        wrong + "number into Go struct field " + alias + "ID of type string",
			`{"CreateIndex":"x"}`:             wrong + "string into Go struct field " + raft + "CreateIndex of type uint64",
			`{"NodeChecks":[],"Checks":["a"]`: "400 Request decode failed: unexpected EOF",
		} {
			r := ask(t, s, "PUT", "/v1/session/create?ns=", body) // an empty ns is none
			if got := text(t, r); got != want {
				t.Errorf("%s: %s\n got %s\nwant %s", version, body, got, want)
			}
		}
	}
}
