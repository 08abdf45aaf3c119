package consulmock

import (
	"encoding/json"
	"net/http"
)

// decode reads the body of a request.
func (q *request) decode(v any) error {
	if err := json.Unmarshal(q.body, v); err != nil {
		return &httpError{http.StatusBadRequest, "Request decode failed: " + err.Error()}
	}
	return nil
}
