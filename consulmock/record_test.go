package consulmock

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/har"
)

// recorded starts a recorder in front of the target.
func recorded(t *testing.T, target string, opts ...RecordOption) (r *Recorder, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "rec.har")
	r, err := Record(target, file, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, file
}

func clientOf(t *testing.T, url string) *consul.Client {
	t.Helper()
	c, err := consul.NewClient(consul.Config{Address: url, Token: "11111111-2222-3333-4444-555555555555"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// A body in chunks reaches the agent in chunks: it ignores that of a session.
func TestRecordChunked(t *testing.T) {
	agent := New(t)
	r, file := recorded(t, agent.URL())
	for _, name := range []string{"by length", "in chunks"} {
		var body io.Reader = strings.NewReader(`{"Name":"` + name + `"}`)
		if name == "in chunks" {
			body = io.MultiReader(body) // of which nobody knows the length
		}
		req, err := http.NewRequest("PUT", r.URL()+"/v1/session/create", body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	sessions, _, err := agent.Client().Session().List(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, s := range sessions {
		names = append(names, s.Name)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"", "by length"}) {
		t.Errorf("the sessions are %q", names)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := har.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, true} {
		if got := slices.Contains(entries[i].Request.Headers, har.Pair{Name: "Transfer-Encoding", Value: "chunked"}); got != want {
			t.Errorf("request %d is recorded as chunked: %t, want %t", i, got, want)
		}
	}
}

// watchStory waits for a registration that another client makes meanwhile.
func watchStory(t *testing.T, c *consul.Client, waits func()) {
	t.Helper()
	ctx := context.Background()
	_, meta, err := c.Health().Service(ctx, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	found := make(chan int)
	go func() {
		entries, _, err := c.Health().Service(ctx, "web", &consul.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Minute})
		if err != nil {
			t.Error(err)
		}
		found <- len(entries)
	}()
	waits()
	if err := c.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web", Port: 80, Meta: map[string]string{"a": "<b>"}}); err != nil {
		t.Error(err)
	}
	if n := <-found; n != 1 {
		t.Errorf("found %d instances", n)
	}
	if _, _, err := c.Agent().Service(ctx, "none", nil); !errors.Is(err, consul.ErrUnknownService) {
		t.Errorf("got %v", err)
	}
}

// What was recorded can be replayed, with the overlap that it had.
func TestRecordAndReplay(t *testing.T) {
	agent := New(t)
	seen := &Observer{}
	agent.Inject(Fault{Path: "/v1/health/**", Always: true, Observe: seen})
	r, file := recorded(t, agent.URL())
	watchStory(t, clientOf(t, r.URL()), func() { seen.Wait(2, nil) })

	// The file is whole before the recorder is closed.
	entries, err := har.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if len(entries) != 4 {
		t.Fatalf("%d entries", len(entries))
	}
	if wait, put := entries[1].Seq, entries[2].Seq; !(wait.Start < put.Start && put.Start < wait.End) {
		t.Errorf("the wait %v does not overlap the registration %v", wait, put)
	}
	s := Replay(t, file)
	arrived := &Observer{}
	s.Inject(Fault{Path: "/v1/health/**", Always: true, Observe: arrived})
	watchStory(t, clientOf(t, s.URL()), func() { arrived.Wait(2, nil) })
	if left := s.Leftovers(); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

func TestRecordScrubs(t *testing.T) {
	const token, secret, inURL, bearer = "99999999-aaaa-bbbb-cccc-dddddddddddd", "cafecafe-0000", "facefeed-1111", "beefbeef-2222"
	agent := New(t)
	agent.Inject(Fault{Always: true, Header: http.Header{"X-Echo": {token}}, Body: `{"SecretID" : "` + secret + `", "Said": "token ` + token + ` is bad", "Token":""}`})
	exchange := func(url string) {
		t.Helper()
		for _, do := range []struct{ path, name, value string }{
			{"/v1/a?token=" + inURL + "&x=" + inURL, "X-Consul-Token", token},
			{"/v1/b/" + token, "Authorization", "Bearer " + bearer},
			{"/v1/c?x=" + bearer, "Cookie", "session=" + secret},
		} {
			req, _ := http.NewRequest("PUT", url+do.path, strings.NewReader(`{"token":"`+token+`","Name":"web"}`))
			req.Header.Set(do.name, do.value)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if !strings.Contains(string(body), secret) {
				t.Errorf("the client got %s", body)
			}
		}
		http.DefaultClient.CloseIdleConnections()
	}
	r, file := recorded(t, agent.URL())
	exchange(r.URL())
	r.Close()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{token, secret, inURL, bearer} {
		if strings.Contains(string(data), s) {
			t.Errorf("%s is in the recording:\n%s", s, data)
		}
	}
	if !strings.Contains(string(data), `\"Token\":\"\"`) || !strings.Contains(string(data), `\"Name\":\"web\"`) {
		t.Errorf("more was replaced than secrets:\n%s", data)
	}
	r, file = recorded(t, agent.URL(), KeepTokens())
	exchange(r.URL())
	r.Close()
	if data, _ := os.ReadFile(file); !strings.Contains(string(data), token) || !strings.Contains(string(data), secret) {
		t.Error("the tokens were not kept")
	}
}

// Bodies are recorded as what they mean, and passed on as they are.
func TestRecordBodies(t *testing.T) {
	agent := New(t)
	r, file := recorded(t, agent.URL())
	big := strings.Repeat("x", 100_000)
	sendTo(http.DefaultClient, "PUT", r.URL()+"/v1/agent/service/register", `{"Name":"web","Meta":{"m":"`+big[:500]+`"},"Tags":["`+big+`"]}`)
	sendTo(http.DefaultClient, "PUT", r.URL()+"/v1/kv/a%2Fb", "\xff\xfe")
	req, _ := http.NewRequest("GET", r.URL()+"/v1/agent/services", nil)
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	r.Close()
	entries, err := har.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := entries[1].Request; string(got.Body) != "\xff\xfe" || got.PostData.Encoding != "base64" || !strings.HasSuffix(got.URL, "/v1/kv/a%2Fb") {
		t.Errorf("got %+v", got)
	}
	if resp.Header.Get("Content-Encoding") != "gzip" || n > 10_000 {
		t.Errorf("the client got %d bytes, %v", n, resp.Header)
	}
	var services map[string]*consul.AgentService
	if err := json.Unmarshal(entries[2].Answer.Body, &services); err != nil || services["web"].Tags[0] != big {
		t.Errorf("recorded %.100s, %v", entries[2].Answer.Body, err)
	}
}

// What has no end is passed on as it comes, and recorded as far as it went.
func TestRecordEndless(t *testing.T) {
	agent := New(t)
	agent.Inject(Fault{Endless: true, Body: "line\n"})
	r, file := recorded(t, agent.URL())
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, "GET", r.URL()+"/v1/agent/monitor", nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if line != "line\n" || err != nil {
		t.Errorf("got %q, %v", line, err)
	}
	cancel()
	resp.Body.Close()
	r.Close()
	entries, err := har.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if e := entries[0]; !e.Answer.Content.Partial || !strings.HasPrefix(e.Answer.Content.Text, "line\n") || e.Failure != failedCanceled {
		t.Errorf("partial %t, %.20q, %q", e.Answer.Content.Partial, e.Answer.Content.Text, e.Failure)
	}
}

func TestRecordFailures(t *testing.T) {
	agent := New(t)
	url := agent.URL()
	agent.Inject(Fault{Drop: DropRequest})
	r, file := recorded(t, url)
	resp, body, err := sendTo(http.DefaultClient, "PUT", r.URL()+"/v1/x", "")
	if err != nil || resp.StatusCode != http.StatusBadGateway || !strings.Contains(body, "cannot be reached") {
		t.Errorf("got %v %q %v", resp, body, err)
	}
	agent.Stop()
	sendTo(http.DefaultClient, "PUT", r.URL()+"/v1/y", "")
	http.DefaultClient.CloseIdleConnections()
	r.Close()
	entries, err := har.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"unexpected EOF", "connection refused"} {
		if got := entries[i]; got.Failure != want || got.Answer.Status != 0 {
			t.Errorf("entry %d: %q, status %d; want %q", i, got.Failure, got.Answer.Status, want)
		}
	}
}

func TestRecordRefuses(t *testing.T) {
	for _, target := range []string{
		"", "127.0.0.1:8500", "ftp://a", "http://", "://",
		"http://me:sekrit-1@a:8500", "http://sekrit-1@a:8500", "http://me:sekrit-1@a b", "http://a?token=sekrit-1", "http://a#sekrit-1",
	} {
		file := filepath.Join(t.TempDir(), "x.har")
		if _, err := Record(target, file); err == nil || !strings.Contains(err.Error(), "target") || strings.Contains(err.Error(), "sekrit") {
			t.Errorf("target %q: %v", target, err)
		}
		if _, err := os.Stat(file); err == nil {
			t.Errorf("target %q: the file was created", target)
		}
	}
	if _, err := Record("http://127.0.0.1:1", filepath.Join(t.TempDir(), "none", "x.har")); err == nil {
		t.Error("no error for a folder that does not exist")
	}
	file := filepath.Join(t.TempDir(), "x.har")
	if _, err := Record("http://127.0.0.1:1", file, KeepTokens(), nil); err == nil || err.Error() != "consulmock: option 2 is nil" {
		t.Errorf("nil option: %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("nil option: the file was created")
	}
}

// An exchange that is under way at the end is recorded.
func TestRecordCloseEndsExchanges(t *testing.T) {
	agent := New(t)
	seen := &Observer{}
	agent.Inject(Fault{Hang: make(chan struct{}), Observe: seen})
	r, file := recorded(t, agent.URL())
	failed := make(chan error)
	url := r.URL()
	go func() {
		_, _, err := sendTo(http.DefaultClient, "GET", url+"/v1/x", "")
		failed <- err
	}()
	seen.Wait(1, nil)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; err == nil {
		t.Error("the client got an answer")
	}
	if entries, err := har.Read(file); err != nil || len(entries) != 1 || entries[0].Failure != failedCanceled {
		t.Errorf("got %+v, %v", entries, err)
	}
}

// It also ends those that it serves as a handler of another server, whether they
// wait for the agent, for the rest of the request, or for a client that does not
// read.
func TestRecordCloseEndsHandledExchanges(t *testing.T) {
	agent := New(t)
	seen := &Observer{}
	agent.Inject(Fault{Path: "/v1/hangs", Hang: make(chan struct{}), Observe: seen})
	agent.Inject(Fault{Path: "/v1/endless", Endless: true, Body: strings.Repeat("x", 1<<16), Observe: seen})
	r, file := recorded(t, agent.URL())
	begun := make(chan struct{}, 3)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		begun <- struct{}{}
		r.ServeHTTP(w, req)
	}))
	defer server.Close()
	for _, request := range []string{
		"GET /v1/hangs HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /v1/endless HTTP/1.1\r\nHost: a\r\n\r\n",
		"PUT /v1/half HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf",
	} {
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, request)
		<-begun
		if strings.Contains(request, "/endless") {
			if _, err := io.ReadFull(c, make([]byte, 1000)); err != nil { // some of it has passed
				t.Fatal(err)
			}
		}
	}
	seen.Wait(2, nil)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	entries, err := har.Read(file)
	if err != nil || len(entries) != 2 || entries[0].Failure != failedCanceled || entries[1].Failure != failedCanceled {
		t.Fatalf("got %+v, %v", entries, err)
	}
	for _, e := range entries {
		if isEndless := strings.HasSuffix(e.Request.URL, "/endless"); isEndless != (len(e.Answer.Body) > 0) || isEndless != e.Answer.Content.Partial {
			t.Errorf("%s: %d bytes, partial %t", e.Request.URL, len(e.Answer.Body), e.Answer.Content.Partial)
		}
	}
}

// failingFile fails half-way through a write, as files do on a full disk.
type failingFile struct {
	archiveFile
	fails bool
}

// WriteAt implements [io.WriterAt].
func (f *failingFile) WriteAt(p []byte, at int64) (int, error) {
	if !f.fails {
		return f.archiveFile.WriteAt(p, at)
	}
	f.fails = false
	n, _ := f.archiveFile.WriteAt(p[:len(p)/2], at)
	return n, errors.New("no space left on device")
}

// What cannot be written is lost, but nothing else is.
func TestRecordFullDisk(t *testing.T) {
	for n := range 3 {
		agent := New(t)
		r, file := recorded(t, agent.URL())
		disk := &failingFile{archiveFile: r.archive.file}
		r.archive.file = disk
		for i := range 3 {
			disk.fails = i == n
			sendTo(http.DefaultClient, "GET", r.URL()+"/v1/status/leader", "")
			if _, err := har.Read(file); err != nil {
				t.Error(err)
			}
		}
		http.DefaultClient.CloseIdleConnections()
		if err := r.Close(); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("got %v", err)
		}
		if entries, err := har.Read(file); err != nil || len(entries) != 2 {
			t.Errorf("failure at %d: %d entries, %v", n, len(entries), err)
		}
	}
}

