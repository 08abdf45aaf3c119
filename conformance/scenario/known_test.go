package scenario

// knownDifference is a way in which a target is known to differ from a
// recording.
type knownDifference struct {
	target   string // fake, replay or agent
	version  string // empty means all
	scenario string
	entries  string // IDs with blanks between them; empty means any
	field    string // as in the messages of a failure; a star at its end stands for anything
	reason   string

	bychance bool // may also be absent
}

var known = []knownDifference{
	{target: "replay", version: "1.21.4", scenario: "conn-limit", entries: "e001 e002 e003 e006 e007 e008", field: "header Connection",
		reason: "a replay does not refuse connections, only requests, and leaves them open"},
	{target: "replay", scenario: "response-format", field: "header Content-Encoding", reason: "a replay does not compress"},
}
