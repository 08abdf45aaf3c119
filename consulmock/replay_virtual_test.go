//go:build go1.25

package consulmock_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul/consulmock"
)

// A wait of an hour takes no time in a replay.
func TestReplayTakesNoTime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hour.har")
	const har = `{"log":{"version":"1.2","entries":[{"startedDateTime":"2026-01-01T00:00:00Z","time":3600000,
		"request":{"method":"GET","url":"http://a/v1/catalog/services?index=7&wait=1h"},"response":{"status":200,"content":{"text":"{}"}}}]}}`
	if err := os.WriteFile(file, []byte(har), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := consulmock.Replay(t, file)
		start := time.Now()
		resp, err := (&http.Client{Transport: s.Transport()}).Get("http://agent/v1/catalog/services?wait=1h&index=7")
		must(t, err)
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if must(t, err); string(body) != "{}" || time.Since(start) > 0 {
			t.Errorf("got %s after %s", body, time.Since(start))
		}
	})
}