// Of a response that is too long the beginning is recorded, and that it is only
// the beginning.
func TestRecordLargeResponses(t *testing.T) {
	const most = 1 << 10
	agent := New(t)
	small, large := strings.Repeat("s", most), strings.Repeat("l", most+1)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	io.WriteString(z, large)
	z.Close()
	agent.Inject(Fault{Body: small})
	agent.Inject(Fault{Body: large})
	agent.Inject(Fault{Body: large, Header: http.Header{"Transfer-Encoding": {"chunked"}}})
	agent.Inject(Fault{Body: packed.String(), Header: http.Header{"Content-Encoding": {"gzip"}}})
	r, file := recorded(t, agent.URL())
	r.most = most
	for _, want := range []int{most, most + 1, most + 1, packed.Len()} {
		req, _ := http.NewRequest("GET", r.URL()+"/v1/x", nil)
		req.Header.Set("Accept-Encoding", "gzip")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); n != int64(want) || err != nil {
			t.Errorf("the client got %d bytes, %v; want %d", n, err, want)
		}
		resp.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	r.Close()
	entries, err := har.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		if isPartial := i > 0; e.Answer.Content.Partial != isPartial || len(e.Answer.Body) != most || e.Failure != "" {
			t.Errorf("entry %d: %d bytes, partial %t, %q", i, len(e.Answer.Body), e.Answer.Content.Partial, e.Failure)
		}
	}
}

