package consul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestSpelling holds what is sent for the options against what the official client
// sends, since stubs and recordings that were made for that one compare it.
func TestSpelling(t *testing.T) {
	for want, q := range map[string]QueryOptions{
		"":                                     {},
		"stale=":                               {AllowStale: true},
		"consistent=":                          {RequireConsistent: true},
		"cached=":                              {UseCache: true},
		"merge-central-config=":                {MergeCentralConfig: true},
		"passing=1":                            {PassingOnly: true},
		"sameness-group=g":                     {SamenessGroup: "g"},
		"node-meta=rack%3Ar1":                  {NodeMeta: map[string]string{"rack": "r1"}},
		"index=7&wait=120000ms":                {WaitIndex: 7, WaitTime: 2 * time.Minute},
		"wait=1500ms":                          {WaitTime: 1500 * time.Millisecond},
		"wait=1ms":                             {WaitTime: time.Nanosecond},
		"hash=h":                               {WaitHash: "h"},
		"consistent=&index=1":                  {RequireConsistent: true, UseCache: true, MaxAge: time.Minute, WaitIndex: 1}, // agents refuse cached with it
		"tag=a&tag=b":                          {Tags: []string{"", "a", "", "b"}},                                           // "tag=" would find nothing
		"dc=d&ns=n&partition=p":                {Datacenter: "d", Namespace: "n", Partition: "p"},
		"filter=a+%3D%3D+b&near=_agent&peer=p": {Filter: "a == b", Near: "_agent", Peer: "p"},
	} {
		client, asked := newTestAgent(t, Config{}, canned{body: "[]"})
		if _, _, err := client.Health().Service(context.Background(), "web", &q); err != nil {
			t.Fatal(err)
		}
		if got := asked.Query.Encode(); got != want {
			t.Errorf("%v: sent %q, want %q", q, got, want)
		}
	}
}

// TestEnormousWait blocks for as long as a duration can be: that is a blocking
// query as others are.
func TestEnormousWait(t *testing.T) {
	client, asked := newTestAgent(t, Config{}, canned{body: "[]"})
	q := &QueryOptions{WaitIndex: 1, WaitTime: math.MaxInt64}
	_, meta, err := client.Health().Service(context.Background(), "web", q)
	if err != nil || meta.Result == nil || asked.Query.Get("wait") != "9223372036854ms" {
		t.Errorf("waited for %s, got %+v, %v", asked.Query.Get("wait"), meta, err)
	}
}

func TestCacheControl(t *testing.T) {
	for _, tt := range []struct {
		q    QueryOptions
		want string
	}{
		{QueryOptions{}, ""},
		{QueryOptions{MaxAge: time.Minute}, ""},
		{QueryOptions{UseCache: true}, ""},
		{QueryOptions{UseCache: true, RequireConsistent: true, MaxAge: time.Minute}, ""},
		{QueryOptions{UseCache: true, MaxAge: time.Minute}, "max-age=60"},
		{QueryOptions{UseCache: true, MaxAge: time.Minute, StaleIfError: 1700 * time.Millisecond}, "max-age=60, stale-if-error=2"},
	} {
		client, asked := newTestAgent(t, Config{}, canned{body: "[]"})
		if _, _, err := client.Catalog().Nodes(context.Background(), &tt.q); err != nil {
			t.Fatal(err)
		}
		if got := asked.Header.Get("Cache-Control"); got != tt.want {
			t.Errorf("%v: Cache-Control %q, want %q", tt.q, got, tt.want)
		}
	}
}

