package scenario

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul/conformance/recording"
)

// recordedAnswers are the answers of a recording, as a target gives them that
// behaves in exactly the same way.
func recordedAnswers(rec *recording.Recording) map[string]*answer {
	answers := map[string]*answer{}
	c := &comparison{rec: rec}
	for _, e := range rec.Entries {
		answers[e.ID] = &answer{
			status:  e.Response.Status,
			header:  e.Response.Header(),
			body:    e.Response.Body(),
			err:     recordedError(e.Error),
			took:    time.Duration(e.Ms * float64(time.Millisecond)),
			started: c.startsUntil(e.Seq.End),
		}
	}
	return answers
}

// TestEqual compares every recording with itself.
func TestEqual(t *testing.T) {
	versions, err := recording.Versions()
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range versions {
		recordings, err := recording.Load(version)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range recordings {
			for _, d := range compare(rec, recordedAnswers(rec), tolerance{}) {
				t.Errorf("%s/%s: %s", version, rec.Scenario, d)
			}
		}
	}
}

// change is something to change in an answer, and the field in which that is to
// be noticed.
type change struct {
	name, scenario, entry string
	change                func(a *answer)
	field                 string // empty if it does not matter
}

func replaced(old, new string) func(a *answer) {
	return func(a *answer) {
		if !bytes.Contains(a.body, []byte(old)) {
			panic("nothing to replace in " + string(a.body))
		}
		a.body = bytes.Replace(a.body, []byte(old), []byte(new), 1)
	}
}

func header(name, value string) func(a *answer) {
	return func(a *answer) {
		a.header.Del(name)
		if value != "" {
			a.header.Set(name, value)
		}
	}
}

// TestUnequal changes one answer after the other in a way that must be noticed.
func TestUnequal(t *testing.T) {
	recordings, err := recording.Load("1.21.4")
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*recording.Recording{}
	for _, rec := range recordings {
		byName[rec.Scenario] = rec
	}
	read := entryOf(t, byName["blocking-basic"], "/v1/health/service/web", func(e *recording.Entry) bool { return len(e.Refs) == 0 && len(e.Response.Body()) > 100 })
	woken := entryOf(t, byName["blocking-basic"], "/v1/health/service/web", func(e *recording.Entry) bool {
		return e.Seq.End > e.Seq.Start+1 && e.Ms < 5000
	})
	timedOut := entryOf(t, byName["blocking-basic"], "/v1/health/service/web", func(e *recording.Entry) bool {
		return len(e.Refs) > 0 && e.Seq.End == e.Seq.Start+1 && e.Ms > 900
	})
	services := entryOf(t, byName["catalog-reads"], "/v1/catalog/services", func(e *recording.Entry) bool { return bytes.Contains(e.Response.Body(), []byte("[\n")) })
	for _, c := range []change{
		{"status", "blocking-basic", read.ID, func(a *answer) { a.status = http.StatusNotFound }, "status"},
		{"error", "blocking-basic", read.ID, func(a *answer) { a.err = "closed" }, "error"},
		{"value of a header", "blocking-basic", read.ID, header("Content-Type", "text/html"), "header Content-Type"},
		{"missing header", "blocking-basic", read.ID, header("X-Consul-Effective-Consistency", ""), "header X-Consul-Effective-Consistency"},
		{"additional header", "blocking-basic", read.ID, header("X-New", "1"), "header X-New"},
		{"date", "blocking-basic", read.ID, header("Date", "x"), ""},
		{"missing index", "blocking-basic", read.ID, header("X-Consul-Index", ""), "header X-Consul-Index"},
		{"index of 0", "blocking-basic", read.ID, header("X-Consul-Index", "0"), "X-Consul-Index"},
		{"value", "blocking-basic", read.ID, replaced(`"Service": "web"`, `"Service": "bew"`), "body [].Service.Service"},
		{"kind of a value", "blocking-basic", read.ID, replaced(`"Port": 80`, `"Port": "80"`), "body [].Service.Port"},
		{"missing field", "blocking-basic", read.ID, replaced(`"Service": "web",`, ``), "body [].Service.Service"},
		{"additional field", "blocking-basic", read.ID, replaced(`"Service": "web",`, `"Service": "web", "New": 1,`), "body [].Service.New"},
		{"null for empty", "blocking-basic", read.ID, replaced(`"Tags": []`, `"Tags": null`), "body [].Service.Tags"},
		{"layout", "blocking-basic", read.ID, func(a *answer) { a.body = []byte(encode(parse(a.body))) }, "format"},
		{"newline", "blocking-basic", read.ID, func(a *answer) { a.body = append(a.body, '\n') }, "format"},
		{"not JSON", "blocking-basic", read.ID, func(a *answer) { a.body = []byte("oops") }, "body"},
		{"waits where there was no wait", "blocking-basic", woken.ID, func(a *answer) { a.started++ }, "timing"},
		{"is woken too early", "blocking-basic", woken.ID, func(a *answer) { a.started-- }, "timing"},
		{"times out too early", "blocking-basic", timedOut.ID, func(a *answer) { a.took = a.took * 9 / 10 }, "timing"},
		{"times out too late", "blocking-basic", timedOut.ID, func(a *answer) { a.took = a.took * 11 / 10 }, "timing"},
		{"order that is a matter of chance", "catalog-reads", services.ID, reverseLists, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := byName[c.scenario]
			answers := recordedAnswers(rec)
			c.change(answers[c.entry])
			var fields []string
			for _, d := range compare(rec, answers, tolerance{}) {
				if d.entry.ID == c.entry {
					fields = append(fields, d.field)
				}
			}
			if got := strings.Join(fields, " and "); got != c.field {
				t.Errorf("found %q; want %q", got, c.field)
			}
		})
	}
}

