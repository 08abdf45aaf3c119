package agent

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// logStream is the agent's log, for those who listen.
type logStream struct {
	listeners map[chan string]int // with the lowest level that they want
}

// LogLevels are the levels of the log, the lowest first.
var LogLevels = []string{"trace", "debug", "info", "warn", "err"}

// logf writes a line to those who listen at the level. Who does not keep up
// misses lines.
func (a *Agent) logf(level, format string, args ...any) {
	if len(a.log.listeners) == 0 {
		return
	}
	rank := slices.Index(LogLevels, level)
	name := strings.ToUpper(level)
	if level == "err" {
		name = "ERROR"
	}
	line := fmt.Sprintf("%s [%s]  %s\n", time.Now().Format("2006-01-02T15:04:05.000Z0700"), name, fmt.Sprintf(format, args...))
	for c, lowest := range a.log.listeners {
		if rank < lowest {
			continue
		}
		select {
		case c <- line:
		default:
		}
	}
}

// Listen returns the lines of the log from now on that have at least a level, given
// by its place in LogLevels, until stop is called.
func (a *Agent) Listen(lowest int) (lines <-chan string, stop func()) {
	c := make(chan string, 512)
	if a.log.listeners == nil {
		a.log.listeners = make(map[chan string]int)
	}
	a.log.listeners[c] = lowest
	return c, func() { delete(a.log.listeners, c) }
}
