package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
)

// checkNext decodes a response after an earlier one, whose result it takes and
// replaces, and compares it with what encoding/json makes of the bytes.
func checkNext[L ~[]T, T any](t *testing.T, data []byte, previous **Result) (got L) {
	t.Helper()
	var want L
	wantErr := json.Unmarshal(data, &want)
	result, err := decodeNext(data, "application/json", &call{out: &got, shared: true, previous: *previous})
	switch {
	case (err == nil) != (wantErr == nil):
		t.Fatalf("%T of %q: got error %v, want %v", got, data, err, wantErr)
	case err == nil && !reflect.DeepEqual(got, want):
		gotJSON, _ := json.Marshal(got)
		wantJSON, _ := json.Marshal(want)
		t.Fatalf("%T of %q\ngot  %s\nwant %s", got, data, gotJSON, wantJSON)
	case err == nil:
		*previous = result
	}
	return got
}

// edit changes a list of elements: it inserts, removes, replaces, or swaps.
func edit(texts []string, op, at int, element string) []string {
	n := len(texts)
	switch {
	case op == 0 || n == 0:
		return slices.Insert(texts, at%(n+1), element)
	case op == 1:
		return slices.Delete(texts, at%n, at%n+1)
	case op == 2:
		texts[at%n] = element
	default:
		other := (at / n) % n
		texts[at%n], texts[other] = texts[other], texts[at%n]
	}
	return texts
}

// FuzzResult decodes a sequence of responses, each of which is the one before with
// one change, or has more or other blanks in it. They are short and few, and of one
// type at a time, so that a second has thousands of sequences.
func FuzzResult(f *testing.F) {
	for seed := range uint64(16) {
		r := rand.New(rand.NewPCG(seed, 0))
		edits := make([]byte, maxEdits)
		for i := range edits {
			edits[i] = byte(r.Uint32())
		}
		f.Add(uint8(seed), edits, `{"Node":{"Node":"n"}}`)
	}
	f.Add(uint8(0), []byte{0, 0, 0, 0, 1, 1, 2, 0, 0}, `{"Node":1}`)
	f.Add(uint8(4), []byte{0, 0, 0, 0, 1, 4, 2, 0, 4, 3, 1, 0}, `{"Key":"k","Value":"dg==","ModifyIndex":7}`)
	f.Fuzz(func(t *testing.T, kind uint8, edits []byte, odd string) {
		check := []func(data []byte, previous **Result){
			func(data []byte, previous **Result) { checkNext[[]*ServiceEntry](t, data, previous) },
			func(data []byte, previous **Result) { checkNext[HealthChecks](t, data, previous) },
			func(data []byte, previous **Result) { checkNext[[]*CatalogService](t, data, previous) },
			func(data []byte, previous **Result) { checkNext[[]*Node](t, data, previous) },
			func(data []byte, previous **Result) { checkNext[[]*KVPair](t, data, previous) },
		}[kind%5]
		pool := append([]string{odd}, editPool()...)
		if len(edits) > maxEdits {
			edits = edits[:maxEdits]
		}
		var texts []string
		var result *Result
		for ; len(edits) >= 3; edits = edits[3:] {
			texts = edit(texts, int(edits[0])%4, int(edits[1]), pool[int(edits[2])%len(pool)])
			check([]byte("["+strings.Join(texts, ",")+strings.Repeat(" ", int(edits[0]>>7))+"]"), &result)
		}
	})
}

// maxEdits is the number of bytes that describe a sequence, three for each change.
const maxEdits = 36

// editPool returns elements that are in the sequences.
var editPool = sync.OnceValue(func() []string {
	pool := []string{`null`, `{}`, ` {"NODE" : {"node":"n"}, "checks":[] } `, `{"Node":null}`}
	for i := range 4 {
		tags := strings.Repeat(`"t",`, i)
		pool = append(pool, fmt.Sprintf(`{"Key":"k%d","Value":"%s","Session":"s%d","ModifyIndex":%d}`, i/2, []string{"", "djE=", "djI="}[i%3], i%2, i))
		pool = append(pool, fmt.Sprintf(`{"Node":{"Node":"n%d","Meta":{"k":"v"}},"ID":"i","ServiceTags":[%s"u"],"Meta":{"a":"%d"},`+
			`"Service":{"ID":"s%d","Tags":[%s"u"],"Proxy":{"Mode":""}},"Checks":[{"Status":"passing"}]}`, i/2, tags, i, i, tags))
	}
	return pool
})

