package agent

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lictor-go/consul/consulmock/internal/release"
)

// UserEvent is a user event, in the form in which agents return it.
type UserEvent struct {
	ID            string
	Name          string
	Payload       []byte
	NodeFilter    string
	ServiceFilter string
	TagFilter     string
	Version       int
	LTime         uint64
}

// eventRing is how many events an agent keeps.
const eventRing = 256

// EventKey is the key of waiters for events.
const EventKey = "event"

// Index returns the index of a list that ends with the event: the halves of its ID,
// taken together.
func (e *UserEvent) Index() uint64 {
	digits := strings.ReplaceAll(e.ID, "-", "")
	upper, _ := strconv.ParseUint(digits[:16], 16, 64)
	lower, _ := strconv.ParseUint(digits[16:], 16, 64)
	return upper ^ lower
}

// eventFilter is what an event selects.
type eventFilter struct{ node, service, tag *regexp.Regexp }

// filter returns what the event selects, or why an agent refuses it.
func (e *UserEvent) filter() (f eventFilter, err error) {
	if e.TagFilter != "" && e.ServiceFilter == "" {
		return f, errors.New("Cannot provide tag filter without service filter")
	}
	for _, part := range []struct {
		name, text string
		to         **regexp.Regexp
	}{{"node", e.NodeFilter, &f.node}, {"service", e.ServiceFilter, &f.service}, {"tag", e.TagFilter, &f.tag}} {
		if *part.to, err = regexp.Compile(part.text); err != nil {
			return f, fmt.Errorf("Invalid %s filter: %w", part.name, err)
		}
	}
	return f, nil
}

// Validate returns why an agent refuses an event before it looks at the token.
func (e *UserEvent) Validate() error {
	_, err := e.filter()
	return err
}

// FireEvent passes an event on, gives it an ID, and keeps it if it is for this agent.
func (a *Agent) FireEvent(e *UserEvent) error {
	filter, err := e.filter()
	if err != nil {
		return err
	}
	e.ID, e.Version = newUUID(), 1
	if err := e.checkSize(a.eventTime); err != nil {
		if a.Config.Version == release.V1_8_7 {
			return fmt.Errorf("1 error occurred:\n\t* error broadcasting event to segment \"\": %w\n\n", err)
		}
		return fmt.Errorf("error broadcasting event: %w", err)
	}
	kept := *e
	kept.LTime = a.eventTime
	a.eventTime++
	if a.isFor(e, filter) {
		a.Events = append(a.Events[max(0, len(a.Events)-eventRing+1):], &kept)
		a.Store.Notify(EventKey)
	}
	return nil
}

// isFor reports whether an event is of interest to this agent. The filter for services
// is about their IDs.
func (a *Agent) isFor(e *UserEvent, f eventFilter) bool {
	if !f.node.MatchString(a.Config.Node) {
		return false
	}
	if e.ServiceFilter == "" {
		return true
	}
	for id, s := range a.Services {
		if f.service.MatchString(id) && (e.TagFilter == "" || slices.ContainsFunc(s.Rec.Tags, f.tag.MatchString)) {
			return true
		}
	}
	return false
}
