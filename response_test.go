package consul

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// TestBadAnswers gives each kind of answer that is not what it should be.
func TestBadAnswers(t *testing.T) {
	page := map[string]string{"Content-Type": "text/html; charset=utf-8"}
	for name, tt := range map[string]struct {
		answer canned
		words  []string
	}{
		"empty":        {canned{}, []string{"it is empty; want JSON"}},
		"a page":       {canned{body: "<html>hello", header: page}, []string{"at byte 1 of 11", "its type is text/html", `"<html>hello"`}},
		"cut short":    {canned{body: `[{"Node":"n"`}, []string{"at byte 12 of 12", "want a comma or }, got the end"}},
		"wrong type":   {canned{body: `[{"Node":"n"},{"Node":7}]`}, []string{"at byte 23 of 25", "number", "Node"}},
		"object":       {canned{body: `{"Node":"n"}`}, []string{"object"}},
		"two values":   {canned{body: `[] []`}, []string{"at byte 4 of 5"}},
		"bad duration": {canned{body: `[]`, header: map[string]string{"X-Consul-Index": "x"}}, []string{"X-Consul-Index"}},
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := newTestAgent(t, Config{}, tt.answer)
			nodes, m, err := client.Catalog().Nodes(context.Background(), nil)
			wantError(t, err, append(tt.words, "consul: GET http://", "/v1/catalog/nodes: ")...)
			if nodes != nil || m != nil {
				t.Errorf("got %v, %v with an error", nodes, m)
			}
		})
	}
	// A web server at a wrong address takes anything.
	client, _ := newTestAgent(t, Config{}, canned{body: "<html>hello", header: page})
	wantError(t, client.Agent().ServiceDeregister(context.Background(), "web"),
		"consul: PUT http://", "/v1/agent/service/deregister/web: the response is a web page")
}

// TestErrorsAreShort has what is wrong be a MiB long, in every place.
func TestErrorsAreShort(t *testing.T) {
	long := strings.Repeat("7", 1<<20)
	for name, answer := range map[string]canned{
		"no JSON":        {body: "x" + long},
		"a number":       {body: `[{"Node":{"CreateIndex":` + long + `}}]`},
		"a string":       {body: `[{"Node":"` + long + `"}]`},
		"a name":         {body: `[{"Node":{"Meta":{"` + long + `":7}}}]`},
		"a duration":     {body: `[{"Checks":[{"Timeout":"` + long + `"}]}]`},
		"a type":         {body: "x", header: map[string]string{"Content-Type": "text/x" + long}},
		"a header":       {body: "null", header: map[string]string{"X-Consul-Index": long}},
		"a status":       {code: 500, body: long},
		"a reason":       {code: 500, header: map[string]string{"X-Consul-Reason": long}},
		"another number": {body: `{"CollectionTime":` + long + `}`},
	} {
		client, ctx := newCannedClient(t, Config{}, answer), context.Background()
		_, _, byDecoder := client.Health().Service(ctx, "web", nil)
		_, byPackageJSON := client.Agent().Host(ctx)
		for _, err := range []error{byDecoder, byPackageJSON} {
			if err == nil || len(err.Error()) > 2000 {
				t.Errorf("%s: %.200v", name, err)
			}
		}
	}
}

// TestBrokenBody ends an answer before its announced length.
func TestBrokenBody(t *testing.T) {
	client := newTestServer(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, `[{"Node"`)
	})
	_, _, err := client.Catalog().Nodes(context.Background(), nil)
	wantError(t, err, "consul: GET http://", "/v1/catalog/nodes: reading the response: unexpected EOF")
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("not io.ErrUnexpectedEOF")
	}
	err = client.Agent().Reload(context.Background())
	wantError(t, err, "consul: PUT http://", "/v1/agent/reload: reading the response: unexpected EOF")
}