func entryOf(t *testing.T, rec *recording.Recording, path string, ok func(*recording.Entry) bool) *recording.Entry {
	t.Helper()
	for _, e := range rec.Entries {
		if e.Request.Path() == path && ok(e) {
			return e
		}
	}
	t.Fatalf("no such entry in %s", rec.Scenario)
	return nil
}

// TestSessionLists compares lists of sessions as sets, in which each session is
// known by when it was created.
func TestSessionLists(t *testing.T) {
	const one, two = "11111111-0000-0000-0000-000000000001", "22222222-0000-0000-0000-000000000002"
	list := func(sessions ...[2]string) any {
		text := []string{}
		for _, s := range sessions {
			text = append(text, fmt.Sprintf(`{"ID":%q,"Name":"","CreateIndex":%s}`, s[0], s[1]))
		}
		return normal("/v1/session/list", "", parse([]byte("["+strings.Join(text, ",")+"]")))
	}
	recorded := list([2]string{one, "9"}, [2]string{two, "10"})
	for _, c := range []struct {
		name  string
		got   any
		equal bool
	}{
		{"other IDs", list([2]string{two, "99"}, [2]string{one, "100"}), true},
		{"other order", list([2]string{one, "100"}, [2]string{two, "99"}), true},
		{"one of them", list([2]string{one, "99"}), false},
		{"the same twice", list([2]string{one, "99"}, [2]string{one, "100"}), false},
	} {
		cmp := &comparison{entry: &recording.Entry{}, ranks: &ranks{}, names: newNames()}
		cmp.value("/v1/session/list", "", recorded, c.got)
		if (len(cmp.found) == 0) != c.equal {
			t.Errorf("%s: found %v", c.name, cmp.found)
		}
	}
}

// TestIndexesInText compares the indexes in the reasons of a refused transaction
// by their order.
func TestIndexesInText(t *testing.T) {
	const text = `failed index check for key "k", current modify index %d != %d`
	for _, c := range []struct {
		current, given int
		equal          bool
	}{
		{20, 10, true},
		{20, 20, false},
		{10, 20, false},
	} {
		cmp := &comparison{entry: &recording.Entry{}, ranks: &ranks{}, names: newNames()}
		same := cmp.text("Errors[].What", fmt.Sprintf(text, 9, 7), fmt.Sprintf(text, c.current, c.given))
		if equal := same && len(cmp.found) == 0; equal != c.equal {
			t.Errorf("%d and %d: %t, %v", c.current, c.given, equal, cmp.found)
		}
	}
}

