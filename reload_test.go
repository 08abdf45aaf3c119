package consul

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// tlsAgent is an agent that demands certificates of its authority, which can be
// replaced while it runs.
type tlsAgent struct {
	*httptest.Server
	t      *testing.T
	config atomic.Pointer[tls.Config]

	mu     sync.Mutex
	client string // the name in the client's certificate of the last request
	opened int
	closed chan struct{} // gets one for each that has ended
}

func newTLSAgent(t *testing.T, ca *authority) *tlsAgent {
	a := &tlsAgent{t: t, closed: make(chan struct{}, 1000)}
	a.use(ca, "agent")
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.client = r.TLS.PeerCertificates[0].Subject.CommonName
		a.mu.Unlock()
		if r.URL.Query().Get("index") != "" { // held back until the client has sent a body
			io.Copy(io.Discard, r.Body)
		}
		fmt.Fprint(w, `"leader"`)
	}))
	a.Server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return a.config.Load(), nil }}
	a.Server.Config.ErrorLog = discardLog()
	a.Server.Config.ConnState = func(c net.Conn, state http.ConnState) {
		a.mu.Lock()
		defer a.mu.Unlock()
		switch state {
		case http.StateNew:
			a.opened++
		case http.StateClosed:
			a.closed <- struct{}{}
		}
	}
	a.Server.StartTLS()
	t.Cleanup(a.Server.Close)
	return a
}

// use gives the agent a certificate of an authority, from which those of clients
// have to be, too.
func (a *tlsAgent) use(ca *authority, name string) {
	_, _, cert, key := issue(a.t, ca, name)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		a.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	a.config.Store(&tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})
}

// asked returns the name in the certificate with which the client asks the agent.
func (a *tlsAgent) asked(c *Client) (string, error) {
	_, err := c.Status().Leader(context.Background())
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.client, err
}

// want fails the test unless the client is answered and has the certificate.
func (a *tlsAgent) want(c *Client, when, cert string) {
	a.t.Helper()
	if got, err := a.asked(c); err != nil || got != cert {
		a.t.Errorf("%s: certificate %q, %v; want %q", when, got, err, cert)
	}
}

// clientFiles are the files of a client with a certificate of an authority.
func clientFiles(t *testing.T, ca *authority, name string) map[string]string {
	_, _, cert, key := issue(t, ca, name)
	return map[string]string{"ca.crt": string(ca.pem), "tls.crt": string(cert), "tls.key": string(key)}
}

// newFilesClient returns a client of the agent with files in a folder.
func newFilesClient(t *testing.T, a *tlsAgent, dir string) *Client {
	t.Helper()
	return newTLSClient(t, a, TLSConfig{
		CAFile: filepath.Join(dir, "ca.crt"), CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"),
	})
}

