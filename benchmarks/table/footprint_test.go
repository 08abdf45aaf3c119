package main

import (
	"path/filepath"
	"regexp"
	"testing"
)

// unused are the parts of the client that a program does not pay for unless it uses
// them: the methods of keys, sessions, transactions and events, and packages.
var unused = regexp.MustCompile(`lictor-go/consul(/coordination|/configuration|/consulmock|\.\(\*(KV|Session|Txn|Event|Raw)\))\S*`)

// TestUnusedIsNotLinked makes sure that a program that registers and resolves has
// nothing of what it does not use in its binary. A table of functions or a type that
// is looked into by reflection would bring it in.
func TestUnusedIsNotLinked(t *testing.T) {
	t.Parallel()
	for _, u := range users {
		binary := filepath.Join(t.TempDir(), "program")
		if _, err := goTool("", "build", "-o", binary, ourModule+"/benchmarks/imports/"+u.name); err != nil {
			t.Fatal(err)
		}
		symbols, err := goTool("", "tool", "nm", binary)
		if err != nil {
			t.Fatal(err)
		}
		if found := unused.FindAllString(symbols, 10); len(found) > 0 {
			t.Errorf("the program that %s has %q linked in", u.does, found)
		}
		if !regexp.MustCompile(`lictor-go/consul\.\(\*Agent\)\.ServiceRegister|lictor-go/consul/discovery\.Register`).MatchString(symbols) {
			t.Errorf("the program that %s has no symbol of what it uses", u.does)
		}
	}
}
