// Command consulmock serves a fake Consul agent to anything that speaks its HTTP
// API: the consul command line tool, clients in any language, a browser, whole
// applications. It needs no installation and keeps nothing on disk.
//
//	go run github.com/lictor-go/consul/cmd/consulmock -http-addr 127.0.0.1:8500 -node node1
//
// When it listens, it prints where: the last word of its first line is the URL. It runs
// HTTP, TCP and UDP checks at their interval, shows its state at /ui/, and ends on SIGINT
// or SIGTERM, or when a client tells it to leave, as agents do. A second signal kills it.
//
// With -replay it responds from a recording instead, and says on standard error
// what was requested that is not in it. With -record and -target it passes requests
// on to a real agent, and records them.
//
// With -control, test suites in other languages let requests fail, as package consulmock
// does for those in Go. These requests have bodies in JSON:
//
//	POST   /control/faults       inject a fault; the response is {"ID": 1}
//	GET    /control/faults       the faults, each with the Count of requests to which it applied
//	DELETE /control/faults/{id}  remove a fault; what hangs goes on
//	DELETE /control/faults       remove all of them
//	POST   /control/restart      restart the agent: with {"KeepState": true} as one with a data
//	                             directory, else it has forgotten everything
//	GET    /control/requests     the requests to the agent, the last 9,000 at least
//
// A fault is a [consulmock.Fault]: an object with its fields by name, except Match and
// Observe. Durations are text such as "2s", Drop is the name of its constant, and Hang is
// true to wait until the fault is removed. Without any field it only counts the next
// request. A field that there is not is an error with status 400 and {"Error": "..."}.
//
//	curl http://127.0.0.1:8500/control/faults -d '{"Path": "/v1/health/service/*", "Times": 2, "NoLeader": true}'
//
// Whoever reaches the address can do that, so -control wants one of the loopback interface.
// In a container, add -control-remote.
//
// The exit status is 0 after a signal or a leave, 1 if serving or writing a recording fails,
// and 2 if the command line, the address or a file is no good.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/internal/httplog"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// settings are what the command line sets.
type settings struct {
	httpAddr, node, nodeID, datacenter, version string
	nodeMeta                                    metaFlag
	sessionTTLMin                               time.Duration
	tokens                                      tokenFlag
	replay, record, target                      string
	control, controlRemote                      bool
	log                                         bool
}

// metaFlag is a flag of the form key:value that may be given repeatedly.
type metaFlag map[string]string

// String implements [flag.Value].
func (m metaFlag) String() string { return "" }

// Set implements [flag.Value].
func (m metaFlag) Set(s string) error {
	k, v, ok := strings.Cut(s, ":")
	if !ok || k == "" {
		return errors.New("want key:value")
	}
	m[k] = v
	return nil
}

// tokenFlag is a flag of the form secret or secret=rules that may be given
// repeatedly.
type tokenFlag []consulmock.Token

// String implements [flag.Value].
func (t *tokenFlag) String() string { return "" }

// Set implements [flag.Value].
func (t *tokenFlag) Set(s string) error {
	secret, rules, ok := strings.Cut(s, "=")
	token := consulmock.Token{SecretID: secret, Rules: rules}
	if !ok {
		token = consulmock.ManagementToken(secret)
	}
	if secret == "" {
		return errors.New("want secret or secret=rules")
	}
	*t = append(*t, token)
	return nil
}

const usage = `Usage: consulmock [flags]

Serves a fake Consul agent. HTTP, TCP and UDP checks run at their interval, as those
of an agent do; in package consulmock they do so only with WithProbes.`

// parse reads the command line. Usage is printed if it requests help.
func parse(args []string, stdout io.Writer) (*settings, error) {
	c := &settings{nodeMeta: metaFlag{}}
	f := flag.NewFlagSet("consulmock", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&c.httpAddr, "http-addr", "127.0.0.1:8500", "listen at `host:port`; port 0 takes any that is free")
	f.StringVar(&c.node, "node", "node1", "`name` of the agent's node")
	f.StringVar(&c.nodeID, "node-id", "", "`UUID` of the agent's node (made from its name by default)")
	f.Var(c.nodeMeta, "node-meta", "metadata of the agent's node as `key:value`; may be repeated")
	f.StringVar(&c.datacenter, "datacenter", "dc1", "`name` of the datacenter")
	f.StringVar(&c.version, "consul-version", "1.21.4", "respond as that `release` of Consul does: 1.21.4 or 1.8.7")
	f.DurationVar(&c.sessionTTLMin, "session-ttl-min", 10*time.Second, "lowest TTL of sessions, so that tests of locks need not wait for 20 seconds")
	f.Var(&c.tokens, "token", "turn access control on and accept a token, given as its `secret` if it may do everything,\n"+
		"or as secret=rules, in Consul's rule language; may be repeated")
	f.StringVar(&c.replay, "replay", "", "respond from a recording, which is a HAR `file`")
	f.StringVar(&c.record, "record", "", "record the responses of a real agent in a HAR `file`; needs -target")
	f.StringVar(&c.target, "target", "", "`URL` of the real agent for -record")
	f.BoolVar(&c.control, "control", false, "inject faults and restart the agent on requests to /control/")
	f.BoolVar(&c.controlRemote, "control-remote", false, "allow -control at an address that other machines reach")
	f.BoolVar(&c.log, "log", false, "log every request with the status and time of its response to standard error")
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(stdout, "%s\n\n", usage)
		f.SetOutput(stdout)
		f.PrintDefaults()
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	elsewhere := ""
	f.Visit(func(set *flag.Flag) {
		switch set.Name {
		case "node", "node-id", "node-meta", "datacenter", "consul-version", "session-ttl-min", "token", "control":
			elsewhere = set.Name
		}
	})
	switch {
	case f.NArg() > 0:
		err = fmt.Errorf("argument %q: want flags only", f.Arg(0))
	case elsewhere != "" && (c.replay != "" || c.record != ""):
		err = fmt.Errorf("-%s has no effect beside -replay and -record", elsewhere)
	case c.replay != "" && c.record != "":
		err = errors.New("-replay and -record exclude each other")
	case (c.record == "") != (c.target == ""):
		err = errors.New("-record and -target need each other")
	case c.controlRemote && !c.control:
		err = errors.New("-control-remote has no effect without -control")
	case c.control && !c.controlRemote:
		err = checkLoopback(c.httpAddr)
	}
	if err == nil {
		err = consulmock.CheckOptions(c.options()...)
	}
	return c, err
}