func newTLSClient(t *testing.T, a *tlsAgent, c TLSConfig) *Client {
	t.Helper()
	client, err := NewClient(Config{Address: a.URL, TLS: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	client.http.Transport.(*reloadingTransport).next = time.Now().Add(time.Hour) // however slow the machine is
	return client
}

// secondLater makes the client look at its files at the next request.
func secondLater(c *Client) {
	r := c.http.Transport.(*reloadingTransport)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = time.Time{}
}

// TestCertificatesChange replaces the authority and all certificates, in a folder
// as Kubernetes mounts it, under a client with a connection that is still good.
func TestCertificatesChange(t *testing.T) {
	ca1, ca2 := newAuthority(t), newAuthority(t)
	agent := newTLSAgent(t, ca1)
	mount := NewMount(t, clientFiles(t, ca1, "client-1"))
	client := newFilesClient(t, agent, mount.Dir)
	copied := client.WithToken("another")
	agent.want(client, "at first", "client-1")

	mount.Replace(clientFiles(t, ca2, "client-2"))
	agent.use(ca2, "agent")
	agent.want(client, "over the connection from before", "client-1")
	secondLater(client)
	agent.want(client, "a second later", "client-2")
	<-agent.closed // the connection from before, by the client
	agent.want(copied, "a copy", "client-2")
	secondLater(client)
	agent.want(client, "without another change", "client-2")
	if agent.opened != 2 {
		t.Errorf("%d connections, want 2", agent.opened)
	}

	// What is read later is verified as what was read first.
	agent.use(ca1, "agent")
	agent.CloseClientConnections()
	_, err := agent.asked(client)
	wantError(t, err, "certificate signed by unknown authority")
}

// TestTornPair has a certificate that is written before its key: the pair from
// before stays in use until both are there.
func TestTornPair(t *testing.T) {
	ca := newAuthority(t)
	agent := newTLSAgent(t, ca)
	dir, files := t.TempDir(), clientFiles(t, ca, "client-1")
	putFiles(t, dir, files)
	client := newFilesClient(t, agent, dir)
	agent.want(client, "at first", "client-1")

	files = clientFiles(t, ca, "client-2")
	putFiles(t, dir, map[string]string{"tls.crt": files["tls.crt"]})
	secondLater(client)
	agent.CloseClientConnections()
	agent.want(client, "with the new certificate and the old key", "client-1")
	putFiles(t, dir, map[string]string{"tls.key": files["tls.key"]})
	secondLater(client)
	agent.want(client, "with both", "client-2")
}

// TestFilesBreak takes away what a client needs: it goes on with what it had, and
// says so when that does not suffice any more.
func TestFilesBreak(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	for name, tt := range map[string]struct {
		spoil func(dir string) error
		words string
	}{
		"no authority":            {func(dir string) error { return os.Remove(filepath.Join(dir, "ca.crt")) }, "ca.crt"},
		"an empty authority":      {func(dir string) error { return os.Truncate(filepath.Join(dir, "ca.crt"), 0) }, "no PEM certificate"},
		"half a certificate":      {func(dir string) error { return os.Truncate(filepath.Join(dir, "tls.crt"), 100) }, "CertFile"},
		"no key":                  {func(dir string) error { return os.Remove(filepath.Join(dir, "tls.key")) }, "tls.key"},
		"a folder instead of one": {func(dir string) error { return replaceByFolder(filepath.Join(dir, "ca.crt")) }, "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			agent := newTLSAgent(t, ca)
			dir := t.TempDir()
			putFiles(t, dir, clientFiles(t, ca, "client-1"))
			client := newFilesClient(t, agent, dir)
			if err := tt.spoil(dir); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				secondLater(client)
				agent.want(client, "with what it had", "client-1")
			}
			agent.use(other, "agent")
			agent.CloseClientConnections()
			_, err := agent.asked(client)
			wantError(t, err, "consul: GET https://", "/v1/status/leader: ", "certificate signed by unknown authority", "Config.TLS", tt.words)
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_, err = client.Status().Leader(ctx)
			wantError(t, err, "context canceled")
			if strings.Contains(err.Error(), "Config.TLS") {
				t.Errorf("%v is about the files", err)
			}
			os.RemoveAll(filepath.Join(dir, "ca.crt"))
			putFiles(t, dir, clientFiles(t, other, "client-2"))
			secondLater(client)
			agent.want(client, "mended", "client-2")
		})
	}
}

func replaceByFolder(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.Mkdir(path, 0o700)
}

