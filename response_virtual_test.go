//go:build go1.25

package consul

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestBufferIsDropped reads bodies with pauses between them. The buffer is kept
// while it is used, and dropped soon after that.
func TestBufferIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		large := `[{"Unknown":"` + strings.Repeat("x", 1<<20) + `"}]`
		client := bodies(t, 1, func() string { return large })
		read := func() {
			if _, _, err := client.Health().Service(context.Background(), "web", nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, pause := range []time.Duration{spareTime - 1, 1, spareTime - 1, 2*spareTime + 1, spareTime - 1, 3 * spareTime} {
			read()
			time.Sleep(pause)
			synctest.Wait()
			client.spare.mu.Lock()
			kept, scheduled := client.spare.buf != nil, client.spare.scheduled
			client.spare.mu.Unlock()
			if want := pause < spareTime; kept != want || scheduled != want {
				t.Errorf("%s after the last body: kept %t, with a timer %t; want %t", pause, kept, scheduled, want)
			}
		}
	})
}
