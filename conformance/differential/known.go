package differential

import (
	"regexp"

	"github.com/lictor-go/consul/conformance/scenario"
)

// knownDifferences are the ways in which the fake is not as agents are, with the
// reason. What is listed here is not reported.
var knownDifferences = []struct {
	version string         // empty for all
	request *regexp.Regexp // matches the method, a blank and the target
	field   *regexp.Regexp // matches the field that differs
	then    *regexp.Regexp // matches what the fake responds; nil for anything
	reason  string
}{
	{
		request: regexp.MustCompile(`^[A-Z]+ /v1/agent/health/service/name/`), field: regexp.MustCompile(`^(header X-Consul-Reason|body)$`),
		then:   regexp.MustCompile(`^"?maintenance"?$`),
		reason: "if one instance is critical and another one in maintenance, agents name either, at random",
	},
}

// why returns the reason of a known difference, or nothing if it is not known.
func why(version string, d scenario.Difference) string {
	for _, k := range knownDifferences {
		if (k.version == "" || k.version == version) && k.request.MatchString(d.Method+" "+d.Target) &&
			k.field.MatchString(d.Field) && (k.then == nil || k.then.MatchString(d.Then)) {
			return k.reason
		}
	}
	return ""
}
