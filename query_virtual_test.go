//go:build go1.25

package consul

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestBlockingDeadline asks an agent that never answers, in virtual time.
func TestBlockingDeadline(t *testing.T) {
	hang := roundTripper(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	for name, tt := range map[string]struct {
		cfg  Config
		q    QueryOptions
		want time.Duration // 0 means that only ctx ends it
	}{
		"wait":             {Config{}, QueryOptions{WaitIndex: 1, WaitTime: 16 * time.Second}, 17*time.Second + waitSlack},
		"hash":             {Config{}, QueryOptions{WaitHash: "h", WaitTime: 16 * time.Second}, 17*time.Second + waitSlack},
		"client's wait":    {Config{WaitTime: 32 * time.Second}, QueryOptions{WaitIndex: 1}, 34*time.Second + waitSlack},
		"agent's wait":     {Config{}, QueryOptions{WaitIndex: 1}, agentMaxWait + agentMaxWait/16 + waitSlack},
		"does not block":   {Config{WaitTime: time.Second}, QueryOptions{WaitTime: time.Second}, 0},
		"cached, no index": {Config{}, QueryOptions{UseCache: true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.cfg.Transport = hang
				client, err := NewClient(tt.cfg)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour)
				defer cancel()
				start := time.Now()
				_, _, err = client.Agent().Service(ctx, "web", &tt.q)
				if tt.want == 0 {
					if got := time.Since(start); got != 24*time.Hour || ctx.Err() == nil {
						t.Errorf("ended after %s: %v", got, err)
					}
					return
				}
				if got := time.Since(start); got != tt.want {
					t.Errorf("ended after %s, want %s", got, tt.want)
				}
				wantError(t, err, "consul: GET http://", "/v1/agent/service/web: no response within "+tt.want.String())
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v is not context.DeadlineExceeded", err)
				}
			})
		})
	}
}
