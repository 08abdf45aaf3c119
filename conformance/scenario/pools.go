package scenario

import (
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// ranks relates the indexes of one conversation to those of another: their
// values differ, but one that is lower, equal or higher than another must be so
// in both.
//
// What happened before the scenario is one: a starting agent registers its node
// itself, or the leader does, whichever is first.
type ranks struct {
	recorded []uint64 // ascending, without duplicates
	got      []uint64 // what they correspond to; also ascending

	recordedStart, gotStart uint64 // the last indexes before the scenario
}

// add relates two indexes, or says how they contradict what is known.
func (r *ranks) add(recorded, got uint64) (problem string, ok bool) {
	if recorded == 0 || got == 0 {
		return "one is 0", recorded == got
	}
	if recorded <= r.recordedStart || got <= r.gotStart {
		return "one is of the start", recorded <= r.recordedStart && got <= r.gotStart
	}
	i := sort.Search(len(r.recorded), func(i int) bool { return r.recorded[i] >= recorded })
	if i < len(r.recorded) && r.recorded[i] == recorded {
		switch {
		case r.got[i] > got:
			return "lower than an earlier one that it equals in the recording", false
		case r.got[i] < got:
			return "higher than an earlier one that it equals in the recording", false
		}
		return "", true
	}
	if i < len(r.got) && got >= r.got[i] {
		return "not below an earlier one that it is below in the recording", false
	}
	if i > 0 && got <= r.got[i-1] {
		return "not above an earlier one that it is above in the recording", false
	}
	r.recorded = append(r.recorded[:i], append([]uint64{recorded}, r.recorded[i:]...)...)
	r.got = append(r.got[:i], append([]uint64{got}, r.got[i:]...)...)
	return "", true
}

// names relates names that every agent makes up for itself (IDs of nodes, ports,
// hashes): the same one must stand for the same thing throughout.
type names struct {
	got      map[string]string // by the recorded name
	recorded map[string]string // by the name that we got
}

func newNames() *names {
	return &names{got: map[string]string{}, recorded: map[string]string{}}
}

// same reports whether two names stand for the same thing.
func (n *names) same(recorded, got string) bool {
	g, ok := n.got[recorded]
	r, ok2 := n.recorded[got]
	if !ok && !ok2 {
		n.got[recorded], n.recorded[got] = got, recorded
		return true
	}
	return ok && ok2 && g == got && r == recorded
}

// volatile finds the names that agents make up, in any text.
var volatile = regexp.MustCompile(`(?i:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})|127\.0\.0\.1:[0-9]+`)

// sameText reports whether two texts are equal except for such names.
func (n *names) sameText(recorded, got string) bool {
	if recorded == got && !volatile.MatchString(recorded) {
		return true
	}
	a, b := volatile.FindAllString(recorded, -1), volatile.FindAllString(got, -1)
	if len(a) != len(b) || volatile.ReplaceAllString(recorded, "\x00") != volatile.ReplaceAllString(got, "\x00") {
		return false
	}
	for i := range a {
		// The port of a client's end is new every time.
		if strings.HasPrefix(a[i], "127.") && isEphemeral(a[i]) && isEphemeral(b[i]) {
			continue
		}
		// An ID in capitals is the same as in small letters, but another text.
		isUpper := a[i] == strings.ToUpper(a[i])
		if isUpper != (b[i] == strings.ToUpper(b[i])) || !n.same(strings.ToLower(a[i]), strings.ToLower(b[i])) {
			return false
		}
	}
	return true
}

func isEphemeral(addr string) bool {
	_, port, _ := strings.Cut(addr, ":")
	n, err := strconv.Atoi(port)
	return err == nil && (n == 0 || n >= 32768)
}