func TestTooLarge(t *testing.T) {
	const limit = 1000
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(bytes.Repeat([]byte(" "), 50*limit))
	z.Close()
	for name, handler := range map[string]http.HandlerFunc{
		"announced": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(limit+1))
			w.Write(bytes.Repeat([]byte(" "), limit+1))
		},
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(bytes.Repeat([]byte(" "), limit)); err != nil {
					return
				}
			}
		},
		"compressed": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(zipped.Bytes())
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{MaxResponseBytes: limit, Transport: &http.Transport{}}
			client := newTestServer(t, cfg, handler)
			var buf bytes.Buffer
			for _, out := range []any{new([]string), new([]byte), &buf} {
				_, err := client.Raw().Query(context.Background(), "/v1/x", out, nil)
				wantError(t, err, "consul: GET http://", "/v1/x: ", "response too large", "1000")
				if !errors.Is(err, ErrResponseTooLarge) {
					t.Error("not ErrResponseTooLarge")
				}
			}
		})
	}
	t.Run("just fits", func(t *testing.T) {
		client := newTestServer(t, Config{MaxResponseBytes: limit}, func(w http.ResponseWriter, r *http.Request) {
			w.Write(bytes.Repeat([]byte("x"), limit))
		})
		var got []byte
		if _, err := client.Raw().Query(context.Background(), "/v1/x", &got, nil); err != nil || len(got) != limit {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	})
	t.Run("no limit", func(t *testing.T) {
		client, _ := newTestAgent(t, Config{MaxResponseBytes: math.MaxInt64}, canned{body: `"leader"`})
		if leader, err := client.Status().Leader(context.Background()); err != nil || leader != "leader" {
			t.Errorf("got %q, %v", leader, err)
		}
	})
}

func TestEndlessError(t *testing.T) {
	client := newTestServer(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(500)
		for {
			if _, err := io.WriteString(w, strings.Repeat("no ", 1000)); err != nil {
				return
			}
		}
	})
	err := client.Agent().Reload(context.Background())
	var status *StatusError
	if !errors.As(err, &status) || len(status.Body) > 5000 || len(err.Error()) > 1000 {
		t.Errorf("got %T of %d bytes", err, len(err.Error()))
	}
}

// heldAfter returns by how much the heap has grown after f, when the garbage
// collector has run twice, as it does sooner or later.
func heldAfter(f func()) int64 {
	inUse := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := inUse()
	f()
	return inUse() - before
}

