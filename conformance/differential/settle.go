package differential

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/lictor-go/consul/conformance/scenario"
)

// settler waits until both agents have done what they do after they have
// responded: they copy what is registered to the catalog, and hand on events.
type settler struct {
	sides  [2]scenario.Side
	missed int // how often the sides have not come to agree
}

// patience is how long the two sides may take until they agree. Where they keep
// differing, the comparison will show how.
const patience = 3 * time.Second

// settle returns when both sides show the same in the places that a request
// changes after its response.
func (s *settler) settle(r request) {
	places := consequences(r)
	if len(places) == 0 {
		return
	}
	limit := patience
	if s.missed > 2 {
		limit = patience / 6
	}
	for begin := time.Now(); time.Since(begin) < limit; time.Sleep(2 * time.Millisecond) {
		if s.agree(places) {
			return
		}
	}
	s.missed++
}

// consequences returns what shows the later effects of a request.
func consequences(r request) []string {
	switch {
	case r.method != "PUT":
		return nil
	case strings.HasPrefix(r.target, "/v1/agent/"):
		return []string{"/v1/catalog/node/" + node, "/v1/health/node/" + node}
	case strings.HasPrefix(r.target, "/v1/event/"):
		return []string{"/v1/event/list"}
	}
	return nil
}

func (s *settler) agree(places []string) bool {
	for _, place := range places {
		var shown [2]string
		for side := range s.sides {
			shown[side] = substance(s.sides[side].Ask(scenario.Message{Method: "GET", Target: place}).Body)
		}
		if shown[0] != shown[1] {
			return false
		}
	}
	return true
}

// substance is a body without what the sides make up for themselves.
func substance(body []byte) string {
	v := parse(body)
	strip(v)
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// strip removes fields from objects. The output of a check is not sent to the
// catalog when it changes alone.
func strip(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			strip(e)
		}
	case map[string]any:
		for _, name := range []string{"CreateIndex", "ModifyIndex", "Output", "LTime"} {
			delete(v, name)
		}
		if id, ok := v["ID"].(string); ok && len(id) == 36 {
			delete(v, "ID")
		}
		if v["Service"] == "consul" { // the agent's own
			delete(v, "Port")
			delete(v, "Meta")
		}
		for _, e := range v {
			strip(e)
		}
	}
}

func parse(body []byte) any {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return string(body)
	}
	return v
}

// valueAt returns the text or the number at a dotted path in a body, or nothing.
func valueAt(body []byte, path string) string {
	v := parse(body)
	for _, name := range strings.Split(path, ".") {
		switch within := v.(type) {
		case map[string]any:
			v = within[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(within) {
				return ""
			}
			v = within[i]
		default:
			return ""
		}
	}
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}
