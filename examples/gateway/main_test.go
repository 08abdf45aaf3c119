package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// TestDemonstration runs the gateway on the embedded fake, and checks the order of its
// timeline.
func TestDemonstration(t *testing.T) {
	var out strings.Builder
	if err := demonstrate(context.Background(), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	const request = `s  request   `
	steps := []string{
		`register  shop-1`, `register  billing-1`, `gateway   listens`,
		request + `/shop/cart: 200 shop-[12] has served /cart`, `fail      shop-1`,
		request + `/shop/cart: 200 shop-2`, request + `/shop/cart: 200 shop-2`, request + `/shop/cart: 200 shop-2`,
		request + `/billing/: 200 billing-1 has served /\n`, `fail      billing-1`,
		request + `/billing/: 503 no healthy instance of billing`, `recover   billing-1`,
		request + `/billing/: 200`, request + `/unknown/: 404 no such service`,
	}
	rest := out.String()
	for _, step := range steps {
		at := regexp.MustCompile(step).FindStringIndex(rest)
		if at == nil {
			t.Fatalf("no %q in order in\n%s", step, &out)
		}
		rest = rest[at[1]:]
	}
}

// TestRun serves the services of an agent that the environment names: those with the tag,
// or those that are named.
func TestRun(t *testing.T) {
	agent := consulmock.New(t)
	t.Setenv("CONSUL_HTTP_ADDR", agent.URL())
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s for %s", r.Method, r.URL.RequestURI(), body, r.Header.Get("X-Forwarded-For"))
	}))
	defer echo.Close()
	u, err := url.Parse(echo.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	for id, tags := range map[string][]string{"shop": {"public"}, "internal": nil} {
		agent.AddService(&consul.AgentServiceRegistration{Name: id, Address: u.Hostname(), Port: port, Tags: tags})
	}
	for _, test := range []struct {
		names   []string
		service string
		other   string
	}{
		{nil, "shop", "internal"},
		{[]string{"internal"}, "internal", "shop"},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		log, write := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			ended <- run(ctx, "127.0.0.1:0", "public", test.names, write)
			write.Close()
		}()
		var address string
		if _, err := fmt.Fscanf(log, "time=%s level=INFO msg=listening address=%s\n", new(string), &address); err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, log)
		gateway := "http://" + address
		for status := 0; status != http.StatusOK; { // until the routes are known
			if status, _, err = get(ctx, gateway+"/"+test.service); err != nil {
				t.Fatal(err)
			}
		}
		if status, text, err := get(ctx, gateway+"/"+test.other+"/"); err != nil || status != http.StatusNotFound {
			t.Errorf("%s: %d %s, %v; want 404", test.other, status, text, err)
		}
		resp, err := http.Post(gateway+"/"+test.service+"/a%2Fb?c=d", "text/plain", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if want := "POST /a%2Fb?c=d body for 127.0.0.1"; err != nil || string(text) != want {
			t.Errorf("%s, %v; want %s", text, err, want)
		}
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
