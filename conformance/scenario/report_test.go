package scenario

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/lictor-go/consul/conformance/recording"
)

// report collects how faithful a target is, and checks the list of known
// differences.
type report struct {
	target, version string

	mu   sync.Mutex
	rows []row
}

type row struct {
	scenario               string
	answers, equal, listed int
	note                   string
}

// newReport returns a report that is printed when the test ends.
func newReport(t *testing.T, target, version string) *report {
	r := &report{target: target, version: version}
	t.Cleanup(func() { r.print() })
	return r
}

// playAll plays the recordings of all versions, and reports on each version.
func playAll(t *testing.T, target string, play func(*testing.T, *report, *recording.Recording)) {
	versions, err := recording.Versions()
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			recordings, err := recording.Load(version)
			if err != nil {
				t.Fatal(err)
			}
			run := newReport(t, target, version)
			for _, rec := range recordings {
				t.Run(rec.Scenario, func(t *testing.T) { play(t, run, rec) })
			}
		})
	}
}

func (r *report) add(w row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, w)
}

// use is the use of a known difference for an entry, or for any entry.
type use struct {
	known int
	entry string
}

// unlisted returns the differences that are not known.
func (r *report) unlisted(rec *recording.Recording, found []difference) (list []difference) {
	for _, d := range found {
		if findKnown(r.target, rec, d) < 0 {
			list = append(list, d)
		}
	}
	return list
}

// plays is how often a recording is played in real time before a difference counts.
// On a busy machine an agent now and then answers a wait with what was true a moment
// earlier, or later; what it does each time is its behaviour.
const plays = 3

// judgeInRealTime plays a recording until its answers are those that are expected, up
// to three times, and judges the last play. The report tells what differed before.
func (r *report) judgeInRealTime(t *testing.T, rec *recording.Recording, tolerable tolerance, play func() (map[string]*answer, error)) {
	t.Helper()
	var found []difference
	note := ""
	for n := 1; n <= plays; n++ {
		answers, err := play()
		if err != nil {
			t.Fatal(err)
		}
		found = compare(rec, answers, tolerable)
		unlisted := r.unlisted(rec, found)
		if len(unlisted) == 0 {
			break
		}
		for _, d := range unlisted {
			t.Logf("play %d: %s", n, d)
		}
		note = fmt.Sprintf("differed in play %d: %s %s", n, unlisted[0].entry.ID, unlisted[0].field)
	}
	r.judge(t, rec, found, note)
}

// judge fails the test for differences that are not listed, and for listed ones
// that were not found.
func (r *report) judge(t *testing.T, rec *recording.Recording, found []difference, note string) {
	t.Helper()
	w := row{scenario: rec.Scenario, answers: len(rec.Entries), note: note}
	differing := map[string]bool{}
	used := map[use]bool{}
	for _, d := range found {
		differing[d.entry.ID] = true
		if i := findKnown(r.target, rec, d); i >= 0 {
			used[use{i, d.entry.ID}], used[use{i, ""}] = true, true
			w.listed++
		}
	}
	unlisted := r.unlisted(rec, found)
	for _, d := range unlisted[:min(len(unlisted), 40)] {
		t.Error(d)
	}
	if more := len(unlisted) - 40; more > 0 {
		t.Errorf("%d more differences", more)
	}
	w.equal = w.answers - len(differing)
	for i, k := range known {
		if !k.applies(r.target, rec) || k.bychance {
			continue
		}
		ids := strings.Fields(k.entries)
		if len(ids) == 0 {
			ids = []string{""} // any
		}
		for _, id := range ids {
			if !used[use{i, id}] {
				t.Errorf("listed difference %s %s %q has vanished", k.scenario, id, k.field)
			}
		}
	}
	r.add(w)
}

func (r *report) print() {
	sort.Slice(r.rows, func(i, j int) bool { return r.rows[i].scenario < r.rows[j].scenario })
	tw := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintf(tw, "%s %s\tanswers\tequal\tknown differences\t\n", r.target, r.version)
	var sum row
	for _, w := range r.rows {
		fmt.Fprintf(tw, "  %s\t%d\t%d\t%d\t%s\n", w.scenario, w.answers, w.equal, w.listed, w.note)
		sum.answers, sum.equal, sum.listed = sum.answers+w.answers, sum.equal+w.equal, sum.listed+w.listed
	}
	fmt.Fprintf(tw, "  total\t%d\t%d\t%d\t\n", sum.answers, sum.equal, sum.listed)
	tw.Flush()
}

// findKnown returns the place of a difference in the list, or -1.
func findKnown(target string, rec *recording.Recording, d difference) int {
	for i, k := range known {
		if k.applies(target, rec) && k.matches(d) {
			return i
		}
	}
	return -1
}

func (k *knownDifference) applies(target string, rec *recording.Recording) bool {
	return k.target == target && (k.version == "" || k.version == rec.Version) && k.scenario == rec.Scenario
}

func (k *knownDifference) matches(d difference) bool {
	if k.entries != "" && !strings.Contains(" "+k.entries+" ", " "+d.entry.ID+" ") {
		return false
	}
	before, after, star := strings.Cut(k.field, "*")
	if !star {
		return d.field == k.field
	}
	return len(d.field) >= len(before)+len(after) && strings.HasPrefix(d.field, before) && strings.HasSuffix(d.field, after)
}
