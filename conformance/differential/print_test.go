package differential

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// TestScenarioText prints waits with what they refer to, and what is sent instead of
// a value that no request gives.
func TestScenarioText(t *testing.T) {
	body := `{"Session":"${s}","Was":"${gone}"}`
	text := scenarioText("difference-7", "What seed 7 has found.", []step{
		{reads: []request{{id: 1, method: "GET", target: "/v1/kv/a"}}, waits: []request{{id: 2, method: "GET", target: "/v1/kv/a?wait=1s", index: 1}},
			writes: []request{{id: 3, method: "PUT", target: "/v1/session/create"}}},
		{restart: true, writes: []request{{id: 4, method: "PUT", target: "/v1/kv/a?acquire=${s}", body: &body, vars: []variable{
			{name: "s", from: 3, path: "ID", absent: "none"}, {name: "gone", from: 99, path: "ID", absent: "nobody"}}}}},
		{writes: []request{{id: 5, method: "PUT", target: "/v1/agent/service/deregister/web"}}},
	})
	if _, err := parser.ParseFile(token.NewFileSet(), "scenario.go", "package main\nfunc init() {\n"+text+"\n}", 0); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	for _, want := range []string{
		`p2 := r.Start("GET", "/v1/kv/a?wait=1s", Index(e1, 0))`,
		`p2.Wait()`,
		`r.Down(a, syscall.SIGKILL)`,
		"r.Do(\"PUT\", \"/v1/kv/a?acquire=${s}\", V(\"s\", e3, \"ID\"), Body(`{\"Session\":\"${s}\",\"Was\":\"nobody\"}`))",
		"r.Settle()",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in:\n%s", want, text)
		}
	}
}
