package differential

// A step is what is played at a time. All its parts may be empty: reads are sent
// one after the other; then waits, which overlap what follows; then writes, one
// after the other. The step ends when every wait has ended.
type step struct {
	restart bool // of the agents, before anything else; they forget everything
	reads   []request
	waits   []request
	writes  []request
}

// A request is a message with blanks for what the two agents make up for
// themselves.
type request struct {
	id      int // unique in the sequence; others refer to it
	method  string
	target  string // ${name} stands for a variable
	headers [][2]string
	body    *string // nil if there is none; ${name} stands for a variable
	vars    []variable
	index   int // the ID of the request whose index is the parameter index; 0 for none
	hash    int // the ID of the request whose hash is the parameter hash; 0 for none
}

// A variable is a value from the body of an earlier response.
type variable struct {
	name   string
	from   int    // the ID of the request
	path   string // dotted, such as 0.ModifyIndex
	absent string // is sent if there is no such value
}

// all returns the requests of a step in the order in which they are sent.
func (s *step) all() []request {
	var list []request
	for _, part := range [][]request{s.reads, s.waits, s.writes} {
		list = append(list, part...)
	}
	return list
}