// TestOptionsPrint prints what is set, without the token.
func TestOptionsPrint(t *testing.T) {
	for want, v := range map[string]any{
		"consul.QueryOptions{}": QueryOptions{},
		"consul.QueryOptions{dc=d&index=7&tag=a&tag=b Token:[redacted]}":                 QueryOptions{Datacenter: "d", WaitIndex: 7, Tags: []string{"a", "b"}, Token: "t"},
		"consul.QueryOptions{cached= max-age=3, stale-if-error=60}":                      QueryOptions{UseCache: true, MaxAge: 3 * time.Second, StaleIfError: time.Minute, Previous: new(Result)},
		"consul.QueryOptions{ (consul: QueryOptions.MaxAge is -1s; want 0 or more)}":     &QueryOptions{MaxAge: -time.Second},
		`consul.WriteOptions{Datacenter:"d" Namespace:"" Partition:"" Token:[redacted]}`: &WriteOptions{Datacenter: "d", Token: "t"},
	} {
		if got := fmt.Sprintf("%+v", v); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestOptionsAreNotChanged passes options whose every field is set through every
// kind of request, from many goroutines at once.
func TestOptionsAreNotChanged(t *testing.T) {
	client, err := NewClient(Config{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("null"))}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	q, want := *allOptions, *allOptions
	q.NodeMeta, q.Tags = maps.Clone(q.NodeMeta), append([]string{""}, q.Tags...)
	want.Tags = slices.Clone(q.Tags)
	var group sync.WaitGroup
	for range 4 {
		group.Add(1)
		go func() {
			defer group.Done()
			if _, _, err := client.Health().Service(context.Background(), "web", &q); err != nil {
				t.Error(err)
			}
			if _, err := client.Raw().Query(context.Background(), "/v1/kv/a?tag=x&dc=y", new(any), &q); err != nil {
				t.Error(err)
			}
		}()
	}
	group.Wait()
	if !reflect.DeepEqual(q, want) {
		t.Errorf("got %+v, want %+v", q, want)
	}
}

func TestNegativeOptions(t *testing.T) {
	client, asked := newTestAgent(t, Config{}, canned{body: "[]"})
	for name, q := range map[string]QueryOptions{
		"WaitTime": {WaitTime: -time.Second}, "MaxAge": {MaxAge: -time.Second}, "StaleIfError": {StaleIfError: -time.Second},
	} {
		_, _, err := client.Catalog().Nodes(context.Background(), &q)
		wantError(t, err, "QueryOptions."+name, "-1s")
	}
	if asked.Method != "" {
		t.Error("a request was sent")
	}
}

func TestQueryMeta(t *testing.T) {
	client, _ := newTestAgent(t, Config{}, canned{body: "[]", header: map[string]string{
		"X-Consul-Index": "18446744073709551615", "X-Consul-ContentHash": "h", "X-Consul-LastContact": "1500",
		"X-Consul-KnownLeader": "true", "X-Cache": "HIT", "Age": "90", "X-Consul-Translate-Addresses": "true",
		"X-Consul-Results-Filtered-By-ACLs": "true", "X-Consul-Query-Backend": "streaming",
		"X-Consul-Default-ACL-Policy": "deny", "X-Consul-Effective-Consistency": "stale",
	}})
	_, m, err := client.Catalog().Nodes(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.RequestTime <= 0 {
		t.Errorf("RequestTime %v", m.RequestTime)
	}
	m.RequestTime = 0
	want := QueryMeta{LastIndex: 1<<64 - 1, LastContentHash: "h", LastContact: 1500 * time.Millisecond, KnownLeader: true,
		CacheHit: true, CacheAge: 90 * time.Second, AddressTranslationEnabled: true, ResultsFilteredByACLs: true,
		QueryBackend: "streaming", DefaultACLPolicy: "deny", EffectiveConsistency: "stale"}
	if *m != want {
		t.Errorf("got  %+v\nwant %+v", *m, want)
	}
}

func TestMalformedHeaders(t *testing.T) {
	for name, value := range map[string]string{
		"X-Consul-Index": "-1", "X-Consul-Lastcontact": "1.5", "X-Consul-Knownleader": "yes", "Age": "99999999999999999999",
		"X-Consul-Translate-Addresses": "1", "X-Consul-Results-Filtered-By-Acls": "TRUE",
	} {
		client, _ := newTestAgent(t, Config{}, canned{body: "[]", header: map[string]string{name: value}})
		_, m, err := client.Catalog().Nodes(context.Background(), nil)
		wantError(t, err, "consul: GET http://", "/v1/catalog/nodes: header "+name, `"`+value+`"`)
		if m != nil {
			t.Errorf("%s: metadata with an error", name)
		}
	}
}

// TestMissing waits for something that does not exist yet. Agents give the index to
// wait on with the 404, and nothing else tells that it is about a key.
func TestMissing(t *testing.T) {
	const path = "/v1/kv/none"
	for name, tt := range map[string]struct {
		answer canned
		want   *QueryMeta
	}{
		"a key":            {canned{code: 404, header: map[string]string{"X-Consul-Index": "12", "X-Consul-Knownleader": "true"}}, &QueryMeta{LastIndex: 12, KnownLeader: true}},
		"an endpoint":      {canned{code: 404, body: "Invalid URL path"}, nil},
		"a malformed 404":  {canned{code: 404, header: map[string]string{"X-Consul-Index": "x"}}, nil},
		"another error":    {canned{code: 500, header: map[string]string{"X-Consul-Index": "1"}}, nil},
		"refused by a 403": {canned{code: 403, header: map[string]string{"X-Consul-Index": "1"}}, nil},
	} {
		client, _ := newTestAgent(t, Config{}, tt.answer)
		var value []byte
		meta, err := client.Raw().Query(context.Background(), path, &value, nil)
		var status *StatusError
		if !errors.As(err, &status) || status.Code != tt.answer.code || value != nil {
			t.Errorf("%s: got %q, %v", name, value, err)
		}
		if meta != nil {
			if meta.RequestTime <= 0 {
				t.Errorf("%s: RequestTime %s", name, meta.RequestTime)
			}
			meta.RequestTime = 0
		}
		if !reflect.DeepEqual(meta, tt.want) {
			t.Errorf("%s: got %+v, want %+v", name, meta, tt.want)
		}
		// Typed methods do the same.
		entries, meta, err := client.Health().Service(context.Background(), "web", nil)
		if entries != nil || (meta == nil) != (tt.want == nil) || !errors.As(err, &status) {
			t.Errorf("%s: got %v, %v, %v", name, entries, meta, err)
		}
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add("1", "0", "true", "HIT", "0")
	f.Add("-1", "x", "", "\x00", "18446744073709551616")
	f.Fuzz(func(t *testing.T, index, contact, leader, cache, age string) {
		h := http.Header{"X-Consul-Index": {index}, "X-Consul-Lastcontact": {contact}, "X-Consul-Knownleader": {leader}, "X-Cache": {cache}, "Age": {age}}
		m, err := parseMeta(h)
		if (m == nil) == (err == nil) {
			t.Fatalf("%q: got %v, %v", h, m, err)
		}
		if m != nil && (m.LastContact < 0 || m.CacheAge < 0) {
			t.Fatalf("%q: a duration overflowed: %+v", h, m)
		}
		if err == nil && index != "" && fmt.Sprint(m.LastIndex) != strings.TrimLeft(index, "0") && m.LastIndex != 0 {
			t.Fatalf("index %q became %d", index, m.LastIndex)
		}
		if d := parseRetryAfter(age, time.Now()); d < 0 {
			t.Fatalf("Retry-After %q became %s", age, d)
		}
	})
}

// Only the options that count are sent.
func TestTxnOptions(t *testing.T) {
	client, asked := newTestAgent(t, Config{WaitTime: time.Minute}, canned{body: `{}`})
	_, err := client.Txn().Apply(context.Background(), nil, &QueryOptions{
		Datacenter: "dc2", Namespace: "team", Partition: "east", Token: "t", AllowStale: true, WaitIndex: 5, WaitHash: "h", WaitTime: time.Hour,
		Filter: "x", Near: "x", Peer: "x", SamenessGroup: "x", Tags: []string{"x"}, NodeMeta: map[string]string{"a": "b"}, UseCache: true, MaxAge: time.Hour,
		PassingOnly: true, MergeCentralConfig: true,
	})
	if err != nil || asked.Query.Encode() != "dc=dc2&ns=team&partition=east&stale=" || asked.Header.Get("Cache-Control") != "" || asked.Header.Get("X-Consul-Token") != "t" {
		t.Errorf("sent %v %v, %v", asked.Query, asked.Header, err)
	}
}
