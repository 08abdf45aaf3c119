package consulmock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/har"
)

// recordings returns the archives beside the tests, and those of the conformance
// module if it is there.
func recordings(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"testdata/*.har", "../conformance/testdata/*/*.har"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) == 0 {
		t.Fatal("no recordings")
	}
	return files
}

// step is what happens next in a recording.
type step struct {
	e     *har.Entry
	place int
	ends  bool
}

func steps(entries []har.Entry) []step {
	var list []step
	for i := range entries {
		e := &entries[i]
		if e.Request.Parsed == nil {
			continue
		}
		list = append(list, step{e, e.Seq.Start, false}, step{e, e.Seq.End, true})
	}
	slices.SortFunc(list, func(a, b step) int { return a.place - b.place })
	return list
}

type outcome struct {
	resp *http.Response
	body []byte
	err  error
}

// Every recording answers a client that does what the recorded one did, request
// by request, also where requests overlap.
func TestReplayRecordings(t *testing.T) {
	for _, file := range recordings(t) {
		t.Run(strings.TrimSuffix(filepath.ToSlash(file), ".har"), func(t *testing.T) {
			t.Parallel()
			replayAll(t, file)
		})
	}
}

func replayAll(t *testing.T, file string) {
	entries, err := har.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewReplayServer(file, func(problem string) { t.Error(problem) })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	transport := s.Transport().(*http.Transport)
	transport.DisableKeepAlives = true // or a broken connection would be tried again
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	under := map[*har.Entry]chan outcome{}
	cancels := map[*har.Entry]context.CancelFunc{}
	var unsendable []string
	started := 0
	for _, step := range steps(entries) {
		e := step.e
		if _, err := http.NewRequest(e.Request.Method, "http://agent/", nil); err != nil {
			// Go's client does not send what this entry has recorded.
			if !step.ends {
				unsendable = append(unsendable, e.ID)
			}
			continue
		}
		if !step.ends {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			under[e], cancels[e] = make(chan outcome, 1), cancel
			started++
			answered := make(chan struct{})
			go func() {
				under[e] <- askAgain(ctx, client, e)
				close(answered)
			}()
			// Of two equal requests the one that arrives first gets the first answer.
			if !s.replay.await(started, answered) {
				t.Fatalf("%s %s %s did not arrive: %s", e.ID, e.Request.Method, e.Request.URL, <-under[e])
			}
			continue
		}
		if e.Failure == failedTimeout || e.Answer.Content.Partial {
			cancels[e]()
		}
		if got := <-under[e]; !got.is(e) {
			t.Errorf("%s %s %s: got %s", e.ID, e.Request.Method, e.Request.URL, got)
		}
	}
	if left := s.Leftovers(); len(left) != len(unsendable) {
		t.Errorf("left over: %q; want the entries %q", left, unsendable)
	}
}

// await returns true when n requests have found their answers, and false if done
// is closed before.
func (r *replayer) await(n int, done <-chan struct{}) bool {
	for isDone := false; ; {
		r.mu.Lock()
		arrived, missing := r.arrived, n
		for _, e := range r.entries {
			if e.arrived {
				missing--
			}
		}
		r.mu.Unlock()
		if missing <= 0 || isDone {
			return missing <= 0
		}
		select {
		case <-arrived:
		case <-done:
			isDone = true // and look once more
		}
	}
}

