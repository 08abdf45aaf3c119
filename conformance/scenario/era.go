package scenario

import "encoding/json"

// beforeScenario returns the last index before the scenario changed anything, in
// the recording and in our answers. It is found through what the scenario
// created; if it created nothing, it is 0.
func (c *comparison) beforeScenario(era []step) (recorded, got uint64) {
	agents := map[string]bool{}
	for _, a := range c.rec.Agents {
		agents[a.Name] = true
	}
	for _, s := range era {
		if !s.ends {
			continue
		}
		first(parse(s.entry.Response.Body()), agents, &recorded)
		if a := c.answers[s.entry.ID]; a != nil {
			first(parse(a.body), agents, &got)
		}
	}
	return max(recorded, 1) - 1, max(got, 1) - 1
}

// first lowers the index to the lowest at which something was created in a body
// that is not the agents' own.
func first(body any, agents map[string]bool, index *uint64) {
	switch v := body.(type) {
	case []any:
		for _, e := range v {
			first(e, agents, index)
		}
	case map[string]any:
		for _, e := range v {
			first(e, agents, index)
		}
		n, ok := v["CreateIndex"].(json.Number)
		if !ok || isOwn(v, agents) {
			return
		}
		created, err := n.Int64()
		if err == nil && created > 0 && (*index == 0 || uint64(created) < *index) {
			*index = uint64(created)
		}
	}
}

// isOwn reports whether something is there without the scenario, as a node, a
// service or a check may be. Agents have no keys and no sessions of their own.
func isOwn(v map[string]any, agents map[string]bool) bool {
	name, _ := v["Node"].(string)
	switch {
	case v["LockIndex"] != nil, v["LockDelay"] != nil:
		return false
	case v["CheckID"] != nil:
		return v["CheckID"] == "serfHealth"
	case v["ServiceName"] != nil:
		return v["ServiceName"] == "consul"
	case v["Service"] != nil:
		return v["Service"] == "consul"
	case v["Node"] != nil:
		return agents[name]
	}
	return true
}
