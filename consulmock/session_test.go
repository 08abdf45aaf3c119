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

// 1.8.7 writes the end of a session to its log also if there is none of that ID, and so
// moves the index.
func TestSessionThatIsNone(t *testing.T) {
	for version, writes := range map[string]uint64{"1.21.4": 0, "1.8.7": 1} {
		s := New(t, WithVersion(version))
		for _, id := range []string{"adf4238a-882b-9ddc-4a9d-5b6758e4159e", "nope"} {
			before := s.agent.Store.Index
			text(t, ask(t, s, "PUT", "/v1/session/destroy/"+id, ""))
			text(t, ask(t, s, "PUT", "/v1/session/renew/"+id, ""))
			if got := s.agent.Store.Index - before; got != writes {
				t.Errorf("%s: %s: %d writes, want %d", version, id, got, writes)
			}
		}
	}
}