// A request that is too long is refused, with the reason.
func TestRecordLargeRequests(t *testing.T) {
	agent := New(t)
	r, file := recorded(t, agent.URL())
	r.most = 10
	resp, body, err := sendTo(http.DefaultClient, "PUT", r.URL()+"/v1/agent/service/register", `{"Name":"web"}`)
	if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(body, "more than 10 bytes") {
		t.Errorf("got %v, %q, %v", resp, body, err)
	}
	if n := len(agent.Requests()); n != 0 {
		t.Errorf("the agent got %d requests", n)
	}
	if entries, err := har.Read(file); err != nil || len(entries) != 0 {
		t.Errorf("recorded %+v, %v", entries, err)
	}
	http.DefaultClient.CloseIdleConnections()
}

// Whatever has been recorded can be replayed, also what a proxy is asked for.
func TestRecordOddRequests(t *testing.T) {
	agent := New(t)
	r, file := recorded(t, agent.URL())
	for _, line := range []string{"GET http://consul", "GET http://me:sekrit-1@consul?stale", "CONNECT consul:443", "GET /", "GET //", "GET /%2F?%zz", "GET /a:b"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(r.URL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, line+" HTTP/1.1\r\nHost: consul\r\nConnection: close\r\n\r\n")
		io.Copy(io.Discard, c)
		c.Close()
	}
	r.Close()
	entries, err := har.Read(file)
	if err != nil || len(entries) != 7 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	if data, _ := os.ReadFile(file); strings.Contains(string(data), "sekrit") {
		t.Errorf("a password in\n%s", data)
	}
	s, err := NewReplayServer(file, func(problem string) { t.Error(problem) })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	client := &http.Client{Transport: s.Transport()}
	for _, target := range []string{"http://consul", "http://consul?stale", "http://consul/"} {
		if _, _, err := sendTo(client, "GET", target, ""); err != nil {
			t.Error(err)
		}
	}
	client.CloseIdleConnections()
}

