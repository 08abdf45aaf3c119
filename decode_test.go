package consul

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// checkDecode compares what this package's decoder and encoding/json make of the same bytes.
// It reports whether that was anything but errors.
func checkDecode(t *testing.T, data []byte) (valid bool) {
	t.Helper()
	before := string(data)
	for _, want := range []any{new([]*ServiceEntry), new(HealthChecks), new([]*CatalogService), new([]*Node), new([]*KVPair), new(map[string][]string)} {
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface()
		d := decoder{data: data}
		known := d.typed(got)
		bad := d.err
		err := json.Unmarshal(data, want)
		switch {
		case !known:
			t.Fatalf("%T is not known", got)
		case string(data) != before:
			t.Fatalf("%T: the data has changed", got)
		case bad == nil && err == nil:
			valid = true
			if !reflect.DeepEqual(got, want) {
				gotJSON, _ := json.Marshal(got)
				wantJSON, _ := json.Marshal(want)
				t.Fatalf("%T of %q\ngot  %s\nwant %s", got, data, gotJSON, wantJSON)
			}
		case bad == nil || err == nil:
			t.Fatalf("%T of %q: got error %v, want %v", got, data, bad, err)
		case len(data) > 0 && (bad.position < 1 || bad.position > len(data)):
			t.Fatalf("%T of %q: an error at byte %d of %d", got, data, bad.position, len(data))
		}
	}
	return valid
}

// answers returns the recorded answers in testdata.
func answers(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/answers/*.json")
	if err != nil || len(names) == 0 {
		t.Fatal("no recorded answers: ", err)
	}
	m := map[string][]byte{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		m[filepath.Base(name)] = data
	}
	return m
}

func TestDecodeRecorded(t *testing.T) {
	for name, data := range answers(t) {
		t.Run(name, func(t *testing.T) {
			if !checkDecode(t, data) {
				t.Error("nothing could decode it")
			}
			// What is cut short is an error wherever it is cut.
			for n := range min(len(data), 3000) {
				var entries []*ServiceEntry
				if err := decode(data[:n], "", &entries); err == nil {
					t.Fatalf("the first %d bytes were decoded", n)
				}
			}
		})
	}
}

// recordedBodies returns all bodies of the recordings in the conformance module,
// which is in the repository, but not in the module's download.
func recordedBodies(t testing.TB) (bodies [][]byte) {
	t.Helper()
	names, err := filepath.Glob("conformance/testdata/*/*.har")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var har struct {
			Log struct {
				Entries []struct {
					Response struct{ Content struct{ Text string } }
				}
			}
		}
		if err := json.Unmarshal(data, &har); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, e := range har.Log.Entries {
			bodies = append(bodies, []byte(e.Response.Content.Text))
		}
	}
	return bodies
}

func FuzzDecode(f *testing.F) {
	for _, data := range answers(f) {
		f.Add(data)
	}
	if flag.Lookup("test.fuzz").Value.String() != "" {
		// They are too many for an ordinary test.
		seen := map[string]bool{}
		for _, data := range recordedBodies(f) {
			if len(data) < 10_000 && !seen[string(data)] {
				seen[string(data)] = true
				f.Add(data)
			}
		}
	}
	for _, data := range oddAnswers {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkDecode(t, data) })
}

// FuzzDecodeShapes compares answers that nobody would send, but that are almost
// right.
func FuzzDecodeShapes(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		for _, v := range []any{[]*ServiceEntry{}, HealthChecks{}, []*CatalogService{}, []*KVPair{}, map[string][]string{}} {
			s := shaper{rand.New(rand.NewPCG(seed, 1))}
			var b strings.Builder
			s.write(&b, reflect.TypeOf(v), 6)
			checkDecode(t, []byte(b.String()))
		}
	})
}

