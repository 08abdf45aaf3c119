package main

import (
	"fmt"
	"os"
	"sync/atomic"
)

// progressPart is the part that runs, with its number.
var progressPart string

// isTerminal reports whether somebody looks at what goes to standard error.
var isTerminal = func() bool {
	info, err := os.Stderr.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}()

// isShown reports that the last line of the terminal is progress.
var isShown atomic.Bool

// progress shows on a terminal what is being measured, in place of what it has
// shown before. An empty format clears that.
func progress(format string, args ...any) {
	if !isTerminal {
		return
	}
	if isShown.Swap(format != "") {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
	if format != "" {
		fmt.Fprintf(os.Stderr, "%s: "+format, append([]any{progressPart}, args...)...)
	}
}

// show prints a part of a table, in place of the progress.
func show(format string, args ...any) {
	progress("")
	fmt.Printf(format, args...)
}
