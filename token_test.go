//go:build go1.25

package consul_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// tokenAgent is an agent, a client with a file for its token, and a way to see
// which token a request carries.
type tokenAgent struct {
	*consulmock.Server
	client *consul.Client
	seen   string
}

func newTokenAgent(t *testing.T, cfg consul.Config) *tokenAgent {
	t.Helper()
	a := &tokenAgent{Server: consulmock.New(t)}
	base := a.Transport()
	cfg.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		a.seen = r.Header.Get("X-Consul-Token")
		return base.RoundTrip(r)
	})
	client, err := consul.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.client = client
	return a
}

// sends returns the token that the client sends now.
func (a *tokenAgent) sends(t *testing.T, client *consul.Client) string {
	t.Helper()
	if _, err := client.Status().Leader(context.Background()); err != nil {
		t.Fatal(err)
	}
	return a.seen
}

// put replaces what is in a file.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTokenFileChanges changes the file in the ways in which files change.
func TestTokenFileChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := write(t, "token", " first\n")
		a := newTokenAgent(t, consul.Config{Token: "of the config", TokenFile: file})
		expect := func(when, want string) {
			t.Helper()
			if got := a.sends(t, a.client); got != want {
				t.Errorf("%s: sent %q, want %q", when, got, want)
			}
		}
		expect("at first", "first")
		put(t, file, "second")
		expect("within a second", "first")
		time.Sleep(time.Second)
		expect("a second later", "second")

		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		put(t, file, "2econd")
		if err := os.Chtimes(file, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		expect("as long and as old as before", "2econd")

		// What is of no use leaves the last token in use.
		for when, text := range map[string]string{"empty": "", "blank": " \n", "two lines": "third\nthird"} {
			put(t, file, text)
			time.Sleep(time.Second)
			expect(when, "2econd")
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		expect("removed", "2econd")
		put(t, file, "third")
		time.Sleep(time.Second)
		expect("there again", "third")

		put(t, file+".new", "fourth")
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for name, tt := range map[string]struct {
			client *consul.Client
			want   string
		}{
			"the client": {a.client, "fourth"}, "a copy": {a.client.WithDatacenter("dc1"), "fourth"},
			"a copy with another token": {a.client.WithToken("another"), "another"}, "a copy without": {a.client.WithToken(""), ""},
		} {
			if got := a.sends(t, tt.client); got != tt.want {
				t.Errorf("%s: sent %q, want %q", name, got, tt.want)
			}
		}
	})
}

// TestTokenFileInKubernetes replaces the file as Kubernetes does.
func TestTokenFileInKubernetes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mount := consul.NewMount(t, map[string]string{"token": "first"})
		a := newTokenAgent(t, consul.Config{TokenFile: filepath.Join(mount.Dir, "token")})
		if got := a.sends(t, a.client); got != "first" {
			t.Errorf("sent %q", got)
		}
		mount.Replace(map[string]string{"token": "second"})
		time.Sleep(time.Second)
		if got := a.sends(t, a.client); got != "second" {
			t.Errorf("sent %q", got)
		}
	})
}

// TestRefusedToken has an agent that refuses the token: the file is read again for
// the next request, and the error mentions it if it cannot be.
func TestRefusedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := write(t, "token", "first")
		a := newTokenAgent(t, consul.Config{TokenFile: file})
		refuse := func(code int) error {
			t.Helper()
			a.Inject(consulmock.Fault{Status: code, Body: "ACL not found"})
			_, err := a.client.Status().Leader(t.Context())
			var status *consul.StatusError
			if !errors.As(err, &status) || status.Code != code {
				t.Errorf("%v is no *StatusError with %d", err, code)
			}
			return err
		}
		for i, code := range []int{http.StatusForbidden, http.StatusUnauthorized} {
			want := fmt.Sprint("next", i)
			put(t, file, want)
			if err := refuse(code); strings.Contains(err.Error(), file) {
				t.Errorf("%v is about the file", err)
			}
			if got := a.sends(t, a.client); got != want {
				t.Errorf("after %d: sent %q, want %q", code, got, want)
			}
		}
		put(t, file, "later")
		refuse(http.StatusInternalServerError)
		if got := a.sends(t, a.client); got != "next1" {
			t.Errorf("after 500 within a second: sent %q", got)
		}

		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		err := refuse(http.StatusForbidden)
		if !errors.Is(err, consul.ErrPermissionDenied) || !strings.Contains(err.Error(), "Config.TokenFile") || !strings.Contains(err.Error(), file) {
			t.Errorf("%v does not say that %s cannot be read", err, file)
		}
		if errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v is fs.ErrNotExist", err)
		}
		a.Inject(consulmock.Fault{Status: http.StatusForbidden})
		_, _, err = a.client.Catalog().Nodes(t.Context(), &consul.QueryOptions{Token: "its own"})
		if err == nil || strings.Contains(err.Error(), file) {
			t.Errorf("%v is about the file, but the request had a token of its own", err)
		}
	})
}

// TestTokenChangesDuringRequest has an error with the token that was sent, which is
// another one by then.
func TestTokenChangesDuringRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := write(t, "token", "s3cr3t")
		client, err := consul.NewClient(consul.Config{TokenFile: file, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			put(t, file, "another")
			time.Sleep(time.Hour)
			return nil, fmt.Errorf("cannot send %v", r.Header)
		})})
		if err != nil {
			t.Fatal(err)
		}
		err = client.Agent().Reload(t.Context())
		if err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("the error shows the token: %v", err)
		}
	})
}

// TestRelativeTokenFile changes the working directory.
func TestRelativeTokenFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := write(t, "token", "first")
		t.Chdir(filepath.Dir(file))
		a := newTokenAgent(t, consul.Config{TokenFile: "token"})
		t.Chdir(t.TempDir())
		put(t, "token", "of another folder")
		put(t, file, "second")
		time.Sleep(time.Second)
		if got := a.sends(t, a.client); got != "second" {
			t.Errorf("sent %q", got)
		}
	})
}

// write writes a file of the test's and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