// FuzzSessions decodes lists of sessions. Whatever an agent returns, its parts can be
// told apart, it is encoded as a session that is decoded as the same, and creates the
// same.
func FuzzSessions(f *testing.F) {
	for _, name := range []string{"sessions.json", "session-checks.json"} {
		f.Add(answers(f)[name])
	}
	f.Add([]byte(`[null,{},{"TTL":"0","LockDelay":-1000000000000000000,"NodeChecks":null,"Checks":["x"]}]`))
	f.Add([]byte(`[{"TTL":5,"LockDelay":"1s","ServiceChecks":[{"ID":"a","Namespace":"n"}],"LockDelay":0,"ttl":"-1h"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var list []*SessionEntry
		if decode(data, "", &list) != nil {
			return
		}
		for _, e := range list {
			if e == nil {
				continue
			}
			if e.NodeChecks == nil || e.LockDelay == 0 {
				t.Fatalf("%s has a field that means a default: %+v", data, e)
			}
			encoded, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			var again SessionEntry
			if err := json.Unmarshal(encoded, &again); err != nil {
				t.Fatalf("%s: %v", encoded, err)
			}
			if got, want := show(again)+show(again.definition()), show(e)+show(e.definition()); got != want {
				t.Fatalf("%s is decoded as\n%s\nwant\n%s", encoded, got, want)
			}
		}
	})
}

// shaper writes random JSON.
type shaper struct{ *rand.Rand }

func (s shaper) pick(of ...string) string { return of[s.IntN(len(of))] }

// write writes JSON that mostly fits a type.
func (s shaper) write(b *strings.Builder, t reflect.Type, depth int) {
	b.WriteString(s.pick("", "", "", " ", "\n\t\r "))
	switch n := s.IntN(400); {
	case n < 20:
		b.WriteString("null")
		return
	case n < 22 || t == nil:
		kinds := []any{"", 0, uint64(0), true, []string{}, map[string]string{}, Node{}, time.Second}
		t = reflect.TypeOf(kinds[s.IntN(len(kinds))])
	case n == 22:
		b.WriteString(s.pick("nul", "tru", "-", "01", "1.", "1e", ".5", "+1", "'", `"`, `"\x"`, `"\u12"`, "{", "[", "]", "[1,]", `{"a":1,}`, `{"a"}`, "{1:2}", "\x00", "\v", "1 1"))
		return
	}
	switch {
	case t == reflect.TypeFor[json.RawMessage]():
		if depth > 0 {
			s.write(b, nil, depth-1)
			return
		}
		b.WriteString("0")
	case t == reflect.TypeFor[time.Duration]() && s.IntN(2) == 0:
		b.WriteString(s.pick(`"10s"`, `""`, `"1h2m"`, `"\u0031s"`, `"x"`, `"9999999h"`))
	case t == reflect.TypeFor[[]byte]() && s.IntN(8) > 0:
		b.WriteString(s.pick(`"aGVsbG8="`, `""`, `"YQ=="`, `"YQ"`, `"\u0059Q=="`, `"Y\nQ=="`, `"!"`, `"YWI="`, "null"))
	case t.Kind() == reflect.String:
		s.writeString(b)
	case t.Kind() == reflect.Bool:
		b.WriteString(s.pick("true", "false"))
	case t.Kind() == reflect.Pointer:
		s.write(b, t.Elem(), depth)
	case t.Kind() == reflect.Slice:
		s.writeMany(b, "[", "]", func() { s.write(b, t.Elem(), depth-1) })
	case t.Kind() == reflect.Map:
		s.writeMany(b, "{", "}", func() {
			s.writeString(b)
			b.WriteString(s.pick(":", " : "))
			s.write(b, t.Elem(), depth-1)
		})
	case t.Kind() == reflect.Struct:
		s.writeMany(b, "{", "}", func() {
			f := t.Field(s.IntN(t.NumField()))
			name := s.pick(f.Name, f.Name, f.Name, strings.ToLower(f.Name), strings.ToUpper(f.Name), "x"+f.Name, f.Name+"x",
				strings.NewReplacer("k", "\u212a", "s", "\u017f").Replace(f.Name),
				strings.NewReplacer("i", "\u0131", "I", "\u0130").Replace(f.Name),
				strings.NewReplacer("e", `\u0065`).Replace(f.Name))
			b.WriteString(`"` + name + `":`)
			s.write(b, f.Type, depth-1)
		})
	default:
		b.WriteString(s.pick("0", "1", "12345", "-1", "-0", "18446744073709551615", "9223372036854775807", "999999999999999999", "1000000000000000000"))
		b.WriteString(s.pick("", "", "", "", "", "", "", "", "", "", "", "", ".0", "e1", "E+2"))
	}
}

func (s shaper) writeMany(b *strings.Builder, start, end string, one func()) {
	b.WriteString(start)
	for i, n := 0, s.IntN(7); i < n; i++ {
		if i > 0 {
			b.WriteString(",")
		}
		one()
	}
	b.WriteString(s.pick("", " ") + end)
}

func (s shaper) writeString(b *strings.Builder) {
	b.WriteString(`"`)
	for range s.IntN(4) {
		b.WriteString(s.pick("a", "web", "10.0.0.1", "consul-network-segment", "é", "\u2028", "\xff", "\xed\xa0\x80", "\xe2\x82",
			`\n`, `\/`, `\"`, `\\`, `\u0000`, `\u003c`, `\uD83D\uDE00`, `\ud83d`, `\ude00`, `\ud83d\u0041`, strings.Repeat("long ", 60)))
	}
	b.WriteString(`"`)
}

// oddAnswers try one rule of encoding/json each.
var oddAnswers = []string{
	``, ` `, `null`, ` [ ] `, `{}`, `[null]`, `[{}]`, `[[]]`, `[] []`, `[],`, `"x"`, `1`, "\ufeff[]",
	`[{"Node":null,"Service":null,"Checks":null}]`,
	`[{"Node":{"Node":"a"},"Node":{"Address":"b"}}]`,
	`[{"Node":{"Node":"a"},"Node":null,"Node":{"Address":"b"}}]`,
	`[{"Service":{"Connect":{"Native":true}},"Service":{"Connect":null},"Service":{"Connect":{}}}]`,
	`[{"Checks":[{"Name":"a"},{"Name":"b"},{"Name":"c"}],"Checks":[{"Notes":"x"}],"Checks":[{},{},{},{}]}]`,
	`[{"Checks":[{"Name":"a"}],"Checks":[],"Checks":[null]}]`,
	`[{"Checks":[{"Name":"a"}],"Checks":null,"Checks":[{"Notes":"x"}]}]`,
	`[{"Checks":null,"Checks":[{"Name":"a"},{"Name":"b"}],"Checks":null,"Checks":[null,{"Notes":"x"},{}]},{"Checks":[{}]}]`,
	`[{"Checks":[{"Definition":{"HTTP":"x"},"Definition":{"Interval":"1s"}},{"Definition":{"HTTP":""}},{"Definition":{"Header":{}}}]}]`,
	`[{"Definition":{"TTL":"x"}}]`, `[{"Definition":[]}]`, `[{"Definition":{"TTL":5},"Definition":null}]`,
	`[{"ServiceTags":["a","b","c"],"servicetags":["x"],"SERVICETAGS":["y",null,null,null]}]`,
	`[{"ServiceTags":["a"],"ServiceTags":null,"ServiceTags":[null]}]`,
	`[{"Service":{"Meta":{"a":"1"},"Meta":{"b":"2","a":null}},"Node":{"Meta":{"a":"1"},"Meta":null}}]`,
	`[{"Service":{"TaggedAddresses":{"a":{"Port":1},"a":{"Address":"x"}}}}]`,
	`[{"Service":{"Weights":{"Passing":1},"Weights":null,"Weights":{"Warning":2}}}]`,
	`[{"Service":{"Proxy":null,"Connect":{"SidecarService": { "a" : [ 1 ] } }}}]`,
	`[{"Service":{"Port":1.0}}]`, `[{"Service":{"Port":-0}}]`, `[{"Node":{"CreateIndex":-0}}]`, `[{"Node":{"CreateIndex":18446744073709551616}}]`,
	`[{"Interval":"1m","Timeout":60000000000}]`, `[{"Interval":null,"Timeout":""}]`, `[{"Interval":"5"}]`, `[{"Interval":1.5}]`, `[{"Interval":true}]`,
	`[{"\u212aind":"a","Node":"\u017f"},{"Service":{"\u212aind":"a","\u0131d":"no","\u0130D":"no","\u017focketpath":"yes"}}]`,
	`[{"N\u006fde":"escaped name"}]`, `[{"Node":"\ud83d\ude00\ud83d\udc","x":1}]`,
	`{"a":["x",null],"a":[null,null],"b":[],"c":null,"\u0061":["y"]}`,
	`[{"Unknown":{"a":[{"b":[1,-2.5e+3,"x\u00e9",true,false,null]}]}}]`,
	`[{"Unknown":` + strings.Repeat("[", 9997) + strings.Repeat("]", 9997) + `}]`,
	`[{"Unknown":` + strings.Repeat("[", 9999) + strings.Repeat("]", 9999) + `}]`,
	`[{"Unknown":` + strings.Repeat(`{"a":`, 9998) + "1" + strings.Repeat("}", 9998) + `}]`,
	`[{"Unknown":` + strings.Repeat(`{"a":`, 9999) + "1" + strings.Repeat("}", 9999) + `}]`,
}

func TestDecodeOdd(t *testing.T) {
	for _, data := range oddAnswers {
		checkDecode(t, []byte(data))
	}
}

// TestDecodeEveryField decodes values with every field set, so that a field that
// the decoder does not know is noticed.
func TestDecodeEveryField(t *testing.T) {
	for _, v := range []any{new([]*ServiceEntry), new(HealthChecks), new([]*CatalogService), new([]*Node), new([]*KVPair)} {
		fill(reflect.ValueOf(v).Elem())
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got := reflect.New(reflect.TypeOf(v).Elem()).Interface()
		if err := decode(data, "", got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, v) {
			gotJSON, _ := json.Marshal(got)
			t.Errorf("%T\ngot  %s\nwant %s", v, gotJSON, data)
		}
	}
}

func TestFieldNames(t *testing.T) {
	for folded, name := range fieldNames() {
		if strings.Map(foldLetter, string(name)) != folded || strings.ContainsFunc(folded, func(r rune) bool { return r < 'a' || r > 'z' }) {
			t.Errorf("%s is folded to %s; want letters only", name, folded)
		}
	}
	for _, want := range []string{"Service", "Proxy", "ServiceProxy", "CheckID", "Native", "Zone", "Warning"} {
		if got := usualSpelling([]byte(strings.ToUpper(want))); string(got) != want {
			t.Errorf("%s: got %q", want, got)
		}
	}
}

// TestDecodeErrors checks that errors say where they are.
func TestDecodeErrors(t *testing.T) {
	for data, want := range map[string]string{
		`{"Node":"n"}`:                                          "at byte 1 of 12: want an array, got an object",
		`[{"Node":{"Node":7}}]`:                                 "at byte 18 of 21: field Node.Node: want a string, got a number",
		`[{"Node":{"Node":"a}}]`:                                "at byte 22 of 22: field Node.Node: want a quote, got the end",
		`[{"Checks":[{},{"Status":[]}]}]`:                       "at byte 26 of 31: field Checks.Status: want a string, got an array",
		`[{"Checks":[{"Timeout":"1y"}]}]`:                       `at byte 24 of 31: field Checks.Timeout: duration "1y": want a string such as "10s"`,
		`[{"Service":{"Port":1.5}}]`:                            fmt.Sprintf("at byte 21 of 26: field Service.Port: want a whole number of %d bits, got 1.5", strconv.IntSize),
		`[{"Service":{"Meta":{"k":"\x"}}}`:                      `at byte 27 of 32: field Service.Meta.k: "\\x" in a string`,
		`[{"Node":tru}]`:                                        "at byte 10 of 14: field Node: want an object, got 't'",
		`[{"Node":{}`:                                           "at byte 11 of 11: want a comma or }, got the end",
		`[{"Unknown":{"a":[1,,2]}}]`:                            "at byte 21 of 26: field Unknown.a: want a value, got ','",
		`[{"Checks":[{"Definition":{"HTTP":"u","TTL":true}}]}]`: "field Checks.Definition: json: ",
		`[] x`: "at byte 4 of 4: want nothing more, got 'x'",
	} {
		client, _ := newTestAgent(t, Config{}, canned{body: data})
		entries, _, err := client.Health().Service(context.Background(), "web", nil)
		wantError(t, err, "consul: GET http://", "/v1/health/service/web: decoding the response at byte ", want, "; it starts with ")
		if entries != nil {
			t.Errorf("%s: got %v with an error", data, entries)
		}
	}
}

// instances returns an answer with n different instances.
func instances(t testing.TB, n int) []byte {
	t.Helper()
	var all []json.RawMessage
	if err := json.Unmarshal(answers(t)["health-service.json"], &all); err != nil {
		t.Fatal(err)
	}
	one := string(all[0])
	all = nil
	for i := range n {
		named := strings.NewReplacer("client1", fmt.Sprint("client", i), "web-1", fmt.Sprint("web-", i)).Replace(one)
		all = append(all, json.RawMessage(named))
	}
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// BenchmarkDecode compares the decoder with encoding/json.
func BenchmarkDecode(b *testing.B) {
	for _, n := range []int{1, 1000} {
		data := instances(b, n)
		for name, op := range map[string]func(){
			"here":          func() { decode(data, "", new([]*ServiceEntry)) },
			"encoding-json": func() { json.Unmarshal(data, new([]*ServiceEntry)) },
		} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(data)))
				for range b.N {
					op()
				}
			})
		}
	}
}

