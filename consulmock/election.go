package consulmock

import "fmt"

// InvalidateSession ends a session, as PUT /v1/session/destroy does: the keys that it
// holds are released or deleted, and the lock-delay begins. It panics if there is no such
// session. It is not in [Server.Requests], and no fault applies.
func (s *Server) InvalidateSession(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	session := s.agent.Store.Session(id)
	if session == nil {
		panic(fmt.Sprintf("consulmock: InvalidateSession: no session %q", id))
	}
	s.agent.DestroySession(session)
}

// ElectLeader makes the servers lose their leader and elect another one, which takes three
// seconds. In this time they respond with status 500 and "No cluster leader" to all
// that needs the leader: writes, reads that are not stale, and such reads that are waiting
// already. The agent's own endpoints, user events, stale reads and waits that the
// streaming backend serves go on, but what is registered with the agent reaches the
// catalog only afterwards.
//
// No session ends in this time, and a renewal that is stale has no effect. With the new
// leader each session has its whole time again: twice its TTL. Locks and lock-delays
// stay.
//
// ElectLeader does nothing if the server is stopped. During an election it begins another
// one.
func (s *Server) ElectLeader() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.life.Over() {
		s.agent.ElectLeader()
	}
}
