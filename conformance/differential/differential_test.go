package differential

import (
	"flag"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lictor-go/consul/internal/agenttest"
)

var (
	seed      = flag.Uint64("seed", 0, "seed of the first sequence; 0 is one that was never used")
	sequences = flag.Int("sequences", 1, "number of sequences; each has the seed after that of the one before it")
	length    = flag.Int("steps", 60, "number of steps of a sequence")
	tries     = flag.Int("tries", 60, "how many plays a difference may take to be made short")
)

// repeats is how often a sequence has to show a difference before it counts.
const repeats = 3

// summary counts what a run has done.
type summary struct {
	sync.Mutex
	sequences, steps, requests int
	chance                     []string
	shown                      map[string]bool // by signature
}

// TestDifferential plays sequences to the fake and to a real agent of the same
// version at once. A difference that does not show every time is chance, and is
// only counted.
func TestDifferential(t *testing.T) {
	version := agenttest.Version(t)
	first := *seed
	if first == 0 {
		first = uint64(time.Now().UnixNano()) % 1e9
	}
	s, begin := &summary{shown: map[string]bool{}}, time.Now()
	t.Cleanup(func() {
		fmt.Printf("%s: %d sequences from seed %d on, %d steps, %d requests in %s; %d differences, %d by chance\n",
			version, s.sequences, first, s.steps, s.requests, time.Since(begin).Round(time.Second), len(s.shown), len(s.chance))
		for _, c := range s.chance {
			fmt.Println("  by chance:", c)
		}
	})
	for i := range *sequences {
		own := first + uint64(i)
		t.Run(fmt.Sprintf("seed%d", own), func(t *testing.T) {
			t.Parallel()
			s.sequence(t, version, own)
		})
	}
}

func (s *summary) sequence(t *testing.T, version string, own uint64) {
	steps := generate(own, version, *length)
	r := play(t, steps)
	s.Lock()
	s.sequences, s.steps, s.requests = s.sequences+1, s.steps+r.steps, s.requests+r.requests
	s.Unlock()
	t.Logf("%d steps, %d requests, %s", r.steps, r.requests, r.took)
	if len(r.differences) == 0 {
		return
	}
	d, ok := s.repeat(t, steps, r.differences)
	if !ok || !s.isNew(d) {
		return
	}
	t.Logf("%s\nis being made short", show(d))
	short := steps[:d.step+1]
	short = shrink(short, *tries, func(shorter []step) bool {
		for _, other := range play(t, shorter).differences {
			if signature(other) == signature(d) && other.step == len(shorter)-1 {
				d = other
				return true
			}
		}
		return false
	})
	fmt.Printf("the fake is not as %s is:\n%s\n\n%s\nTo repeat: go test ./differential -seed %d -sequences 1 -steps %d\n\n",
		version, show(d), scenarioText(fmt.Sprintf("difference-%d", own), "What seed "+fmt.Sprint(own)+" has found.", short), own, *length)
	t.Errorf("the fake is not as %s is; what was found is printed above", version)
}

// repeat plays a sequence again and returns the first difference that shows every
// time. Those that do not are chance.
func (s *summary) repeat(t *testing.T, steps []step, found []difference) (difference, bool) {
	first := found
	for range repeats - 1 {
		again := map[string]bool{}
		for _, d := range play(t, steps).differences {
			again[place(d)] = true
		}
		var still []difference
		for _, d := range found {
			if again[place(d)] {
				still = append(still, d)
			}
		}
		found = still
		if len(found) == 0 {
			break
		}
	}
	if len(found) > 0 {
		return found[0], true
	}
	s.Lock()
	defer s.Unlock()
	s.chance = append(s.chance, fmt.Sprintf("%s: %s", t.Name(), show(first[0])))
	return difference{}, false
}

// isNew reports whether no other sequence has shown the like of a difference.
func (s *summary) isNew(d difference) bool {
	s.Lock()
	defer s.Unlock()
	key := signature(d)
	known := s.shown[key]
	s.shown[key] = true
	return !known
}

func place(d difference) string { return d.Entry + " " + d.Field }

var digits = regexp.MustCompile(`[0-9]+`)

// signature is what differences of one kind have in common.
func signature(d difference) string {
	path, _, _ := strings.Cut(d.Target, "?")
	parts := strings.SplitN(path, "/", 5)
	endpoint := strings.Join(parts[:min(len(parts), 4)], "/")
	if strings.HasPrefix(path, "/v1/agent/") {
		endpoint = path[:strings.LastIndex(path, "/")+1]
	}
	sort := ""
	if d.Field == "status" || d.Field == "body" {
		sort = wording(d.First) + ", " + wording(d.Then)
	}
	return strings.Join([]string{d.Method, endpoint, digits.ReplaceAllString(d.Field, ""), sort}, " ")
}

var quoted = regexp.MustCompile(`\\?["'][^"']*["']|[0-9]+$`)

// wording is the beginning of a text without the names in it.
func wording(text string) string {
	text = strings.Trim(quoted.ReplaceAllString(strings.Trim(text, `"`), ""), `"`)
	return text[:min(len(text), 40)]
}

func show(d difference) string {
	return fmt.Sprintf("step %d: %s %.200s: %s:\n\treal: %.1500s\n\tfake: %.1500s", d.step, d.Method, d.Target, d.Field, d.First, d.Then)
}
