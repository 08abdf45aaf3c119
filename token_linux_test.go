//go:build go1.25

package consul_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// TestTokenPipe has a token that can be read only once. To open the pipe again would
// wait for somebody to write to it, for ever.
func TestTokenPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "token")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	go os.WriteFile(pipe, []byte("from-a-pipe\n"), 0o600)
	a := newTokenAgent(t, consul.Config{TokenFile: pipe})
	a.Inject(consulmock.Fault{Status: 403}) // after which a file would be read again
	if err := a.client.Agent().Reload(t.Context()); err == nil {
		t.Error("no error")
	}
	if got := a.sends(t, a.client); got != "from-a-pipe" {
		t.Errorf("sent %q", got)
	}
}
