//go:build go1.25

package main

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// TestRun lets the fake say what the check would find, in virtual time.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := consulmock.New(t)
		go func() {
			synctest.Wait()
			agent.SetCheckStatus("service:"+id, consul.HealthPassing, "")
		}()
		kill := func() { agent.SetCheckStatus("service:"+id, consul.HealthCritical, "connection refused") }
		var out strings.Builder
		if err := run(context.Background(), agent.Client(), "127.0.0.1:80", kill, &out); err != nil {
			t.Fatal(err, out.String())
		}
		got := regexp.MustCompile(`(?m)^ *(\d+)s  `).ReplaceAllString(out.String(), "")
		const want = "registered at 127.0.0.1:80\ncritical\npassing\nkilled\ncritical\ngone\n"
		if got != want {
			t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
		}
	})
}
