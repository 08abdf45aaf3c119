package consulmock

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lictor-go/consul"
)

const hostile = `<script>alert("x")</script>`

func uiAgent(t *testing.T) *Server {
	t.Helper()
	s := New(t)
	err := s.Client().Agent().ServiceRegister(context.Background(), &consul.AgentServiceRegistration{
		Name: "web", ID: "web-1" + hostile, Port: 8080, Tags: []string{"v1", hostile}, Meta: map[string]string{"env": hostile},
		Check: &consul.AgentServiceCheck{TTL: time.Minute, Status: consul.HealthPassing, Name: hostile},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.SetCheckStatus("service:web-1"+hostile, consul.HealthWarning, hostile)
	s.SetKey("config/"+hostile, []byte(hostile))
	if _, err := s.Client().Session().Create(context.Background(), &consul.SessionEntry{Name: "leader" + hostile, TTL: time.Hour}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client().Event().Fire(context.Background(), &consul.UserEvent{Name: "deploy" + hostile, Payload: []byte{0xff}, NodeFilter: "node1"}, nil); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestUI(t *testing.T) {
	s := uiAgent(t)
	c := &http.Client{Transport: s.Transport()}
	seen, release := &Observer{}, make(chan struct{})
	s.Inject(Fault{Path: "/v1/status/leader", Hang: release, Observe: seen})
	responded := make(chan error)
	go func() {
		_, _, err := sendTo(c, "GET", "http://agent/v1/status/leader?token=secret", "")
		responded <- err
	}()
	seen.Wait(1, nil)
	resp, page, err := sendTo(c, "GET", "http://agent/ui/", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("Content-Type %s", got)
	}
	for _, want := range []string{
		"web-1&lt;script&gt;", ">warning<", "127.0.0.1:8080", "Agent alive and reachable", "Consul 1.21.4, node node1, datacenter dc1",
		"GET /v1/status/leader?token=redacted", "waiting for 0s",
		"<code>config/&lt;script&gt;", "leader&lt;script&gt;", "1h0m0s", "deploy&lt;script&gt;", `&#34;\xff&#34;`, "node=node1",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	for _, bad := range []string{hostile, "secret"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	checkWords(t, page)
	close(release)
	if err := <-responded; err != nil {
		t.Error(err)
	}
	_, live, err := sendTo(c, "GET", "http://agent/ui/live", "")
	if err != nil || !strings.Contains(live, "web-1") || strings.Contains(live, "<html") || strings.Contains(live, "waiting for") {
		t.Errorf("the live part is %s, %v", live, err)
	}
	for _, r := range s.Requests() {
		if strings.HasPrefix(r.Path, "/ui") {
			t.Errorf("the page is among the requests: %s", r.Path)
		}
	}
}

func TestUIPaths(t *testing.T) {
	s := New(t)
	transport := s.Transport()
	for path, want := range map[string]int{
		"GET /": 301, "GET /ui": 302, "GET /ui/dc1/services": 302, "GET /ui/": 200, "HEAD /ui/": 200, "POST /ui/": 405, "GET /uis": 404,
	} {
		method, path, _ := strings.Cut(path, " ")
		req, _ := http.NewRequest(method, "http://agent"+path, nil)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want || want/100 == 3 && resp.Header.Get("Location") != "/ui/" {
			t.Errorf("%s %s: %d %s, want %d", method, path, resp.StatusCode, resp.Header.Get("Location"), want)
		}
	}
}

func TestUIOfReplay(t *testing.T) {
	s := Replay(&failingTest{TB: t}, "testdata/status-1.8.7.har")
	defer s.Close()
	_, page, err := sendTo(&http.Client{Transport: s.Transport()}, "GET", "http://agent/ui/", "")
	if err != nil || !strings.Contains(page, "status-1.8.7.har") || !strings.Contains(page, "GET /v1/status/leader") {
		t.Errorf("got %s, %v", page, err)
	}
	checkWords(t, page)
}

// checkWords checks that the page, with its script, uses the words of HTTP.
func checkWords(t *testing.T, page string) {
	t.Helper()
	for _, bad := range []string{"answer", "asked"} {
		if strings.Contains(strings.ToLower(page), bad) {
			t.Errorf("the page has %q, want the words request and response", bad)
		}
	}
}

// A real browser shows the page, and what changes after it was loaded. Nothing of
// what was registered runs as a script.
func TestUIInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("there is no chromium in PATH")
	}
	s := uiAgent(t)
	var later sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ui/live" {
			later.Do(func() {
				if err := s.Client().Agent().ServiceRegister(r.Context(), &consul.AgentServiceRegistration{Name: "came-later"}); err != nil {
					t.Error(err)
				}
			})
		}
		s.Handler().ServeHTTP(w, r)
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	profile, err := os.MkdirTemp("", "consulmock")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(profile) // not t.TempDir, which fails if the browser still writes
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
		"--user-data-dir="+profile, "--virtual-time-budget=3000", "--dump-dom", server.URL+"/ui/")
	cmd.Stderr = &stderr
	dom, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", browser, err, &stderr)
	}
	for _, want := range []string{"came-later", "web-1&lt;script&gt;", "config/&lt;script&gt;", "leader&lt;script&gt;", "deploy&lt;script&gt;", `<span id="live" class="passing" role="status">live</span>`} {
		if !strings.Contains(string(dom), want) {
			t.Errorf("the page lacks %s:\n%s", want, dom)
		}
	}
	if got := strings.Count(string(dom), "<script>"); got != 1 {
		t.Errorf("%d scripts in the page", got)
	}
	for _, line := range strings.Split(stderr.String(), "\n") {
		if strings.Contains(line, ":CONSOLE") {
			t.Error("the browser complains: " + fmt.Sprintf("%.300s", line))
		}
	}
}
