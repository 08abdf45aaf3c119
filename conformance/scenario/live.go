package scenario

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/lictor-go/consul/conformance/recording"
)

// Live is a conversation with two agents at once. That with the first is kept as
// a recording, and Differences compares that with the second.
type Live struct {
	sides [2]Side

	mu      sync.Mutex // guards what follows
	seq     int
	rec     recording.Recording
	answers map[string]*answer
	starts  [][2]uint64
}

// Side is one of the agents of a conversation.
type Side struct {
	Addr string // host:port, for the header Host
	Dial func(ctx context.Context) (net.Conn, error)
}

// Message is a request to one side.
type Message struct {
	Method, Target string
	Headers        [][2]string
	Body           []byte // nil if there is none
}

// Reply is what one side responded.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
	Err    string // the exchange failed: refused, closed, timeout, or the error's text
}

// Sent is a message that was sent to both sides.
type Sent struct {
	entry   *recording.Entry
	answers [2]*answer
	done    [2]chan struct{}
}

// Difference is one way in which the second side's response is not the first's.
type Difference struct {
	Entry       string // the ID of the exchange, as Sent.ID returns it
	Method      string
	Target      string // as it was sent to the first side
	Field       string // status, error, timing, index, format, "header X" or "body path"
	First, Then string // what the two responded
}

// NewLive returns a conversation between two dev agents of a version and a node.
func NewLive(version, node string, sides [2]Side) *Live {
	return &Live{sides: sides, answers: map[string]*answer{}, rec: recording.Recording{
		Version: version, Agents: []recording.Agent{{Name: node, Role: "dev", Addr: sides[0].Addr}},
	}}
}

// messageLimit is how long an exchange may take. It is more than any wait.
const messageLimit = 30 * time.Second

// Ask sends a message to one side, outside the conversation.
func (s Side) Ask(m Message) Reply {
	return s.send(m).reply()
}

func (s Side) send(m Message) *answer {
	return exchange(s.Dial, &request{method: m.Method, target: m.Target, host: s.Addr, headers: m.Headers, body: m.Body, limit: messageLimit})
}

func (a *answer) reply() Reply {
	return Reply{Status: a.status, Header: a.header, Body: a.body, Err: a.err}
}

// Send sends a message to the first side and one to the second, and waits for
// neither reply.
func (l *Live) Send(messages [2]Message) *Sent {
	m := messages[0]
	e := &recording.Entry{Agent: l.rec.Agents[0].Name, Started: time.Now(), Request: recording.Request{Method: m.Method, URL: "http://" + l.sides[0].Addr + m.Target}}
	if m.Body != nil {
		text, encoding := encodeText(m.Body)
		e.Request.PostData = &recording.PostData{Text: text, Encoding: encoding}
	}
	for _, h := range m.Headers {
		e.Request.Headers = append(e.Request.Headers, recording.Pair{Name: h[0], Value: h[1]})
	}
	l.mu.Lock()
	l.rec.Entries = append(l.rec.Entries, e)
	e.ID = fmt.Sprintf("e%03d", len(l.rec.Entries))
	e.Seq.Start = l.tick()
	l.mu.Unlock()
	s := &Sent{entry: e}
	for side := range l.sides {
		done := make(chan struct{})
		s.done[side] = done
		go func() {
			a := l.sides[side].send(messages[side])
			s.answers[side] = a
			l.finish(e, side, a)
			close(done)
		}()
	}
	return s
}

func (l *Live) tick() int { l.seq++; return l.seq }

// finish writes down what a side responded.
func (l *Live) finish(e *recording.Entry, side int, a *answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.started = len(l.rec.Entries)
	if side == 1 {
		l.answers[e.ID] = a
		return
	}
	e.Seq.End, e.Ms, e.Error = l.tick(), float64(a.took)/float64(time.Millisecond), a.err
	text, encoding := encodeText(a.body)
	e.Response = recording.Response{Status: a.status, Content: recording.Content{MimeType: a.header.Get("Content-Type"), Text: text, Encoding: encoding}}
	for name, values := range a.header {
		for _, v := range values {
			e.Response.Headers = append(e.Response.Headers, recording.Pair{Name: name, Value: v})
		}
	}
}

func encodeText(data []byte) (text, encoding string) {
	if utf8.Valid(data) {
		return string(data), ""
	}
	return base64.StdEncoding.EncodeToString(data), "base64"
}

// Wait waits until both sides have responded, and returns what.
func (s *Sent) Wait() [2]Reply {
	<-s.done[0]
	<-s.done[1]
	return [2]Reply{s.answers[0].reply(), s.answers[1].reply()}
}

// ID names the exchange in the conversation.
func (s *Sent) ID() string { return s.entry.ID }

// Started writes down that both agents have started, and what their last indexes
// are. How those of before relate to each other is chance. Of agents that start
// again, what they have forgotten has no order with what comes.
func (l *Live) Started(last [2]uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rec.Events = append(l.rec.Events, recording.Event{Seq: l.tick(), Time: time.Now(), Agent: l.rec.Agents[0].Name, Event: "start"})
	l.starts = append(l.starts, last)
}

// Differences compares what the two sides have responded. All exchanges must be
// over. A response may be late by as much as slack. Nothing was sent that may end a wait
// until it had lasted as long as arrival.
func (l *Live) Differences(slack, arrival time.Duration) []Difference {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []Difference
	for _, d := range compare(&l.rec, l.answers, tolerance{slack: slack, busy: true, arrival: arrival, starts: l.starts}) {
		list = append(list, Difference{
			Entry: d.entry.ID, Method: d.entry.Request.Method, Target: d.entry.Request.Target(),
			Field: d.field, First: d.recorded, Then: d.got,
		})
	}
	return list
}
