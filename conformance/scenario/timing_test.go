package scenario

import (
	"testing"
	"time"

	"github.com/lictor-go/consul/conformance/recording"
)

// TestBusyTiming tells waits from responses that a busy machine makes late.
func TestBusyTiming(t *testing.T) {
	const ms = time.Millisecond
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, target string
		took         time.Duration // of the first side
		other        int           // requests that were sent before its response, 100 ms after it
		then         time.Duration // of the second side
		thenOther    int
		differ       bool
	}{
		{"both at once", "/v1/kv/a?wait=700ms&index=1", ms, 0, ms, 0, false},
		{"both at once, while others begin", "/v1/kv/a?wait=700ms&index=1", ms, 0, ms, 1, false},
		{"the second waits", "/v1/kv/a?wait=700ms&index=1", ms, 0, 110 * ms, 1, true},
		{"the first waits", "/v1/kv/a?wait=700ms&index=1", 110 * ms, 1, ms, 0, true},
		{"both are woken", "/v1/kv/a?wait=700ms&index=1", 110 * ms, 1, 120 * ms, 1, false},
		{"both time out", "/v1/kv/a?wait=700ms&index=1", 710 * ms, 1, 720 * ms, 1, false},
		{"the first times out", "/v1/kv/a?wait=700ms&index=1", 710 * ms, 1, ms, 0, true},
		{"the first is late, and cannot wait", "/v1/catalog/nodes?index=abc", 450 * ms, 0, ms, 0, false},
		{"the first is late, the second far later", "/v1/catalog/nodes?index=abc", 450 * ms, 0, 5 * time.Second, 0, true},
	} {
		first := &recording.Entry{ID: "e1", Started: began, Ms: float64(c.took / ms)}
		first.Request.URL = "http://127.0.0.1:8500" + c.target
		first.Seq.Start, first.Seq.End = 1, 2+c.other
		next := &recording.Entry{ID: "e2", Started: began.Add(100 * ms)}
		next.Seq.Start, next.Seq.End = 2+1-c.other, 4
		rec := &recording.Recording{Entries: []*recording.Entry{first, next}}
		cmp := &comparison{rec: rec, entry: first, tolerance: tolerance{slack: time.Second, busy: true, arrival: 80 * ms}}
		cmp.timing(first, &answer{took: c.then, started: 1 + c.thenOther})
		if (len(cmp.found) > 0) != c.differ {
			t.Errorf("%s: found %v", c.name, cmp.found)
		}
	}
}