func askAgain(ctx context.Context, client *http.Client, e *har.Entry) outcome {
	req, err := http.NewRequestWithContext(ctx, e.Request.Method, "http://agent/", bytes.NewReader(e.Request.Body))
	if err != nil {
		return outcome{err: err}
	}
	u := *e.Request.Parsed
	req.URL = &u
	resp, err := client.Do(req)
	if err != nil {
		return outcome{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return outcome{resp, body, err}
}

func (o outcome) String() string {
	if o.resp == nil {
		return fmt.Sprint(o.err)
	}
	return fmt.Sprintf("%d %.300s %v", o.resp.StatusCode, o.body, o.err)
}

// is reports whether the outcome is the recorded one.
func (o outcome) is(e *har.Entry) bool {
	if e.Answer.Status == 0 {
		return o.err != nil
	}
	if e.Answer.Content.Partial && errors.Is(o.err, context.Canceled) && o.resp == nil {
		return true // before the header came
	}
	if o.resp == nil || o.resp.StatusCode != e.Answer.Status {
		return false
	}
	if e.Answer.Content.Partial {
		return bytes.HasPrefix(e.Answer.Body, o.body) // it may have been cut off earlier
	}
	for _, h := range e.Answer.Headers {
		if !slices.Contains(notReplayed, http.CanonicalHeaderKey(h.Name)) && !slices.Contains(o.resp.Header.Values(h.Name), h.Value) {
			return false
		}
	}
	return bytes.Equal(o.body, e.Answer.Body) && (o.err != nil) == (e.Failure != "")
}

const replayedHAR = `{"log":{"version":"1.2","entries":[
{"_id":"e1","_seq":{"start":1,"end":2},"request":{"method":"GET","url":"http://a/v1/health/service/web?tag=a&tag=b&token=redacted"},
 "response":{"status":200,"headers":[{"name":"X-Consul-Index","value":"7"}],"content":{"text":"[1]"}}},
{"_id":"e2","_seq":{"start":3,"end":6},"request":{"method":"GET","url":"http://a/v1/health/service/web?index=7"},
 "response":{"status":200,"headers":[{"name":"X-Consul-Index","value":"8"}],"content":{"text":"[2]"}}},
{"_id":"e3","_seq":{"start":4,"end":5},"request":{"method":"PUT","url":"http://a/v1/agent/service/register","postData":{"text":"{\"Name\":\"web\",\"Port\":80,\"Token\":\"redacted\"}"}},
 "response":{"status":200,"content":{"text":""}}},
{"_id":"e4","_seq":{"start":7,"end":8},"request":{"method":"GET","url":"http://a/v1/health/service/web?index=99"},
 "response":{"status":200,"headers":[{"name":"X-Consul-Index","value":"9"}],"content":{"text":"[3]"}}},
{"_id":"e5","_seq":{"start":9,"end":10},"request":{"method":"GET","url":"http://a/v1/status/leader"},
 "response":{"status":200,"content":{"text":"ImEi","encoding":"base64"}}}
]}}`

// replayOf returns a replay, and what it complains about.
func replayOf(t *testing.T, har string) (*Server, *http.Client, *[]string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "test.har")
	if err := os.WriteFile(file, []byte(har), 0o600); err != nil {
		t.Fatal(err)
	}
	problems := &[]string{}
	s, err := NewReplayServer(file, func(p string) { *problems = append(*problems, p) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, &http.Client{Transport: s.Transport()}, problems
}

func TestReplayMatches(t *testing.T) {
	s, c, problems := replayOf(t, replayedHAR)
	get := func(method, path, body, want string) {
		t.Helper()
		if _, got, err := sendTo(c, method, "http://b"+path, body); got != want || err != nil {
			t.Errorf("%s: got %q, %v; want %q", path, got, err, want)
		}
	}
	// The order of parameters and the token do not matter.
	get("GET", "/v1/health/service/web?tag=b&token=secret&tag=a", "", "[1]")
	// A blocking answer waits for what came meanwhile.
	seen := &Observer{}
	s.Inject(Fault{Always: true, Observe: seen})
	answered := make(chan string)
	go func() {
		_, body, _ := sendTo(c, "GET", "http://b/v1/health/service/web?index=7", "")
		answered <- body
	}()
	seen.Wait(1, nil)
	select {
	case <-answered:
		t.Error("answered before the registration came")
	default:
	}
	get("PUT", "/v1/agent/service/register", `{"Token": "secret", "Port":80, "Name" : "web"}`, "") // members in any order
	if got := <-answered; got != "[2]" {
		t.Errorf("got %q", got)
	}
	// An index that an answer gave is as good as the recorded one.
	get("GET", "/v1/health/service/web?index=8", "", "[3]")
	if got, want := s.Leftovers(), "e5 GET /v1/status/leader"; strings.Join(got, ";") != want {
		t.Errorf("left over %q, want %q", got, want)
	}
	get("GET", "/v1/status/leader", "", `"a"`)
	if len(*problems) > 0 || len(s.Leftovers()) > 0 {
		t.Errorf("problems %q, left over %q", *problems, s.Leftovers())
	}
}

func TestReplayMiss(t *testing.T) {
	tests := []struct {
		name, method, path, body string
		want                     []string
	}{
		{"again", "GET", "/v1/status/leader", "", []string{"has no response for GET /v1/status/leader: it was recorded once, and has been used"}},
		{"parameter", "GET", "/v1/status/leader?dc=x", "", []string{"the nearest is e5 GET /v1/status/leader", `dc: recorded none, requested "x"`}},
		{"body", "PUT", "/v1/agent/service/register", `{"Name":"web","Port":81}`, []string{"nearest is e3 PUT", `body: recorded {"Name":"web"`, `requested {"Name":"web","Port":81}`}},
		{"path", "PUT", "/v1/agent/service/registers", "{}", []string{"nearest is e3", "path: recorded /v1/agent/service/register, requested /v1/agent/service/registers"}},
		{"method", "POST", "/v1/status/leader", "", []string{"nearest is e5", "method: recorded GET, requested POST"}},
		{"index of nowhere", "GET", "/v1/health/service/web?index=55", "", []string{`index: recorded "7", requested "55"`}},
		{"token", "GET", "/v1/none?token=secret", "", []string{"has no response for GET /v1/none;"}},
		{"escaped slash", "GET", "/v1/status%2Fleader", "", []string{"nearest is e5"}},
		{"malformed", "GET", "/v1/status/leader?%zz", "", []string{"nearest is e5"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, c, problems := replayOf(t, replayedHAR)
			if tt.name == "again" {
				sendTo(c, tt.method, "http://a"+tt.path, tt.body)
			}
			resp, body, err := sendTo(c, tt.method, "http://a"+tt.path, tt.body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != http.StatusNotImplemented || len(*problems) != 1 || strings.TrimSpace(body) != (*problems)[0] {
				t.Fatalf("got %d %s, reported %q", resp.StatusCode, body, *problems)
			}
			for _, want := range append(tt.want, "test.har") {
				if !strings.Contains(body, want) {
					t.Errorf("got %s\nwant %s", body, want)
				}
			}
			if strings.Contains(body, "secret") {
				t.Errorf("a token in %s", body)
			}
		})
	}
}

// failingTest stands for a test that a replay fails.
type failingTest struct {
	testing.TB
	fatal        string
	errors, logs []string
	cleanup      []func()
}

func (f *failingTest) Helper()           {}
func (f *failingTest) Cleanup(fn func()) { f.cleanup = append(f.cleanup, fn) }
func (f *failingTest) Errorf(format string, args ...any) {
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}
func (f *failingTest) Fatal(args ...any) {
	f.fatal = fmt.Sprint(args...)
	runtime.Goexit()
}
func (f *failingTest) Logf(format string, args ...any) {
	f.logs = append(f.logs, fmt.Sprintf(format, args...))
}

func TestReplayFailsTheTest(t *testing.T) {
	fake := &failingTest{TB: t}
	client := Replay(fake, "testdata/status-1.8.7.har").Client()
	if _, err := client.Status().Leader(context.Background()); err != nil {
		t.Error(err)
	}
	var status *consul.StatusError
	if _, err := client.Agent().Self(context.Background()); !errors.As(err, &status) || status.Code != http.StatusNotImplemented {
		t.Errorf("got %v", err)
	}
	client.CloseIdleConnections()
	for _, f := range fake.cleanup {
		f()
	}
	if _, err := client.Status().Leader(context.Background()); err == nil {
		t.Error("the server answers after the test")
	}
	if len(fake.errors) != 1 || !strings.Contains(fake.errors[0], "GET /v1/agent/self") {
		t.Errorf("errors %q", fake.errors)
	}
	if len(fake.logs) != 1 || !strings.Contains(fake.logs[0], "not requested: ") {
		t.Errorf("logs %q", fake.logs)
	}
}

func TestLeftoversOfAFake(t *testing.T) {
	if got := New(t).Leftovers(); got != nil {
		t.Errorf("got %q", got)
	}
}

// A loop of blocking queries, as a browser records it, is replayed to its end,
// though by its clock each query began before the one before had ended.
func TestReplayBrowserLoop(t *testing.T) {
	for name, start := range map[string]string{"milliseconds": "2026-01-01T00:00:0%d.000Z", "microseconds": "2026-01-01T00:00:0%d.000001Z"} {
		var entries []string
		for i := 1; i <= 3; i++ {
			entries = append(entries, fmt.Sprintf(`{"startedDateTime":"`+start+`","time":1000.7,
				"request":{"method":"GET","url":"http://a/v1/health/service/web?index=%d"},
				"response":{"status":200,"headers":[{"name":"X-Consul-Index","value":"%d"}],"content":{"text":"[%d]"}}}`, i, i, i+1, i))
		}
		s, c, problems := replayOf(t, `{"log":{"version":"1.2","entries":[`+strings.Join(entries, ",")+`]}}`)
		for i := 1; i <= 3; i++ {
			if _, body, err := sendTo(c, "GET", fmt.Sprintf("http://b/v1/health/service/web?index=%d", i), ""); body != fmt.Sprintf("[%d]", i) || err != nil {
				t.Errorf("%s: got %q, %v", name, body, err)
			}
		}
		if len(*problems) > 0 || len(s.Leftovers()) > 0 {
			t.Errorf("%s: problems %q, left over %q", name, *problems, s.Leftovers())
		}
	}
}

// A program is replayed with another token than it was recorded with, also where
// it has its token in paths and bodies.
func TestReplayOwnToken(t *testing.T) {
	agent := New(t)
	story := func(url, token string) {
		t.Helper()
		for _, request := range []struct{ path, body string }{
			{"/v1/agent/service/register", `{"Name":"web","Check":{"HTTP":"http://127.0.0.1/","Interval":"1h","Header":{"X-Consul-Token":["` + token + `"],"X-Other":["for ` + token + `"]}}}`},
			{"/v1/agent/check/update/service:web?x=" + token, `{"Status":"passing","Output":"` + token + `"}`},
			{"/v1/agent/service/deregister/web/" + token, ""},
		} {
			req, err := http.NewRequest("PUT", url+request.path, strings.NewReader(request.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Consul-Token", token)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		http.DefaultClient.CloseIdleConnections()
	}
	for name, opts := range map[string][]RecordOption{"redacted": nil, "kept": {KeepTokens()}} {
		r, file := recorded(t, agent.URL(), opts...)
		story(r.URL(), known)
		r.Close()
		s, err := NewReplayServer(file, func(problem string) { t.Errorf("%s: %s", name, problem) })
		if err != nil {
			t.Fatal(err)
		}
		story(s.URL(), "another-token")
		if left := s.Leftovers(); len(left) > 0 {
			t.Errorf("%s: left over %q", name, left)
		}
		s.Close()
	}
}

// A token that is a word of the recording is none there.
func TestReplayTokenThatIsAWord(t *testing.T) {
	s, c, problems := replayOf(t, replayedHAR)
	for _, path := range []string{"/v1/status/leader", "/v1/health/service/web?tag=a&tag=b"} {
		req, _ := http.NewRequest("GET", "http://a"+path, nil)
		req.Header.Set("Authorization", "Bearer /service")
		resp, err := c.Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("got %v, %v", resp, err)
		}
		resp.Body.Close()
	}
	if len(*problems) > 0 || len(s.Leftovers()) != 3 {
		t.Errorf("problems %q, left over %q", *problems, s.Leftovers())
	}
}

// Whoever reads what a replay misses does not learn the token.
func TestReplayMissHasNoToken(t *testing.T) {
	_, c, problems := replayOf(t, replayedHAR)
	req, _ := http.NewRequest("PUT", "http://a/v1/agent/service/register/"+known+"?x="+known, strings.NewReader(`{"Name":"`+known+`"}`))
	req.Header.Set("X-Consul-Token", known)
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if len(*problems) != 1 || strings.Contains((*problems)[0], known) {
		t.Errorf("got %q", *problems)
	}
}

// Any archive that can be read can be replayed.
func FuzzReplay(f *testing.F) {
	f.Add([]byte(replayedHAR))
	f.Fuzz(func(t *testing.T, data []byte) {
		if entries, err := har.Parse(data); err == nil {
			newReplayer("", entries, nil)
		}
	})
}

// A recording that cannot be read fails the test at once.
func TestReplayUnreadable(t *testing.T) {
	fake := &failingTest{TB: t}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Replay(fake, "testdata/none.har")
		t.Error("the test went on")
	}()
	<-ended
	if !strings.Contains(fake.fatal, "none.har") || len(fake.errors) > 0 {
		t.Errorf("got %q, %q", fake.fatal, fake.errors)
	}
}

// After a request that was never recorded nothing is held, and nobody has to want to
// know of it.
func TestReplayHoldsNothingAfterAMiss(t *testing.T) {
	file := filepath.Join(t.TempDir(), "test.har")
	if err := os.WriteFile(file, []byte(replayedHAR), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := NewReplayServer(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := &http.Client{Transport: s.Transport()}
	seen := &Observer{}
	s.Inject(Fault{Always: true, Observe: seen})
	answered := make(chan string)
	go func() {
		_, body, _ := sendTo(c, "GET", "http://a/v1/health/service/web?index=7", "")
		answered <- body
	}()
	seen.Wait(1, nil)
	sendTo(c, "GET", "http://a/v1/none", "")
	if got := <-answered; got != "[2]" {
		t.Errorf("got %q", got)
	}
}

// A hash that a response gave may be waited on, also if it is not the recorded one.
func TestReplayHash(t *testing.T) {
	entry := func(seq int, query, hash string) string {
		return fmt.Sprintf(`{"_seq":{"start":%d,"end":%d},"request":{"method":"GET","url":"http://a/v1/agent/service/web%s"},
			"response":{"status":200,"headers":[{"name":"X-Consul-Contenthash","value":"%s"}],"content":{"text":"%s"}}}`, seq, seq+1, query, hash, hash)
	}
	_, c, problems := replayOf(t, `{"log":{"version":"1.2","entries":[`+entry(1, "", "h1")+","+entry(3, "?hash=h1", "h2")+","+entry(5, "?hash=h2", "h3")+`]}}`)
	for _, step := range [][2]string{{"", "h1"}, {"?hash=h1", "h2"}, {"?hash=h1", "h3"}} {
		if _, body, err := sendTo(c, "GET", "http://b/v1/agent/service/web"+step[0], ""); body != step[1] || err != nil {
			t.Errorf("%q: got %q, %v", step[0], body, err)
		}
	}
	if sendTo(c, "GET", "http://b/v1/agent/service/web?hash=other", ""); len(*problems) != 1 {
		t.Errorf("problems %q", *problems)
	}
}

// A session and an index that responses have given come back in requests.
func TestReplaySession(t *testing.T) {
	const session = "aaaaaaaa-0000-0000-0000-000000000001"
	entry := func(seq int, method, path, body, answer string) string {
		return fmt.Sprintf(`{"_seq":{"start":%d,"end":%d},"request":{"method":%q,"url":"http://a/v1%s","postData":{"text":%q}},
			"response":{"status":200,"headers":[{"name":"Content-Type","value":"application/json"},{"name":"X-Consul-Index","value":"9"}],"content":{"text":%q}}}`, seq, seq+1, method, path, body, answer)
	}
	s, _, problems := replayOf(t, `{"log":{"version":"1.2","entries":[`+strings.Join([]string{
		entry(1, "PUT", "/session/create", `{"TTL":"60s"}`, `{"ID":"`+session+`"}`),
		entry(3, "PUT", "/kv/leader?acquire="+session+"&flags=0", "me", "true"),
		entry(5, "GET", "/kv/leader", "", `[{"Key":"leader","Value":"bWU=","Session":"`+session+`","ModifyIndex":9}]`),
		entry(7, "PUT", "/kv/leader?cas=9", "you", "true"),
		entry(9, "PUT", "/txn", `[{"KV":{"Verb":"unlock","Key":"leader","Session":"`+session+`","Value":null},"Node":null}]`, `{"Results":[],"Errors":null}`),
		entry(11, "PUT", "/session/renew/"+session, "", `[{"ID":"`+session+`"}]`),
	}, ",")+`]}}`)
	ctx, c := context.Background(), s.Client()
	id, err := c.Session().Create(ctx, &consul.SessionEntry{TTL: time.Minute}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ok, err := c.KV().Acquire(ctx, &consul.KVPair{Key: "leader", Value: []byte("me"), Session: id}, nil)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	pair, _, err := c.KV().Get(ctx, "leader", nil)
	if err != nil || pair.Session != id {
		t.Fatal(pair, err)
	}
	pair.Value = []byte("you")
	if ok, err = c.KV().CAS(ctx, pair, nil); !ok || err != nil {
		t.Error(ok, err)
	}
	_, err = c.Txn().Apply(ctx, []consul.TxnOp{{KV: &consul.KVTxnOp{Verb: consul.KVUnlock, Key: "leader", Session: pair.Session}}}, nil)
	if err != nil {
		t.Error(err)
	}
	// A session of another place was never recorded.
	if _, err = c.Session().Renew(ctx, "bbbbbbbb-0000-0000-0000-000000000002", nil); err == nil || len(*problems) != 1 {
		t.Errorf("got %v, reported %q", err, *problems)
	}
	if got := strings.Join(s.Leftovers(), ";"); !strings.Contains(got, "renew/"+session) {
		t.Errorf("left over %q", got)
	}
}

// How an exchange failed in the recording, and what the client sees.
func TestReplayFailures(t *testing.T) {
	for failure, want := range map[string]string{
		`"_error":"unexpected EOF"`:           "EOF",
		`"_error":"connection refused"`:       "EOF",
		`"_error":"connection reset by peer"`: "reset",
		`"_error":"timeout"`:                  "deadline",
		`"_error":"canceled"`:                 "deadline",
		`"_id":"x"`:                           "EOF",
	} {
		_, c, problems := replayOf(t, `{"log":{"version":"1.2","entries":[{`+failure+`,"_seq":{"start":1,"end":2},"request":{"method":"PUT","url":"http://a/x"}}]}}`)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		req, _ := http.NewRequestWithContext(ctx, "PUT", "http://a/x", nil)
		if _, err := c.Do(req); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", failure, err, want)
		}
		cancel()
		if len(*problems) > 0 {
			t.Errorf("%s: %q", failure, *problems)
		}
	}
}
