package consulmock

import (
	"cmp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// This file holds what the page shows of keys, sessions and events.

// What the page shows at the most: keys and events, and bytes of a value.
const (
	uiKeys   = 500
	uiEvents = 50
	uiValue  = 200
)

type uiKey struct {
	Key, Value, Session string
	Flags               uint64
}

type uiSession struct {
	ID, Name, Node, TTL, LockDelay, Behavior string
	Checks                                   []string
}

type uiEvent struct {
	Name, Payload, ID string
	Filters           []string
	LTime             uint64
}

// addCoordination adds keys, sessions and events. The lock of the agent must be held.
func (st *uiState) addCoordination(a *agent.Agent) {
	keys := a.Store.KeysWith("")
	shown := min(len(keys), uiKeys)
	st.MoreKeys = len(keys) - shown
	for _, p := range keys[:shown] {
		st.Keys = append(st.Keys, uiKey{p.Key, uiBytes(p.Value), p.Session, p.Flags})
	}
	for _, s := range state.Sorted(a.Store.Sessions) {
		st.Sessions = append(st.Sessions, uiSession{
			ID: s.ID, Name: s.Name, Node: s.Node, TTL: cmp.Or(s.TTL, "none"), LockDelay: s.LockDelay.String(), Behavior: s.Behavior, Checks: s.CheckIDs(),
		})
	}
	for i := len(a.Events) - 1; i >= 0 && len(st.Events) < uiEvents; i-- {
		e := a.Events[i]
		shown := uiEvent{Name: e.Name, Payload: uiBytes(e.Payload), ID: e.ID, LTime: e.LTime}
		for _, f := range [][2]string{{"node", e.NodeFilter}, {"service", e.ServiceFilter}, {"tag", e.TagFilter}} {
			if f[1] != "" {
				shown.Filters = append(shown.Filters, f[0]+"="+f[1])
			}
		}
		st.Events = append(st.Events, shown)
	}
}

// uiBytes returns bytes for people: text as it is, other bytes in quotes with escapes, and
// of what is long only the beginning.
func uiBytes(data []byte) string {
	text, more := string(data), ""
	if len(text) > uiValue {
		text, more = text[:uiValue], " … ("+strconv.Itoa(len(data))+" bytes)"
		for i := 0; i < utf8.UTFMax && !utf8.ValidString(text); i++ { // a letter may be cut
			text = text[:len(text)-1]
		}
	}
	isText := func(r rune) bool { return unicode.IsPrint(r) || r == '\n' || r == '\t' }
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !isText(r) }) {
		text = strconv.Quote(text)
	}
	return text + more
}