// bodies is a transport whose responses have the bodies, in the order of requests.
// Those of the same round arrive together: when all have begun to be read.
func bodies(t *testing.T, parallel int, body func() string) *Client {
	t.Helper()
	var begun sync.WaitGroup
	begun.Add(parallel)
	client, err := NewClient(Config{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		content := strings.NewReader(body())
		first := true
		read := readerFunc(func(p []byte) (int, error) {
			if first && parallel > 1 {
				begun.Done()
				begun.Wait()
			}
			first = false
			return content.Read(p)
		})
		return &http.Response{StatusCode: 200, ContentLength: -1, Body: io.NopCloser(read)}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestBuffersAreReleased receives many large bodies at the same time. What they
// were received in must not stay in memory.
func TestBuffersAreReleased(t *testing.T) {
	const parallel, size = 50, 1 << 20
	large := `[{"Unknown":"` + strings.Repeat("x", size) + `"}]`
	client := bodies(t, parallel, func() string { return large })
	held := heldAfter(func() {
		var done sync.WaitGroup
		for range parallel {
			done.Add(1)
			go func() {
				defer done.Done()
				if _, _, err := client.Health().Service(context.Background(), "web", nil); err != nil {
					t.Error(err)
				}
			}()
		}
		done.Wait()
	})
	if held > 4*size {
		t.Errorf("%d bodies of %d bytes leave %d bytes in memory", parallel, size, held)
	}
	runtime.KeepAlive(client)
}

// TestSmallBodiesDoNotKeepALargeBuffer receives a large body once, and small ones
// all the time after it.
func TestSmallBodiesDoNotKeepALargeBuffer(t *testing.T) {
	const size = 16 << 20
	next := `[{"Unknown":"` + strings.Repeat("x", size) + `"}]`
	client := bodies(t, 1, func() string { return next })
	read := func() {
		if _, _, err := client.Health().Service(context.Background(), "web", nil); err != nil {
			t.Error(err)
		}
	}
	held := heldAfter(func() {
		read()
		next = "[]"
		for range 10 {
			read()
			runtime.GC()
		}
		read()
	})
	if held > size/4 {
		t.Errorf("a body of %d bytes leaves %d bytes in memory", size, held)
	}
	runtime.KeepAlive(client)
}

// TestRawBodyHasItsOwnSize reads a small body after a large one of the same path. A
// caller may keep it for long.
func TestRawBodyHasItsOwnSize(t *testing.T) {
	next := strings.Repeat("x", 9<<20)
	client := bodies(t, 1, func() string { return next })
	for _, size := range []int{len(next), 5, 0} {
		next = next[:size]
		var raw []byte
		if _, err := client.Raw().Query(context.Background(), "/v1/kv/a?raw", &raw, nil); err != nil {
			t.Fatal(err)
		}
		if raw == nil || string(raw) != next || cap(raw) > 2*size+64 {
			t.Errorf("got %d bytes in %d; want %d", len(raw), cap(raw), size)
		}
	}
}

// allocatedBy returns how many bytes f allocates.
func allocatedBy(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// TestEqualBodyAllocatesNothingOfItsSize waits without a change while the garbage
// collector runs, as it does between changes.
func TestEqualBodyAllocatesNothingOfItsSize(t *testing.T) {
	const size = 1 << 20
	large := `[{"Unknown":"` + strings.Repeat("x", size) + `"}]`
	small := false
	client := bodies(t, 1, func() string {
		if small {
			return "[]"
		}
		return large
	})
	q := &QueryOptions{WaitIndex: 1}
	read := func(q *QueryOptions) *Result {
		_, m, err := client.Health().Service(context.Background(), "web", q)
		if err != nil {
			t.Fatal(err)
		}
		return m.Result
	}
	q.Previous = read(q)
	small = true
	other := &QueryOptions{WaitIndex: 1}
	other.Previous = read(other)
	small = false
	read(q)
	for range 3 {
		runtime.GC()
		runtime.GC()
		if n := allocatedBy(func() { read(q) }); n > size/8 {
			t.Errorf("a body of %d bytes that is equal to the one before allocates %d", size, n)
		}
		small = true
		read(other) // a small body, known to be small, leaves the buffer alone
		small = false
	}
}

// TestBufferFitsAtOnce receives a body that is as long as the one before, which says
// how large a buffer it needs.
func TestBufferFitsAtOnce(t *testing.T) {
	const size = 1 << 20
	large := `[{"Unknown":"` + strings.Repeat("x", size) + `"}]`
	q := &QueryOptions{WaitIndex: 1}
	read := func() {
		client := bodies(t, 1, func() string { return large })
		_, m, err := client.Health().Service(context.Background(), "web", q)
		if err != nil {
			t.Fatal(err)
		}
		q.Previous = m.Result
	}
	read()
	if n := allocatedBy(read); n > size*5/4 {
		t.Errorf("a body of %d bytes, as long as the one before, allocates %d", size, n)
	}
}

// A response without an ID is no success.
func TestFireWithoutID(t *testing.T) {
	for _, body := range []string{"{}", "null"} {
		client, _ := newTestAgent(t, Config{}, canned{body: body})
		_, err := client.Event().Fire(context.Background(), &UserEvent{Name: "a"}, nil)
		wantError(t, err, "/v1/event/fire/a: ", "no ID of an event")
	}
}
