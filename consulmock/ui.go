package consulmock

import "net/http"

// serveUI answers for the paths below /ui/.
func (s *Server) serveUI(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }
