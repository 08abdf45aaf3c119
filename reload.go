package consul

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// reloadingTransport is the built-in transport of a client whose TLSConfig names
// files. When they have changed, it goes on with another [http.Transport], so that
// what is verified, and how, is always up to package crypto/tls.
type reloadingTransport struct {
	tls   *TLSConfig // behind a pointer so that printing does not show a key
	build func(*tls.Config) *http.Transport

	mu      sync.Mutex
	current *http.Transport
	sum     [sha256.Size]byte // of the files of current
	problem error             // why the files could not be used the last time
	next    time.Time         // when they are to be read again
}

func newReloadingTransport(c TLSConfig, files tlsFiles, config *tls.Config, build func(*tls.Config) *http.Transport) *reloadingTransport {
	c = c.owned()
	t := &reloadingTransport{tls: &c, sum: files.sum(), next: time.Now().Add(reloadInterval)}
	t.build = func(config *tls.Config) *http.Transport {
		config.ClientSessionCache = nil // a session outlives its certificates
		return build(config)
	}
	t.current = t.build(config)
	return t
}

// RoundTrip implements [http.RoundTripper].
func (t *reloadingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	current, problem := t.get()
	resp, err := current.RoundTrip(r)
	if t.isReplaced(current) {
		// It was replaced meanwhile, and keeps connections again since it got a
		// request after that.
		current.CloseIdleConnections()
	}
	if err != nil && problem != nil && r.Context().Err() == nil {
		err = fmt.Errorf("%w (the files of Config.TLS cannot be used any more, so older ones are in use: %v)", err, problem)
	}
	return resp, err
}

// CloseIdleConnections closes the connections that are not in use.
func (t *reloadingTransport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.current.CloseIdleConnections()
}

func (t *reloadingTransport) isReplaced(transport *http.Transport) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current != transport
}

// get returns the transport to use, and why it is not that of the files as they
// are, if so.
func (t *reloadingTransport) get() (*http.Transport, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); !now.Before(t.next) {
		t.next = now.Add(reloadInterval)
		t.problem = t.reload()
	}
	return t.current, t.problem
}

// reload replaces the transport if the files have changed. t.mu must be held.
func (t *reloadingTransport) reload() error {
	files, err := t.tls.read(readAgain)
	if err != nil {
		return err
	}
	sum := files.sum()
	if sum == t.sum {
		return nil
	}
	config, err := t.tls.build(files)
	if err != nil {
		return err
	}
	t.current.CloseIdleConnections() // those in use are closed after that
	t.current, t.sum = t.build(config), sum
	return nil
}
