package differential

import (
	"fmt"
	"strconv"
	"strings"
)

// scenarioText returns a sequence as the source of a scenario: what the recorder
// of the recordings in testdata plays to an agent.
func scenarioText(name, title string, steps []step) string {
	p := printer{used: map[int]bool{}, printed: map[int]bool{}}
	restarts := false
	for _, s := range steps {
		restarts = restarts || s.restart
		for _, r := range s.all() {
			p.used[r.index], p.used[r.hash] = true, true
			for _, v := range r.vars {
				p.used[v.from] = true
			}
		}
	}
	profile := "dev"
	if restarts {
		profile = "own"
	}
	p.line("add(Scenario{Name: %q, Set: \"shared\", Profile: %q,", name, profile)
	p.line("\tTitle: %q,", title)
	p.line("\tRun: func(r *Rec) {")
	if restarts {
		p.line("\t\ta := r.NewAgent(%q, \"dev\", 0, nil, nil)", node)
		p.line("\t\tr.Up(a, true, true)")
		p.line("\t\tr.Sleep(1500 * time.Millisecond)")
	}
	for _, s := range steps {
		p.step(s)
	}
	p.line("\t}})")
	return p.String()
}

type printer struct {
	strings.Builder
	used    map[int]bool // the requests that others refer to
	printed map[int]bool
}

func (p *printer) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *printer) step(s step) {
	if s.restart {
		p.line("\t\tr.Down(a, syscall.SIGKILL)")
		p.line("\t\tr.Up(a, true, true)")
		p.line("\t\tr.Sleep(1500 * time.Millisecond)")
	}
	for _, r := range s.reads {
		p.do(r)
	}
	for _, r := range s.waits {
		p.line("\t\tp%d := r.Start(%s)", r.id, p.arguments(r))
		p.printed[r.id] = true
	}
	if len(s.waits) > 0 {
		p.line("\t\tr.Sleep(300 * time.Millisecond)")
	}
	settle := false
	for _, r := range s.writes {
		p.do(r)
		settle = settle || consequences(r) != nil
	}
	for _, r := range s.waits {
		e := ""
		if p.used[r.id] {
			e = fmt.Sprintf("e%d := ", r.id)
		}
		p.line("\t\t%sp%d.Wait()", e, r.id)
	}
	if settle {
		p.line("\t\tr.Settle()")
	}
}

func (p *printer) do(r request) {
	e := ""
	if p.used[r.id] {
		e = fmt.Sprintf("e%d := ", r.id)
	}
	p.line("\t\t%sr.Do(%s)", e, p.arguments(r))
	p.printed[r.id] = true
}

// arguments are those of the recorder's functions that send. A variable of a
// request that is not there is filled in.
func (p *printer) arguments(r request) string {
	target, body := r.target, ""
	if r.body != nil {
		body = *r.body
	}
	var opts []string
	for _, v := range r.vars {
		if p.printed[v.from] {
			opts = append(opts, fmt.Sprintf("V(%q, e%d, %q)", v.name, v.from, v.path))
			continue
		}
		target = strings.ReplaceAll(target, "${"+v.name+"}", v.absent)
		body = strings.ReplaceAll(body, "${"+v.name+"}", v.absent)
	}
	for _, h := range r.headers {
		opts = append(opts, fmt.Sprintf("Hdr(%q, %q)", h[0], h[1]))
	}
	if r.body != nil {
		opts = append(opts, "Body("+literal(body)+")")
	}
	if p.printed[r.index] {
		opts = append(opts, fmt.Sprintf("Index(e%d, 0)", r.index))
	}
	if p.printed[r.hash] {
		opts = append(opts, fmt.Sprintf("Hash(e%d)", r.hash))
	}
	return strings.Join(append([]string{fmt.Sprintf("%q", r.method), fmt.Sprintf("%q", target)}, opts...), ", ")
}

// literal is a text as Go source, in backquotes if that is easier to read.
func literal(s string) string {
	if strings.Contains(s, `"`) && strconv.CanBackquote(s) {
		return "`" + s + "`"
	}
	return strconv.Quote(s)
}