// TestElementsShareSlices appends to slices that several elements share, which
// leaves the others alone.
func TestElementsShareSlices(t *testing.T) {
	const one = `{"Service":{"Tags":["a"],"Proxy":{"Mode":""}}}`
	var entries []*ServiceEntry
	if err := decode([]byte("["+one+","+one+","+one+"]"), "", &entries); err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		e.Service.Tags, e.Service.Proxy = append(e.Service.Tags, "b"), append(e.Service.Proxy, ' ')
		e.Service.Tags[0] = "c" // it has a slice of its own by now
		for _, other := range entries[i+1:] {
			if tags, proxy := other.Service.Tags, other.Service.Proxy; !slices.Equal(tags, []string{"a"}) || string(proxy) != `{"Mode":""}` {
				t.Errorf("another element has %q and %s", tags, proxy)
			}
		}
	}
}

// fleet returns n instances that have what those of a fleet have: tags, metadata and
// addresses. Their tags differ if that is wanted.
func fleet(t testing.TB, n int, differ bool) []byte {
	t.Helper()
	var all []json.RawMessage
	if err := json.Unmarshal(instances(t, n), &all); err != nil {
		t.Fatal(err)
	}
	for i, one := range all {
		address, zone := fmt.Sprintf("10.0.%d.%d", i/250, i%250), 0
		if differ {
			zone = i
		}
		tags := fmt.Sprintf(`["primary","v1.2.3","zone-%d"]`, zone)
		all[i] = json.RawMessage(strings.NewReplacer(
			`127.0.0.1`, address, `"Address":"",`, fmt.Sprintf(`"Address":%q,"TaggedAddresses":{"lan_ipv4":{"Address":%[1]q,"Port":80},`+
				`"wan_ipv4":{"Address":%[1]q,"Port":80}},`, address),
			`9faaf3a05155`, fmt.Sprintf("%012d", i), `"Tags":[]`, `"Tags":`+tags, `"Meta":null`, fmt.Sprintf(`"Meta":{"zone":"zone-%d"}`, zone),
			`"ServiceName":"web","ServiceTags":[]`, `"ServiceName":"web","ServiceTags":`+tags,
			`"Output":""`, fmt.Sprintf(`"Output":"HTTP GET http://%s:8080/health: 200 OK Output: ok"`, address),
		).Replace(string(one)))
	}
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestDecodeKeepsLittle keeps one of many instances, at many places.
func TestDecodeKeepsLittle(t *testing.T) {
	const n, limit = 1000, 4 << 10
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for name, data := range map[string][]byte{
		"without tags": instances(t, n), "with the same tags": fleet(t, n, false), "with tags of their own": fleet(t, n, true),
	} {
		// keeps returns what the instance at the place keeps in memory.
		keeps := func(place int) int64 {
			before := heap()
			var entries []*ServiceEntry
			if err := decode(data, "", &entries); err != nil || len(entries) != n {
				t.Fatalf("got %d entries, %v", len(entries), err)
			}
			kept := entries[place]
			entries = nil
			after := heap()
			runtime.KeepAlive(kept)
			return after - before
		}
		var most int64
		for place := 0; place < n; place++ {
			if place >= 40 && place%97 > 1 || testing.Short() && place%97 > 0 {
				continue
			}
			part := keeps(place)
			if part > limit { // unless something else has used memory meanwhile
				part = min(part, keeps(place), keeps(place))
			}
			most = max(most, part)
			if part > limit {
				t.Errorf("%s: instance %d keeps %d bytes alive; want at most %d", name, place, part, limit)
			}
		}
		allocations := testing.AllocsPerRun(1, func() { decode(data, "", new([]*ServiceEntry)) }) / n
		t.Logf("%s: one instance of %d bytes keeps up to %d; %.2f allocations each", name, len(data)/n, most, allocations)
		if allocations > 10 {
			t.Errorf("%s: %.2f allocations an instance; want at most 10", name, allocations)
		}
		runtime.KeepAlive(data)
	}
}

// TestDecodeShort reads a single key, which takes little more memory than it has.
func TestDecodeShort(t *testing.T) {
	data := []byte(`[{"LockIndex":0,"Key":"app/limit","Flags":0,"Value":"MTAw","Session":"adf4238a-882b-9ddc-4a9d-5b6758e4159e","CreateIndex":10,"ModifyIndex":20}]`)
	const runs, limit = 100, 1 << 10
	taken := uint64(math.MaxUint64)
	for range 3 { // something else may use memory meanwhile
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			var pairs []*KVPair
			if err := decode(data, "", &pairs); err != nil || len(pairs) != 1 {
				t.Fatalf("got %v, %v", pairs, err)
			}
		}
		runtime.ReadMemStats(&after)
		taken = min(taken, (after.TotalAlloc-before.TotalAlloc)/runs)
	}
	if taken > limit {
		t.Errorf("%d bytes are allocated; want at most %d", taken, limit)
	}
}
