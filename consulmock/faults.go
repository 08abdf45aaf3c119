package consulmock

import "net/http"

// faultTable holds the faults that wait for their requests.
type faultTable struct{}

// intercept answers a request itself or leaves it to next.
func (f *faultTable) intercept(w http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(w, r)
}