// TestResultSharesElements follows a list in which one thing changes at a time, and
// counts the elements that are not those from before.
func TestResultSharesElements(t *testing.T) {
	const n = 50
	var texts []string
	if err := json.Unmarshal(instances(t, n), (*rawTexts)(&texts)); err != nil {
		t.Fatal(err)
	}
	var all []json.RawMessage
	if err := json.Unmarshal(instances(t, n+2), &all); err != nil {
		t.Fatal(err)
	}
	first, second := string(all[n]), string(all[n+1])

	var result *Result
	var before []*ServiceEntry
	for _, step := range []struct {
		name   string
		change func()
		fresh  int
	}{
		{"the first response", func() {}, n},
		{"the same", func() {}, 0},
		{"one replaced", func() { texts[7] = first }, 1},
		{"blanks around two", func() { texts[20], texts[21] = texts[20]+" ", " "+texts[21] }, 0},
		{"one inserted at the start", func() { texts = slices.Insert(texts, 0, second) }, 1},
		{"one removed in the middle", func() { texts = slices.Delete(texts, 30, 31) }, 0},
		{"reversed", func() { slices.Reverse(texts) }, 0},
		{"two swapped", func() { texts[3], texts[40] = texts[40], texts[3] }, 0},
		{"one twice", func() { texts = append(texts, texts[5]) }, 0},
		{"another spelling", func() { texts[9] = strings.Replace(texts[9], ",", ", ", 1) }, 1},
		{"half of it gone", func() { texts = texts[:n/2] }, 0},
		{"empty", func() { texts = nil }, 0},
		{"all back", func() { texts = []string{first, second} }, 2},
	} {
		step.change()
		was := result
		got := checkNext[[]*ServiceEntry](t, []byte("["+strings.Join(texts, ",")+"]"), &result)
		fresh := 0
		for _, e := range got {
			if !slices.Contains(before, e) {
				fresh++
			}
		}
		if fresh != step.fresh {
			t.Errorf("%s: %d elements are new, want %d", step.name, fresh, step.fresh)
		}
		if same := step.name == "the same" || step.name == "blanks around two"; (result == was) != same {
			t.Errorf("%s: the same result: %v", step.name, !same)
		}
		before = slices.Clone(got)
		slices.SortFunc(got, func(a, b *ServiceEntry) int { return -1 }) // the slice is the caller's
	}
}

// rawTexts is a list of JSON texts.
type rawTexts []string

func (r *rawTexts) UnmarshalJSON(data []byte) error {
	var all []json.RawMessage
	err := json.Unmarshal(data, &all)
	for _, text := range all {
		*r = append(*r, string(text))
	}
	return err
}

// TestResult passes the results of one agent's responses to its next queries.
func TestResult(t *testing.T) {
	body := string(answers(t)["health-service.json"])
	client := newTestServer(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Consul-Index", r.URL.Query().Get("index"))
		io.WriteString(w, body)
	})
	ctx := context.Background()
	get := func(service string, q *QueryOptions) ([]*ServiceEntry, *QueryMeta) {
		t.Helper()
		entries, m, err := client.Health().Service(ctx, service, q)
		if err != nil || len(entries) != 1 {
			t.Fatalf("got %v, %v", entries, err)
		}
		return entries, m
	}
	if _, m := get("web", nil); m.Result != nil {
		t.Error("a result without need")
	}
	if _, m := get("web", &QueryOptions{Previous: new(Result)}); m.Result == nil {
		t.Error("no result though one was wanted")
	}
	entries, first := get("web", &QueryOptions{WaitIndex: 6})
	q := &QueryOptions{Previous: first.Result, WaitIndex: 7}
	again, m := get("web", q)
	if m.Result != first.Result || again[0] != entries[0] || m.LastIndex != 7 {
		t.Errorf("the same response: got %v, %+v", again, m)
	}
	if other, m := get("api", q); m.Result != first.Result || other[0] != entries[0] {
		t.Errorf("the same bytes for another service: got %v, %+v", other, m)
	}
	var raw []byte
	m, err := client.Raw().Query(ctx, "/v1/health/service/web", &raw, q)
	if err != nil || string(raw) != body || m.Result != nil {
		t.Errorf("the bytes as they are: got %v, %v, %q", m, err, raw)
	}
	var decoded []map[string]any
	for range 2 {
		decoded = nil
		m, err = client.Raw().Query(ctx, "/v1/health/service/web", &decoded, q)
		if err != nil || len(decoded) != 1 || m.Result == nil || m.Result == first.Result {
			t.Errorf("Raw.Query: got %v, %v, %v", decoded, m, err)
		}
	}
	body = strings.Replace(body, "passing", "warning", 1)
	if changed, m := get("web", q); m.Result == first.Result || changed[0] == entries[0] {
		t.Errorf("another response: got %v, %+v", changed, m)
	}
}

