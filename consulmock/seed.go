package consulmock

import "github.com/lictor-go/consul"

// SetCheckStatus sets the status and output of a check of the agent, whatever
// its kind, as a run of the check would. It panics if there is no such check.
func (s *Server) SetCheckStatus(checkID string, status consul.HealthStatus, output string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.agent.checks[checkID]
	if c == nil {
		panic("consulmock: SetCheckStatus: no check " + checkID)
	}
	s.agent.setStatus(c, string(status), output)
}
