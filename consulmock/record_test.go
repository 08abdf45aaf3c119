package consulmock

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
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
	entries, err := readHAR(file)
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
	entries, err := readHAR(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := entries[1].Request; string(got.body) != "\xff\xfe" || got.PostData.Encoding != "base64" || !strings.HasSuffix(got.URL, "/v1/kv/a%2Fb") {
		t.Errorf("got %+v", got)
	}
	if resp.Header.Get("Content-Encoding") != "gzip" || n > 10_000 {
		t.Errorf("the client got %d bytes, %v", n, resp.Header)
	}
	var services map[string]*consul.AgentService
	if err := json.Unmarshal(entries[2].Answer.body, &services); err != nil || services["web"].Tags[0] != big {
		t.Errorf("recorded %.100s, %v", entries[2].Answer.body, err)
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
	entries, err := readHAR(file)
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
	entries, err := readHAR(file)
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
	for _, target := range []string{"", "127.0.0.1:8500", "ftp://a", "http://", "://"} {
		if _, err := Record(target, filepath.Join(t.TempDir(), "x.har")); err == nil || !strings.Contains(err.Error(), "target") {
			t.Errorf("target %q: %v", target, err)
		}
	}
	if _, err := Record("http://127.0.0.1:1", filepath.Join(t.TempDir(), "none", "x.har")); err == nil {
		t.Error("no error for a folder that does not exist")
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
	if entries, err := readHAR(file); err != nil || len(entries) != 1 || entries[0].Failure != failedCanceled {
		t.Errorf("got %+v, %v", entries, err)
	}
}
