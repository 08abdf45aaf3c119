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

var known = []knownDifference{}
