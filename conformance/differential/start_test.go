package differential

import "testing"

// TestAtRest reads from a log whether an agent has compared everything with the catalog as
// often as it does when it starts.
func TestAtRest(t *testing.T) {
	const (
		compares = "[DEBUG] agent: Skipping remote check since it is managed automatically: check=serfHealth\n"
		writes   = "[INFO]  agent: Synced node info\n"
		inSync   = "[DEBUG] agent: Node info in sync\n"
		fails    = `[ERROR] agent.anti_entropy: failed to sync remote state: error="No cluster leader"` + "\n"
	)
	for name, test := range map[string]struct {
		log  string
		want bool
	}{
		"nothing yet":                           {"", false},
		"once":                                  {compares + writes + inSync, false},
		"twice":                                 {compares + writes + compares + inSync, true},
		"twice, with changes in between":        {compares + writes + inSync + compares + inSync + inSync, true},
		"the second goes on":                    {compares + writes + inSync + compares, false},
		"the first was before the leader's":     {writes + inSync, false},
		"the second was after the leader's":     {writes + inSync + compares + inSync, true},
		"the first failed":                      {fails + compares + writes, true},
		"the first failed, the second goes on":  {fails + compares, false},
		"both failed":                           {fails + fails, false},
		"both failed, the third did not":        {fails + fails + compares + writes, true},
		"the second failed in the middle":       {compares + writes + compares + fails, false},
		"the third was after one in the middle": {compares + writes + compares + fails + compares + inSync, true},
	} {
		if got := atRest(test.log); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
}
