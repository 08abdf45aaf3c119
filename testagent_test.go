package consul

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pathPrefix is part of the address in all tests, so that a method that forgets
// it fails.
const pathPrefix = "/some/prefix"

// asked is what a test agent was last asked.
type asked struct {
	Method string
	Path   string // escaped as it was sent, without pathPrefix
	Query  url.Values
	Header http.Header
	Host   string
	Body   string
	Count  int // of requests
}

// canned is the answer of a test agent.
type canned struct {
	code   int // 0 means 200
	header map[string]string
	body   string
}

// newTestAgent starts an agent that gives the same answer to everything, and
// returns a client for it.
func newTestAgent(t *testing.T, cfg Config, answer canned) (*Client, *asked) {
	t.Helper()
	last := new(asked)
	client := newTestServer(t, cfg, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*last = asked{
			Method: r.Method,
			Path:   strings.TrimPrefix(r.URL.EscapedPath(), pathPrefix),
			Query:  r.URL.Query(),
			Header: r.Header,
			Host:   r.Host,
			Body:   string(body),
			Count:  last.Count + 1,
		}
		if !strings.HasPrefix(r.URL.EscapedPath(), pathPrefix+"/") {
			t.Errorf("path %s lacks the prefix of the address", r.URL.EscapedPath())
		}
		w.Header().Set("Content-Type", "application/json")
		for k, v := range answer.header {
			w.Header().Set(k, v)
		}
		if answer.code != 0 {
			w.WriteHeader(answer.code)
		}
		io.WriteString(w, answer.body)
	})
	return client, last
}

// newTestServer starts a server and returns a client whose address is the
// server's with pathPrefix.
func newTestServer(t *testing.T, cfg Config, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	cfg.Address = server.URL + pathPrefix
	client, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// wantError fails the test unless err says all the words.
func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q lacks %q", err, w)
		}
	}
}

// Mount is a folder with files as Kubernetes mounts a Secret or a ConfigMap: each
// file is a link through ..data, which is a link to a folder that is replaced.
type Mount struct {
	Dir     string
	t       *testing.T
	version int
}

// NewMount makes a folder with the files.
func NewMount(t *testing.T, files map[string]string) *Mount {
	t.Helper()
	m := &Mount{t: t, Dir: t.TempDir()}
	m.Replace(files)
	for name := range files {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(m.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// Replace puts other files there, all at once, and removes those from before.
func (m *Mount) Replace(files map[string]string) {
	m.t.Helper()
	m.version++
	folder := fmt.Sprintf("..version-%d", m.version)
	if err := os.Mkdir(filepath.Join(m.Dir, folder), 0o700); err != nil {
		m.t.Fatal(err)
	}
	putFiles(m.t, filepath.Join(m.Dir, folder), files)
	temporary, data := filepath.Join(m.Dir, "..data_tmp"), filepath.Join(m.Dir, "..data")
	if err := os.Symlink(folder, temporary); err != nil {
		m.t.Skip("no symbolic links: ", err)
	}
	if err := errors.Join(os.Rename(temporary, data), os.RemoveAll(filepath.Join(m.Dir, fmt.Sprintf("..version-%d", m.version-1)))); err != nil {
		m.t.Fatal(err)
	}
}

// putFiles writes files into a folder.
func putFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
