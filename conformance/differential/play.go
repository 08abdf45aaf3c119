package differential

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul/conformance/scenario"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/internal/agenttest"
)

const (
	node = "node1"

	// arrival is how long a wait takes to reach an agent.
	arrival = 80 * time.Millisecond

	// slack is how late a response may be on a busy machine.
	slack = 2 * time.Second
)

// pair is a real agent and the fake, which are sent the same.
type pair struct {
	t       *testing.T
	real    *agenttest.Agent
	fake    *consulmock.Server
	sides   [2]scenario.Side
	live    *scenario.Live
	sent    map[int]*scenario.Sent // by the request's ID
	stepOf  map[string]int         // the place of the step, by the exchange's ID
	settler settler
	began   time.Time // when the agents were started last
	logged  int       // how long the real agent's log was then
}

// result is what came of playing a sequence.
type result struct {
	differences []difference
	steps       int // that were played before the time was over
	requests    int
	took        time.Duration
}

// difference is one that was found, and where.
type difference struct {
	scenario.Difference
	step int // its place in the sequence
}

// play plays a sequence to a fresh real agent and a fresh fake.
func play(t *testing.T, steps []step) (r result) {
	t.Run("play", func(t *testing.T) {
		p := newPair(t)
		begin := time.Now()
		for i := range steps {
			if p.isOver() && !steps[i].restart {
				break
			}
			p.step(i, &steps[i])
			r.steps++
		}
		r.took = time.Since(begin)
		r.requests = len(p.stepOf)
		for _, d := range p.live.Differences(slack, arrival) {
			if why(p.real.Version, d) == "" {
				r.differences = append(r.differences, difference{d, p.stepOf[d.Entry]})
			}
		}
	})
	return r
}

func newPair(t *testing.T) *pair {
	p := &pair{t: t, sent: map[int]*scenario.Sent{}, stepOf: map[string]int{}}
	p.real = agenttest.Prepare(t, agenttest.Options{Node: node, Config: []string{`log_level = "debug"`}})
	p.start()
	p.real.Start()
	p.fake = consulmock.NewServer(consulmock.WithVersion(p.real.Version), consulmock.WithNode(node))
	t.Cleanup(p.fake.Close)
	inMemory := p.fake.Transport().(*http.Transport).DialContext
	p.sides = [2]scenario.Side{
		{Addr: p.real.Addr, Dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", p.real.Addr)
		}},
		{Addr: p.real.Addr, Dial: func(ctx context.Context) (net.Conn, error) { return inMemory(ctx, "tcp", p.real.Addr) }},
	}
	p.live = scenario.NewLive(p.real.Version, node, p.sides)
	p.settler.sides = p.sides
	p.started()
	return p
}

func (p *pair) step(place int, s *step) {
	if s.restart {
		p.restart()
	}
	for _, r := range s.reads {
		p.send(place, r).Wait()
	}
	var waits []*scenario.Sent
	for _, r := range s.waits {
		waits = append(waits, p.send(place, r))
	}
	if len(waits) > 0 {
		time.Sleep(arrival)
	}
	for _, r := range s.writes {
		p.send(place, r).Wait()
		if len(waits) == 0 {
			p.settler.settle(r)
		}
	}
	for _, w := range waits {
		w.Wait()
	}
	if len(waits) > 0 {
		for _, r := range s.writes {
			p.settler.settle(r)
		}
	}
}

// send sends a request to both sides, with what each of them has made up.
func (p *pair) send(place int, r request) *scenario.Sent {
	var messages [2]scenario.Message
	for side := range messages {
		messages[side] = p.message(side, r)
	}
	sent := p.live.Send(messages)
	p.sent[r.id] = sent
	p.stepOf[sent.ID()] = place
	return sent
}

func (p *pair) message(side int, r request) scenario.Message {
	target, body := r.target, ""
	if r.body != nil {
		body = *r.body
	}
	for _, v := range r.vars {
		value := v.absent
		if from := p.sent[v.from]; from != nil {
			if found := valueAt(from.Wait()[side].Body, v.path); found != "" {
				value = found
			}
		}
		target = strings.ReplaceAll(target, "${"+v.name+"}", value)
		body = strings.ReplaceAll(body, "${"+v.name+"}", value)
	}
	for _, ref := range []struct {
		param, header string
		from          int
	}{{"index", "X-Consul-Index", r.index}, {"hash", "X-Consul-Contenthash", r.hash}} {
		if from := p.sent[ref.from]; from != nil {
			target = withParam(target, ref.param+"="+from.Wait()[side].Header.Get(ref.header))
		}
	}
	m := scenario.Message{Method: r.method, Target: target, Headers: r.headers}
	if r.body != nil {
		m.Body = []byte(body)
	}
	return m
}

func withParam(target, param string) string {
	if strings.Contains(target, "?") {
		return target + "&" + param
	}
	return target + "?" + param
}
