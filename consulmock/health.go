package consulmock

import "strings"

// healthService answers GET /v1/health/service/{service}.
func healthService(q *request) (any, error) {
	st := q.a.store
	name := oneService + strings.ToLower(q.name)
	err := q.block(func() uint64 { return st.serviceIndex(q.name, true) }, name)
	if err != nil {
		return nil, err
	}
	entries := []*serviceEntryJSON{}
	passing := q.query.Has("passing")
	for _, s := range st.instances(q.name) {
		e := q.s.config.version.entryJSON(s)
		if !passing || e.passing() {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

func (e *serviceEntryJSON) passing() bool {
	for _, c := range e.Checks {
		if c.Status != "passing" {
			return false
		}
	}
	return true
}