// TestResultOfOtherTypes covers responses that are not lists: they are decoded as a
// whole, or not at all.
func TestResultOfOtherTypes(t *testing.T) {
	data := []byte(`{"web":["a"]}`)
	next := func(out any, previous *Result, shared bool) *Result {
		t.Helper()
		result, err := decodeNext(data, "", &call{out: out, shared: shared, previous: previous})
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	var first, second map[string][]string
	result := next(&first, nil, true)
	if next(&second, result, true) != result || reflect.ValueOf(first).Pointer() != reflect.ValueOf(second).Pointer() {
		t.Error("the same response was decoded again")
	}
	var other map[string]any
	if next(&other, result, true) == result || len(other) != 1 {
		t.Errorf("decoded into another type: got %v", other)
	}
	var callers, again map[string][]string
	result = next(&callers, new(Result), false)
	if next(&again, result, false) != result || len(again) != 1 || reflect.ValueOf(callers).Pointer() == reflect.ValueOf(again).Pointer() {
		t.Errorf("what belongs to the caller is shared: got %v", again)
	}
	for _, bad := range []string{"", "{", `{"web":1}`} {
		data = []byte(bad)
		var m map[string][]string
		if result, err := decodeNext(data, "", &call{out: &m, shared: true}); err == nil || result != nil {
			t.Errorf("%q: got %v, %v", bad, result, err)
		}
		var l []*Node
		if result, err := decodeNext(data, "", &call{out: &l, shared: true}); err == nil || result != nil || l != nil {
			t.Errorf("%q: got %v, %v, %v", bad, result, l, err)
		}
	}
	data = []byte("null")
	var none []*Node
	if next(&none, nil, true) != nil || none != nil {
		t.Errorf("null: got %v", none)
	}
}

// TestResultKeepsItsSlice changes the slices that come back, which are the caller's
// also where their elements are not compared one by one.
func TestResultKeepsItsSlice(t *testing.T) {
	client := newTestServer(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		body := `[{"Port":1},{"Port":2}]`
		if strings.HasSuffix(r.URL.Path, "datacenters") {
			body = `["near","far"]`
		}
		io.WriteString(w, body)
	})
	ctx := context.Background()
	q := &QueryOptions{Previous: new(Result)}
	for range 3 {
		datacenters, m, err := client.Catalog().Datacenters(ctx, q)
		if err != nil || !slices.Equal(datacenters, []string{"near", "far"}) {
			t.Fatalf("got %v, %v", datacenters, err)
		}
		slices.Sort(datacenters)
		q.Previous = m.Result
	}
	for range 3 {
		services, m, err := client.Catalog().GatewayServices(ctx, "gateway", q)
		if err != nil || len(services) != 2 || services[0].Port != 1 {
			t.Fatalf("got %v, %v", services, err)
		}
		slices.Reverse(services)
		q.Previous = m.Result
	}
}

// TestResultOfRaw reads into a caller's list, all of which is decoded each time.
func TestResultOfRaw(t *testing.T) {
	body := string(answers(t)["health-service.json"])
	client := newTestServer(t, Config{}, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) })
	q := &QueryOptions{Previous: new(Result)}
	var before *ServiceEntry
	for i := range 3 {
		var entries []*ServiceEntry
		m, err := client.Raw().Query(context.Background(), "/v1/health/service/web", &entries, q)
		if err != nil || len(entries) != 1 || entries[0] == before {
			t.Fatalf("got %v, %v; before it was %p", entries, err, before)
		}
		if same := m.Result == q.Previous; same != (i > 0) {
			t.Errorf("the same result: %t", same)
		}
		before, q.Previous = entries[0], m.Result
	}
}

// TestLargeElementIsNotReadForEachOther has a large element that never comes again
// after a small one that comes again and again.
func TestLargeElementIsNotReadForEachOther(t *testing.T) {
	small, large := []byte(`{}`), []byte(`{"Meta":{"k":"`+strings.Repeat("v", 10_000)+`"}}`)
	const n = 10_000
	d := decoder{data: []byte("[{}" + strings.Repeat(",{}", n-1) + "]")}
	index := elementIndex{bytes: []elementBytes{bytesOf(small), bytesOf(large)}}
	expected, found := 0, 0
	for more := d.array(); more; more = d.nextElement() {
		i := index.find(&d, expected)
		if i == 0 {
			found++
		}
		expected = i + 1
		d.skip()
	}
	if most := len(d.data) + len(large); found != n || index.missed > most {
		t.Errorf("found %d elements of %d; %d bytes were read in vain, want at most %d", found, n, index.missed, most)
	}
}

// BenchmarkResult decodes a list in which nothing, one element, or everything has
// changed since the response before.
func BenchmarkResult(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		data := instances(b, n)
		for name, changed := range map[string][]byte{
			"none": data,
			"one":  bytes.Replace(data, []byte(`client500"`), []byte(`client5oo"`), 1),
			"all":  bytes.ReplaceAll(data, []byte(`passing`), []byte(`warning`)),
		} {
			bodies := [2][]byte{data, changed}
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				var out []*ServiceEntry
				result, err := decodeNext(data, "", &call{out: &out, shared: true})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.SetBytes(int64(len(data)))
				for i := range b.N {
					out = nil
					if result, err = decodeNext(bodies[(i+1)%2], "", &call{out: &out, shared: true, previous: result}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestResultSortedList sorts a list, which is the caller's own, of which the
// elements are not shared one by one.
func TestResultSortedList(t *testing.T) {
	client := newTestServer(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `["near", "far"]`)
	})
	q := &QueryOptions{Previous: new(Result)}
	for n := range 3 {
		list, m, err := client.Catalog().Datacenters(context.Background(), q)
		if err != nil || !slices.Equal(list, []string{"near", "far"}) {
			t.Errorf("response %d: got %q, %v", n, list, err)
		}
		if n > 0 && m.Result != q.Previous {
			t.Errorf("response %d: another result", n)
		}
		slices.Sort(list)
		q.Previous = m.Result
	}
}
