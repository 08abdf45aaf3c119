package consulmock

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// An HTTP check that becomes a TTL check goes on to run, at its interval.
func TestProbeGoesOn(t *testing.T) {
	runs := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { runs <- struct{}{} }))
	defer web.Close()
	s := New(t, WithProbes(true))
	ask(t, s, "PUT", "/v1/agent/check/register", `{"Name":"a","HTTP":"`+web.URL+`","Interval":"20ms"}`)
	<-runs
	ask(t, s, "PUT", "/v1/agent/check/register", `{"Name":"a","TTL":"1h"}`)
	for range 3 {
		<-runs
	}
	ask(t, s, "PUT", "/v1/agent/check/register", `{"Name":"a","HTTP":"`+web.URL+`/other","Interval":"20ms"}`)
	<-runs
	go func() { // what may still come until the server is closed
		for range runs {
		}
	}()
	defer close(runs)
	s.Close()
}