// reverseLists turns the lists of an object around.
func reverseLists(a *answer) {
	object := parse(a.body).(map[string]any)
	for _, v := range object {
		list := v.([]any)
		for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
			list[i], list[j] = list[j], list[i]
		}
	}
	var out bytes.Buffer
	out.WriteString(strings.ReplaceAll(encode(object), "{", "{\n    "))
	a.body = out.Bytes()
}

// TestRanks relates indexes by their order.
func TestRanks(t *testing.T) {
	for _, c := range []struct {
		name  string
		pairs [][2]uint64 // recorded and got; the last one may contradict
		ok    bool
	}{
		{"same order", [][2]uint64{{10, 5}, {20, 6}, {15, 6}}, false},
		{"between", [][2]uint64{{10, 5}, {20, 9}, {15, 6}}, true},
		{"equal", [][2]uint64{{10, 5}, {20, 9}, {10, 5}}, true},
		{"equal is higher", [][2]uint64{{10, 5}, {20, 9}, {10, 6}}, false},
		{"equal is lower", [][2]uint64{{10, 5}, {20, 9}, {10, 4}}, false},
		{"lower is equal", [][2]uint64{{10, 5}, {9, 5}}, false},
		{"higher is lower", [][2]uint64{{10, 5}, {11, 4}}, false},
		{"zeros", [][2]uint64{{0, 0}}, true},
		{"zero", [][2]uint64{{3, 0}}, false},
	} {
		r := &ranks{}
		for i, p := range c.pairs {
			if problem, ok := r.add(p[0], p[1]); ok != (c.ok || i < len(c.pairs)-1) {
				t.Errorf("%s: pair %d: %t %s", c.name, i, ok, problem)
			}
		}
	}
}

// TestNames relates what agents make up.
func TestNames(t *testing.T) {
	const a, b, c = "aaaaaaaa-0000-0000-0000-000000000000", "bbbbbbbb-0000-0000-0000-000000000000", "cccccccc-0000-0000-0000-000000000000"
	n := newNames()
	for _, step := range []struct {
		recorded, got string
		same          bool
	}{
		{"node " + a, "node " + b, true},
		{a + " again", b + " again", true},
		{a, c, false},
		{b, b, false},
		{"text", "text", true},
		{"text", "other", false},
		{"dial 127.0.0.1:19100", "dial 127.0.0.1:8500", true},
		{"dial 127.0.0.1:19100", "dial 127.0.0.1:8501", false},
		{"from 127.0.0.1:40000", "from 127.0.0.1:50000", true},
		{"from 127.0.0.1:40000", "from 127.0.0.1:50001", true},
		{a + a, b, false},
		{strings.ToUpper(a), strings.ToUpper(b), true},
		{strings.ToUpper(a), b, false},
		{strings.ToUpper(c), strings.ToUpper(c), true},
		{c, b, false},
	} {
		if same := n.sameText(step.recorded, step.got); same != step.same {
			t.Errorf("%q and %q: %t, want %t", step.recorded, step.got, same, step.same)
		}
	}
}

// TestListed makes sure that the lists name scenarios and entries that exist.
func TestListed(t *testing.T) {
	versions, err := recording.Versions()
	if err != nil {
		t.Fatal(err)
	}
	exists := map[string]bool{}
	for _, version := range versions {
		recordings, err := recording.Load(version)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range recordings {
			exists[rec.Scenario] = true
			for _, e := range rec.Entries {
				exists[version+rec.Scenario+e.ID] = true
				exists[rec.Scenario+e.ID] = true
			}
		}
	}
	for _, k := range known {
		if !exists[k.scenario] || k.reason == "" || k.field == "" {
			t.Errorf("%+v: no such scenario, no field or no reason", k)
		}
		for _, id := range strings.Fields(k.entries) {
			if !exists[k.version+k.scenario+id] {
				t.Errorf("%s %s: no entry %s", k.version, k.scenario, id)
			}
		}
	}
}