// TestCAPathInKubernetes has a folder of authorities in which there are links to
// folders, and one that is about to vanish.
func TestCAPathInKubernetes(t *testing.T) {
	ca1, ca2 := newAuthority(t), newAuthority(t)
	agent := newTLSAgent(t, ca1)
	mount := NewMount(t, map[string]string{"ca.crt": string(ca1.pem)})
	for name, target := range map[string]string{"folder": "..data", "..vanishing": "gone"} {
		if err := os.Symlink(target, filepath.Join(mount.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	pair := t.TempDir()
	putFiles(t, pair, clientFiles(t, ca1, "client-1"))
	client := newTLSClient(t, agent, TLSConfig{CAPath: mount.Dir, CertFile: filepath.Join(pair, "tls.crt"), KeyFile: filepath.Join(pair, "tls.key")})
	agent.want(client, "at first", "client-1")

	agent.use(ca2, "agent")
	agent.CloseClientConnections()
	mount.Replace(map[string]string{"ca.crt": string(ca2.pem)})
	putFiles(t, pair, clientFiles(t, ca2, "client-2"))
	secondLater(client)
	agent.want(client, "a second later", "client-2")
}

// TestRequestsUnderWay has a query that waits while the files change: it ends on
// its connection, which is closed then.
func TestRequestsUnderWay(t *testing.T) {
	ca := newAuthority(t)
	agent := newTLSAgent(t, ca)
	dir := t.TempDir()
	putFiles(t, dir, clientFiles(t, ca, "client-1"))
	client := newFilesClient(t, agent, dir)
	body, end := io.Pipe()
	done := make(chan error)
	go func() { done <- client.Raw().Write(context.Background(), "/v1/wait?index=1", body, nil, nil) }()
	// What is beyond the buffer is read by the transport: the request is under way.
	io.WriteString(end, strings.Repeat("x", maxBuffered+1))

	putFiles(t, dir, clientFiles(t, ca, "client-2"))
	secondLater(client)
	agent.want(client, "a second later", "client-2")
	end.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-agent.closed
}

// TestReloadDuringRequest changes the files after a request has chosen its
// transport. Its connection is not kept.
func TestReloadDuringRequest(t *testing.T) {
	ca := newAuthority(t)
	agent := newTLSAgent(t, ca)
	dir := t.TempDir()
	putFiles(t, dir, clientFiles(t, ca, "client-1"))
	client := newFilesClient(t, agent, dir)
	var once sync.Once
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GetConn: func(string) {
		once.Do(func() {
			putFiles(t, dir, clientFiles(t, ca, "client-2"))
			secondLater(client)
			agent.want(client, "another request", "client-2")
		})
	}})
	if _, err := client.Status().Leader(ctx); err != nil {
		t.Error(err)
	}
	<-agent.closed
	agent.want(client, "the next request", "client-2")
	if agent.opened != 2 {
		t.Errorf("%d connections, want 2", agent.opened)
	}
}

// TestReloadKeepsBase checks that what is laid over a Base stays so, and that the
// caller may change what it has given.
func TestReloadKeepsBase(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	agent := newTLSAgent(t, ca)
	agent.use(ca, "server.dc1.consul")
	dir := t.TempDir()
	files := clientFiles(t, ca, "client-1")
	files["ca.crt"] = string(other.pem)
	putFiles(t, dir, files)
	base := &tls.Config{ServerName: "server.dc1.consul", NextProtos: []string{"h2"}, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	c := TLSConfig{
		Base: base, CAPEM: append([]byte(nil), ca.pem...),
		CAFile: filepath.Join(dir, "ca.crt"), CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"),
	}
	client := newTLSClient(t, agent, c)
	base.ServerName = "changed"
	clear(c.CAPEM)
	agent.want(client, "at first", "client-1")
	putFiles(t, dir, clientFiles(t, ca, "client-2"))
	secondLater(client)
	// A session that is resumed would be the one of the old certificate.
	agent.want(client, "a second later", "client-2")

	agent.use(ca, "another.name")
	agent.CloseClientConnections()
	_, err := agent.asked(client)
	wantError(t, err, "server.dc1.consul")
}

// TestReloadTogether changes files while many requests are made. All of them
// succeed, and no connection is left.
func TestReloadTogether(t *testing.T) {
	ca := newAuthority(t)
	agent := newTLSAgent(t, ca)
	mount := NewMount(t, clientFiles(t, ca, "client-0"))
	client := newFilesClient(t, agent, mount.Dir)
	var group sync.WaitGroup
	for range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 20 {
				if _, err := client.Status().Leader(context.Background()); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	for i := range 5 {
		mount.Replace(clientFiles(t, ca, fmt.Sprint("client-", i+1)))
		secondLater(client)
	}
	group.Wait()
	secondLater(client)
	agent.want(client, "at last", "client-5")
	client.CloseIdleConnections()
	for range agent.opened {
		<-agent.closed
	}
}

// TestRelativeFiles checks that the files are still found in another working
// directory.
func TestRelativeFiles(t *testing.T) {
	c := TLSConfig{CAFile: "ca", CAPath: "cas", CertFile: "cert", KeyFile: "key"}.owned()
	for _, path := range []string{c.CAFile, c.CAPath, c.CertFile, c.KeyFile} {
		if !filepath.IsAbs(path) {
			t.Errorf("%s is not absolute", path)
		}
	}
	if c := (TLSConfig{}).owned(); c.isSet() {
		t.Errorf("no files become %v", c)
	}
}
