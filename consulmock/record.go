package consulmock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/lictor-go/consul/internal/har"
)

// maxRecorded is the default of [Recorder].most: 64 MiB.
const maxRecorded = 64 << 20

// Recorder is a proxy in front of a real agent. It records requests and responses
// as an HTTP archive (HAR 1.2), which [Replay] can replay. It is an
// [http.Handler]; [Recorder.URL] serves it. Its methods may be called
// concurrently.
//
// The archive is complete JSON after every exchange, though not while one is being
// written, so that nothing is lost when the program ends before [Recorder.Close]. What cannot be written, as on a
// full disk, is left out, and Close returns the error. The entries are in the
// order in which the exchanges ended. The field _seq of each entry has the places
// of its beginning and its end in the order of all, so that Replay knows which
// exchanges overlapped.
//
// Secrets are replaced before anything is written, unless [KeepTokens] is given:
// tokens, cookies, passwords in URLs, gossip keys, snapshots, and the secrets in
// the JSON of ACL tokens, certificates and checks. A secret of eight or more bytes
// is also replaced wherever else it appears from its arrival on, as it is or
// escaped. Names, addresses, metadata and the values of keys are recorded.
//
// Of a response the first 64 MiB are recorded, decompressed, and all of it is
// passed on; what is longer is marked as incomplete. A request of more than 64 MiB
// is refused with status 413, and neither passed on nor recorded.
//
//	recorder, err := consulmock.Record("http://127.0.0.1:8500", "testdata/watch.har")
//	...
//	defer recorder.Close()
//	client, err := consul.NewClient(consul.Config{Address: recorder.URL()})
type Recorder struct {
	target    *url.URL
	transport *http.Transport
	keep      bool
	most      int // bytes of a body
	redactor  har.Redactor
	life      context.Context // ends with Close
	end       context.CancelFunc

	mu      sync.Mutex // guards what follows
	archive *archive
	entries int // that have begun
	seq     int
	err     error // the first failure to write

	http   *http.Server // nil until a port is needed
	addr   string
	closed bool
	busy   sync.WaitGroup
}

// RecordOption changes what a [Recorder] does.
type RecordOption func(*Recorder)

// KeepTokens makes a [Recorder] write tokens and other secrets as they are. The
// file is then readable by its owner only, unless it existed before.
func KeepTokens() RecordOption { return func(r *Recorder) { r.keep = true } }

// Record returns a recorder in front of the agent at target, which is a URL such
// as http://127.0.0.1:8500, or https://gateway/consul for an agent behind a path.
// A target with a user, a password, parameters or a fragment is an error: the
// recorder adds nothing to the requests that it passes on. Record creates the file
// file, or empties it. The caller closes the recorder.
func Record(target, file string, opts ...RecordOption) (*Recorder, error) {
	u, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	r := &Recorder{
		target: u,
		most:   maxRecorded,
		transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			MaxIdleConnsPerHost: 100,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true, // the client decides
		},
	}
	r.life, r.end = context.WithCancel(context.Background())
	for i, o := range opts {
		if o == nil {
			return nil, fmt.Errorf("consulmock: option %d is nil", i+1)
		}
		o(r)
	}
	mode := os.FileMode(0o666)
	if r.keep {
		mode = 0o600
	}
	if r.archive, err = createArchive(file, mode); err != nil {
		return nil, fmt.Errorf("consulmock: %w", err)
	}
	return r, nil
}

// parseTarget reads the URL of an agent. Its errors do not quote what may be a
// secret.
func parseTarget(target string) (*url.URL, error) {
	const want = "want http://host:port or https://host:port"
	if strings.ContainsAny(target, "@?#") {
		return nil, errors.New("consulmock: target: " + want + ", without a user, a password, parameters or a fragment")
	}
	u, err := url.Parse(target)
	if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		err = errors.New(want)
	}
	if err != nil {
		return nil, fmt.Errorf("consulmock: target %q: %w", target, err)
	}
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/"), strings.TrimSuffix(u.RawPath, "/")
	return u, nil
}

// URL returns the address at which the recorder listens, on the loopback
// interface. The first call opens the port. It panics if there is none, and if the
// recorder is closed.
func (r *Recorder) URL() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		panic("consulmock: URL of a Recorder that is closed")
	}
	if r.http == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic("consulmock: cannot listen: " + err.Error())
		}
		r.addr = l.Addr().String()
		r.http = &http.Server{Handler: r, ErrorLog: log.New(io.Discard, "", 0)}
		go r.http.Serve(l)
	}
	return "http://" + r.addr
}

// Close stops listening, ends the exchanges that are under way, also those that
// other servers handle with the recorder, and closes the file. What has come of
// their responses is recorded. Close returns the first error of writing to the
// file. Calling it again does nothing and returns the same.
func (r *Recorder) Close() error {
	r.mu.Lock()
	isFirst := !r.closed
	r.closed = true
	server := r.http
	r.mu.Unlock()
	r.end()
	if server != nil {
		server.Close()
	}
	r.busy.Wait()
	r.transport.CloseIdleConnections()
	r.mu.Lock()
	defer r.mu.Unlock()
	if isFirst {
		r.failed(r.archive.file.Close())
	}
	return r.err
}

// failed remembers the first failure to write. r.mu must be held.
func (r *Recorder) failed(err error) {
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("consulmock: recording: %w", err)
	}
}

// withLifetime returns the request with a context that ends with the recorder, too, as
// its connection then does. The returned function must be called when the request
// is done.
func (r *Recorder) withLifetime(w http.ResponseWriter, req *http.Request) (_ *http.Request, done func()) {
	ctx, cancel := context.WithCancel(req.Context())
	ended := make(chan struct{})
	stop := context.AfterFunc(r.life, func() {
		defer close(ended)
		cancel()
		c := http.NewResponseController(w) // of a client that neither sends nor reads
		c.SetReadDeadline(time.Now())
		c.SetWriteDeadline(time.Now())
	})
	return req.WithContext(ctx), func() {
		cancel()
		if !stop() {
			<-ended // w must not be used any more when the handler has returned
		}
	}
}

// ServeHTTP passes a request on to the agent, and its response back. If the agent
// cannot be reached, the response has the status 502. Once the recorder is closed,
// connections are dropped.
func (r *Recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	r.busy.Add(1)
	r.mu.Unlock()
	defer r.busy.Done()
	req, done := r.withLifetime(w, req)
	defer done()
	var body []byte
	var err error
	if req.Body != nil { // which it is not if the handler is called with a client's request
		body, err = io.ReadAll(http.MaxBytesReader(w, req.Body, int64(r.most)))
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		http.Error(w, fmt.Sprintf("consulmock: the request has more than %d bytes, and is not passed on", r.most), http.StatusRequestEntityTooLarge)
		return
	case req.Context().Err() != nil:
		panic(http.ErrAbortHandler)
	case err != nil:
		http.Error(w, "consulmock: reading the request: "+err.Error(), http.StatusBadRequest)
		return
	}
	e := r.begin(req, body)
	start := time.Now()
	last, err := r.pass(w, req, body, e)
	e.Time = milliseconds(time.Since(start))
	e.Timings.Receive = e.Time - e.Timings.Wait
	if err != nil {
		e.Failure = failureText(req.Context(), err)
	}
	r.finish(e)
	switch {
	case e.Answer.Status != 0:
		w.Write(last)
		if err != nil {
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler) // the client sees the same as the recorder
		}
	case req.Context().Err() != nil:
		panic(http.ErrAbortHandler)
	default:
		http.Error(w, "consulmock: the agent cannot be reached: "+err.Error(), http.StatusBadGateway)
	}
}
