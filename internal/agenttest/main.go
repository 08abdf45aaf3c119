package agenttest

import (
	"flag"
	"testing"
)

// Main runs the tests of a package, for its TestMain. Unless the flag -parallel
// is given, more of them run at once than there are processors, since they
// mostly wait for agents.
func Main(m *testing.M) int {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		flag.Set("test.parallel", "8")
	}
	return m.Run()
}