// Nothing listens once the recorder is closed.
func TestRecordWithoutBody(t *testing.T) {
	r, _ := recorded(t, New(t).URL())
	defer r.Close()
	req, err := http.NewRequest("GET", "/v1/status/leader", nil)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	if w.Code != http.StatusOK {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestRecordURLAfterClose(t *testing.T) {
	r, _ := recorded(t, "http://127.0.0.1:1")
	r.Close()
	defer func() {
		if p := fmt.Sprint(recover()); !strings.Contains(p, "closed") {
			t.Errorf("got %v", p)
		}
	}()
	t.Errorf("got %s", r.URL())
}

// An agent is asked for no compression that the recorder cannot undo, or secrets
// would stay in what it compressed.
func TestRecordCompression(t *testing.T) {
	agent := New(t)
	r, _ := recorded(t, agent.URL())
	for have, want := range map[string]string{"br, GZIP;q=0.5": "gzip", "br, zstd, deflate": "", "gzip": "gzip", "gzip;q=0": "", "*": ""} {
		req, _ := http.NewRequest("GET", r.URL()+"/v1/status/leader", nil)
		req.Header.Set("Accept-Encoding", have)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		requests := agent.Requests()
		if got := requests[len(requests)-1].Header.Get("Accept-Encoding"); got != want {
			t.Errorf("%q became %q, want %q", have, got, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// With tokens in it, a recording is for its owner only.
func TestRecordFileMode(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" {
		t.Skip("modes are not kept there")
	}
	_, file := recorded(t, "http://127.0.0.1:1", KeepTokens())
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
}

// What is written is HAR 1.2 to programs that insist on it.
func TestRecordIsHAR(t *testing.T) {
	agent := New(t)
	agent.Inject(Fault{Path: "/v1/gone", Drop: DropRequest})
	r, file := recorded(t, agent.URL())
	for _, target := range []string{"/v1/agent/service/register?x=1", "/v1/gone"} {
		sendTo(http.DefaultClient, "PUT", r.URL()+target, `{"Name":"web"}`)
	}
	http.DefaultClient.CloseIdleConnections()
	r.Close()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var har map[string]any
	if err := json.Unmarshal(data, &har); err != nil {
		t.Fatal(err)
	}
	// needs returns a member, which must be there and of a kind.
	needs := func(in any, path string, kind any) any {
		t.Helper()
		v := in
		for _, name := range strings.Split(path, ".") {
			m, _ := v.(map[string]any)
			v = m[name]
		}
		if fmt.Sprintf("%T", v) != fmt.Sprintf("%T", kind) {
			t.Errorf("%s is %v, want a %T", path, v, kind)
		}
		return v
	}
	needs(har, "log.creator.name", "")
	needs(har, "log.creator.version", "")
	if v := needs(har, "log.version", ""); v != "1.2" {
		t.Errorf("version %v", v)
	}
	entries := needs(har, "log.entries", []any{}).([]any)
	if len(entries) != 2 {
		t.Fatalf("%d entries", len(entries))
	}
	for _, e := range entries {
		if _, err := time.Parse(time.RFC3339Nano, needs(e, "startedDateTime", "").(string)); err != nil {
			t.Error(err)
		}
		sum := 0.0
		for _, part := range []string{"send", "wait", "receive"} {
			ms := needs(e, "timings."+part, 0.0).(float64)
			if sum += ms; ms < 0 {
				t.Errorf("%s took %v ms", part, ms)
			}
		}
		if took := needs(e, "time", 0.0).(float64); took-sum > 1e-6 || sum-took > 1e-6 {
			t.Errorf("time %v is not the sum %v of the timings", took, sum)
		}
		for _, path := range []string{"request.method", "request.url", "request.httpVersion", "request.postData.mimeType", "request.postData.text",
			"response.statusText", "response.httpVersion", "response.redirectURL", "response.content.mimeType"} {
			needs(e, path, "")
		}
		for _, path := range []string{"request.cookies", "request.headers", "request.queryString", "response.cookies", "response.headers"} {
			needs(e, path, []any{})
		}
		for _, path := range []string{"request.headersSize", "request.bodySize", "response.status", "response.headersSize", "response.bodySize", "response.content.size"} {
			needs(e, path, 0.0)
		}
		needs(e, "cache", map[string]any{})
	}
}

// A recorder may be used from everywhere at once, and ended in the midst of it. Its
// entries are in the order in which they ended.
func TestRecordConcurrently(t *testing.T) {
	agent := New(t)
	r, file := recorded(t, agent.URL())
	url := r.URL()
	var work sync.WaitGroup
	done := make(chan struct{}, 1)
	for range 8 {
		work.Add(1)
		go func() {
			defer work.Done()
			c := &http.Client{Transport: &http.Transport{}}
			defer c.CloseIdleConnections()
			for {
				if _, _, err := sendTo(c, "GET", url+"/v1/agent/self?token="+known, ""); err != nil {
					return // the recorder is closed
				}
				select {
				case done <- struct{}{}:
				default:
				}
			}
		}()
	}
	for range 20 {
		<-done
		r.mu.Lock() // or an entry may be added between two reads of the file
		_, err := har.Read(file)
		r.mu.Unlock()
		if err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		work.Add(1)
		go func() {
			defer work.Done()
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}()
	}
	work.Wait()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var archive har.File
	if err := json.Unmarshal(data, &archive); err != nil || len(archive.Log.Entries) < 20 {
		t.Fatalf("%d entries, %v", len(archive.Log.Entries), err)
	}
	for i, e := range archive.Log.Entries[1:] {
		if before := archive.Log.Entries[i]; before.Seq.End >= e.Seq.End {
			t.Errorf("entry %d ended at %d, the next one at %d", i, before.Seq.End, e.Seq.End)
		}
	}
}

// The file is emptied, and one that exists keeps its mode.
func TestRecordReplacesFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.har")
	if err := os.WriteFile(file, []byte(strings.Repeat("x", 10_000)), 0o640); err != nil {
		t.Fatal(err)
	}
	r, err := Record("http://127.0.0.1:1", file, KeepTokens())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if entries, err := har.Read(file); err != nil || len(entries) != 0 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && runtime.GOOS != "plan9" && info.Mode().Perm() != 0o640 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
}

// An agent may be behind a path. What comes after it arrives as it was sent.
func TestRecordBehindAPath(t *testing.T) {
	got := make(chan string, 1)
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got <- r.RequestURI }))
	defer gateway.Close()
	for _, base := range []string{"/a/consul", "/a/consul/", "/a%2Fb", ""} {
		r, _ := recorded(t, gateway.URL+base)
		if _, _, err := sendTo(http.DefaultClient, "GET", r.URL()+"/v1/kv/x%2Fy%20z?a=%zz;b", ""); err != nil {
			t.Fatal(err)
		}
		if uri, want := <-got, strings.TrimSuffix(base, "/")+"/v1/kv/x%2Fy%20z?a=%zz;b"; uri != want {
			t.Errorf("got %s, want %s", uri, want)
		}
		http.DefaultClient.CloseIdleConnections()
	}
}

// The address is the same each time. When the recorder is closed nobody listens
// there, a handler drops connections, and what was said about the file is said again.
func TestRecordCloseIsForGood(t *testing.T) {
	r, _ := recorded(t, New(t).URL())
	address := r.URL()
	if again := r.URL(); again != address {
		t.Errorf("got %s and %s", address, again)
	}
	server := httptest.NewServer(r)
	defer server.Close()
	r.archive.file = &failingFile{archiveFile: r.archive.file, fails: true}
	sendTo(http.DefaultClient, "GET", address+"/v1/status/leader", "")
	http.DefaultClient.CloseIdleConnections()
	first := r.Close()
	if again := r.Close(); first == nil || again != first {
		t.Errorf("got %v, then %v", first, again)
	}
	for _, url := range []string{address, server.URL} {
		if _, _, err := sendTo(http.DefaultClient, "GET", url+"/v1/status/leader", ""); err == nil {
			t.Errorf("%s has answered", url)
		}
	}
}
