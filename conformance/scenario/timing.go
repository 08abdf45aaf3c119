package scenario

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/lictor-go/consul/conformance/recording"
)

// instantly is how long recorded answers took at most that did not wait, and
// overhead how much longer than their wait those took at most that timed out.
const (
	instantly = 250 * time.Millisecond
	overhead  = 20 * time.Millisecond
)

// timing compares how long answers took that may wait: whether they came at
// once, were woken by a certain other request, or timed out in the same range.
func (c *comparison) timing(e *recording.Entry, a *answer) {
	if e.Response.Content.Partial {
		return
	}
	target := e.Request.Target()
	if !strings.Contains(target, "index=") && !strings.Contains(target, "hash=") {
		return
	}
	took := time.Duration(e.Ms * float64(time.Millisecond))
	wakers := c.startsUntil(e.Seq.End)
	switch {
	case took < c.arrival && a.took < c.arrival: // other waits may have begun meanwhile
	case took < instantly && wakers == c.startsUntil(e.Seq.Start):
		if a.took > took+c.slack || a.started != wakers {
			c.differ("timing", fmt.Sprintf("at once (%s)", took), fmt.Sprintf("after %s", a.took))
		}
	case c.isWoken(e):
		if a.started != wakers {
			c.differ("timing", fmt.Sprintf("woken after request %d", wakers), fmt.Sprintf("answered after %s and request %d", a.took, a.started))
		}
	case c.noWaiting:
	case c.busy && took < requestedWait(e): // so it has not timed out
		if a.took > took+c.slack {
			c.differ("timing", fmt.Sprintf("late, without a wait (%s)", took), fmt.Sprintf("after %s", a.took))
		}
	default:
		// The recorded wait and ours have each been made longer by up to a
		// sixteenth.
		earliest := took*16/17 - overhead
		if c.busy {
			earliest = took / 2
		}
		if a.took < earliest || a.took > took*17/16+c.slack {
			c.differ("timing", fmt.Sprintf("timed out (%s)", took), fmt.Sprintf("after %s", a.took))
		}
	}
}

// requestedWait is how long a request may wait. Without a duration that counts it is
// longer than any exchange lasts.
func requestedWait(e *recording.Entry) time.Duration {
	_, query, _ := strings.Cut(e.Request.Target(), "?")
	values, _ := url.ParseQuery(query) // what is wrong in another parameter does not matter
	if d, err := time.ParseDuration(values.Get("wait")); err == nil && d > 0 {
		return d
	}
	return messageLimit
}

// startsUntil counts the requests that were sent up to a place in the order.
func (c *comparison) startsUntil(seq int) int {
	n := 0
	for _, e := range c.rec.Entries {
		if e.Seq.Start <= seq {
			n++
		}
	}
	return n
}

// isWoken reports whether the answer came right after another request was sent,
// which is then what woke it.
func (c *comparison) isWoken(e *recording.Entry) bool {
	end := e.Started.Add(time.Duration(e.Ms * float64(time.Millisecond)))
	for _, other := range c.rec.Entries {
		if gap := end.Sub(other.Started); other != e && other.Started.After(e.Started) && gap >= 0 && gap < instantly {
			return true
		}
	}
	return false
}
