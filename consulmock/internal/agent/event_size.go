package agent

import "errors"

// This file computes how large an event is on its way through the gossip pool: a
// message in MessagePack, whose payload is another one. Nothing is encoded.

// maxEventSize is how many bytes such a message may have.
const maxEventSize = 512

// eventPrefix is what the names of user events have in front of them in the pool.
const eventPrefix = "consul:event:"

// checkSize returns why an event is too large that is fired at a Lamport time. An agent
// looks before it encodes the outer message, and again when it has.
func (e *UserEvent) checkSize(time uint64) error {
	inner := 1 + textSize("ID") + textSize(e.ID) + textSize("n") + textSize(e.Name) + textSize("v") + numberSize(uint64(e.Version))
	if n := len(e.Payload); n > 0 {
		inner += textSize("p") + 2 + n
		if n > 255 {
			inner++
		}
	}
	for name, filter := range map[string]string{"nf": e.NodeFilter, "sf": e.ServiceFilter, "tf": e.TagFilter} {
		if filter != "" {
			inner += textSize(name) + textSize(filter)
		}
	}
	name := len(eventPrefix) + len(e.Name)
	if name+inner > maxEventSize {
		return errors.New("user event exceeds configured limit of 512 bytes before encoding")
	}
	outer := 2 + rawSize(len("LTime")) + numberSize(time) + rawSize(len("Name")) + rawSize(name) +
		rawSize(len("Payload")) + rawSize(inner) + rawSize(len("CC")) + 1
	if outer > maxEventSize {
		return errors.New("encoded user event exceeds configured limit of 512 bytes after encoding")
	}
	return nil
}

// textSize is the size of a text in the inner message.
func textSize(s string) int {
	if n := len(s); n < 32 || n > 255 {
		return rawSize(n)
	}
	return 2 + len(s)
}

// rawSize is the size of n bytes in the outer message, whose encoding is an older one.
func rawSize(n int) int {
	if n < 32 {
		return 1 + n
	}
	return 3 + n
}

// numberSize is the size of a number.
func numberSize(n uint64) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<8:
		return 2
	case n < 1<<16:
		return 3
	case n < 1<<32:
		return 5
	}
	return 9
}
