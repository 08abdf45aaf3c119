package kratos_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/lictor-go/consul/consulmock"
)

// put decodes the body of the last registration.
func put(t *testing.T, agent *consulmock.Server, into any) {
	t.Helper()
	requests := agent.Requests()
	for n := len(requests) - 1; n >= 0; n-- {
		if r := requests[n]; r.Method == http.MethodPut && r.Path == "/v1/agent/service/register" {
			if err := json.Unmarshal(r.Body, into); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("nothing was registered")
}