// options are those of the fake.
func (c *settings) options() []consulmock.Option {
	options := []consulmock.Option{
		consulmock.WithVersion(c.version), consulmock.WithNode(c.node), consulmock.WithNodeID(c.nodeID),
		consulmock.WithNodeMeta(c.nodeMeta), consulmock.WithDatacenter(c.datacenter), consulmock.WithProbes(true),
		consulmock.WithSessionTTLMin(c.sessionTTLMin),
	}
	if len(c.tokens) > 0 {
		options = append(options, consulmock.WithTokens(c.tokens...))
	}
	return options
}

// backend is what serves the requests.
type backend struct {
	http.Handler
	about string
	done  <-chan struct{} // closed when it has ended by itself; nil if it never does
	close func() error
}

// open makes the backend that the settings select.
func (c *settings) open(stderr io.Writer) (*backend, error) {
	switch {
	case c.record != "":
		r, err := consulmock.Record(c.target, c.record)
		if err != nil {
			return nil, err
		}
		return &backend{Handler: r, about: fmt.Sprintf("records %s to %s", c.target, c.record), close: r.Close}, nil
	case c.replay != "":
		s, err := consulmock.NewReplayServer(c.replay, func(problem string) { fmt.Fprintln(stderr, problem) })
		if err != nil {
			return nil, err
		}
		end := func() error {
			s.Close()
			for _, left := range s.Leftovers() {
				fmt.Fprintln(stderr, "consulmock: not requested: "+left)
			}
			return nil
		}
		return &backend{Handler: s.Handler(), about: "responds from " + c.replay, close: end}, nil
	}
	s := consulmock.NewServer(c.options()...)
	about := fmt.Sprintf("responds as Consul %s, node %s, datacenter %s; its state is at /ui/", c.version, c.node, strings.ToLower(c.datacenter))
	b := &backend{Handler: s.Handler(), about: about, done: s.Done(), close: func() error { s.Close(); return nil }}
	if c.control {
		control := newControl(s)
		b.Handler, b.done = control, control.done()
		b.about += "; it is controlled at /control/"
	}
	return b, nil
}

// run is the command. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fail := func(status int, err error) int {
		text := strings.TrimPrefix(err.Error(), "consulmock: ")
		fmt.Fprintln(stderr, "consulmock: "+strings.ReplaceAll(text, "\n", " "))
		return status
	}
	c, err := parse(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return fail(2, err)
	}
	// The port is taken before a recording is touched.
	l, err := net.Listen("tcp", c.httpAddr)
	if err != nil {
		return fail(2, err)
	}
	b, err := c.open(stderr)
	if err != nil {
		l.Close()
		return fail(2, err)
	}
	var handler http.Handler = b
	logger := log.New(stderr, "", log.LstdFlags|log.Lmicroseconds)
	if c.log {
		handler = logged(handler, logger)
	}
	server := &http.Server{Handler: handler, ErrorLog: logger}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	fmt.Fprintf(stdout, "consulmock: listening on http://%s\nconsulmock: %s\n", l.Addr(), b.about)

	select {
	case <-ctx.Done():
	case <-b.done:
	case err = <-served:
	}
	// Queries that wait end with their connections.
	server.Close()
	if cerr := b.close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fail(1, err)
	}
	return 0
}

// logged logs the requests to a handler, without their tokens.
func logged(h http.Handler, l *log.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		status := "no response"
		defer func() {
			l.Printf("%s %s: %s in %s", r.Method, httplog.URL(r.URL.EscapedPath(), r.URL.Query()), status, time.Since(start).Round(time.Microsecond))
		}()
		h.ServeHTTP(&httplog.StatusWriter{ResponseWriter: w, Report: func(s int) { status = strconv.Itoa(s) }}, r)
	})
}
