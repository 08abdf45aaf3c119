// Package consulmock is a fake Consul agent for tests, in the spirit of
// net/http/httptest. It has the state of a real one: the local agent's services
// and checks with their timers, the catalog, the index, and blocking queries.
package consulmock
