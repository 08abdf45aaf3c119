package consul

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// reloadingTransport is the built-in transport of a client whose TLSConfig names
// files. When they have changed, it goes on with another [http.Transport], so that
// what is verified, and how, is always up to package crypto/tls.
type reloadingTransport struct {
	tls   *TLSConfig // behind a pointer so that printing does not show a key
	build func(*tls.Config) closingTransport

	mu      sync.Mutex
	current closingTransport
	sum     [sha256.Size]byte // of the files of current
	problem error             // why the files could not be used the last time
	next    time.Time         // when they are to be read again
}

func newReloadingTransport(c TLSConfig, files tlsFiles, config *tls.Config, build func(*tls.Config) closingTransport) *reloadingTransport {
	c = c.owned()
	t := &reloadingTransport{tls: &c, sum: files.sum(), next: time.Now().Add(reloadInterval)}
	t.build = func(config *tls.Config) closingTransport {
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
	// It may be replaced meanwhile, and keep connections again since it got a
	// request after that; over HTTP/2 also one on which the request was under way.
	closeReplaced := func() {
		if t.isReplaced(current) {
			current.CloseIdleConnections()
		}
	}
	closeReplaced()
	if err == nil {
		resp.Body = &notifyingBody{resp.Body, closeReplaced}
	}
	if err != nil && problem != nil && r.Context().Err() == nil {
		err = fmt.Errorf("%w (the files of Config.TLS cannot be used any more, so older ones are in use: %v)", err, problem)
	}
	return resp, err
}

// notifyingBody calls a function when it was closed.
type notifyingBody struct {
	io.ReadCloser
	closed func()
}

func (b *notifyingBody) Close() error {
	defer b.closed()
	return b.ReadCloser.Close()
}

// CloseIdleConnections closes the connections that are not in use.
func (t *reloadingTransport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.current.CloseIdleConnections()
}

func (t *reloadingTransport) isReplaced(transport closingTransport) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current != transport
}

// get returns the transport to use, and why it is not that of the files as they
// are, if so.
func (t *reloadingTransport) get() (closingTransport, error) {
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
