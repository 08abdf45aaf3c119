package grpcresolver

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/lictor-go/consul"
)

// target is a parsed target. It must not be printed: it holds credentials.
type target struct {
	agent agentKey
	watch watchKey

	limit   int           // of the instances; 0 means all
	policy  string        // the load balancing policy; empty means none is named
	timeout time.Duration // until calls fail because Consul has not responded; 0 means the default
	grace   time.Duration // for which an empty list is not believed
	graced  bool          // whether the target sets it
}

// agentKey is what a target has about the agent. Channels whose targets say
// the same share a client.
type agentKey struct {
	address   string // host or host:port; empty means the builder's
	socket    string // a unix socket, instead of address
	tls       choice // https; unset means as the configuration has it
	insecure  choice // no verification of the agent's certificate; likewise
	token     string
	tokenFile string
	user      string // of the basic authentication; empty means none
	password  string
}

// choice is a boolean parameter, which may be missing.
type choice int8

const (
	unset choice = iota
	no
	yes
)

// watchKey is what a target requests. Channels with the same agent and the same
// question share a query.
type watchKey struct {
	service, datacenter, namespace, partition string
	tags                                      string // joined by zero bytes
	near, filter                              string
	stale, consistent, cached, unhealthy      bool
	wait, maxBackoff                          time.Duration
}

// tagSeparator cannot be in a tag that came from a URL: see parseTarget.
const tagSeparator = "\x00"

// query returns the options of the question.
func (k watchKey) query() consul.QueryOptions {
	q := consul.QueryOptions{
		Datacenter: k.datacenter, Namespace: k.namespace, Partition: k.partition,
		Near: k.near, Filter: k.filter,
		AllowStale: k.stale, RequireConsistent: k.consistent, UseCache: k.cached,
		WaitTime: k.wait,
	}
	if k.tags != "" {
		q.Tags = strings.Split(k.tags, tagSeparator)
	}
	return q
}

const targetForm = "want consul://[token@|user:password@][host[:port]]/service[?parameters]"

// parseTarget reads a target. Its errors name the parameter that is wrong, and
// never a credential.
func parseTarget(u *url.URL) (target, error) {
	var t target
	t.watch.service = strings.TrimLeft(u.Path, "/")
	if t.watch.service == "" {
		return t, fmt.Errorf("the target has no service; %s", targetForm)
	}
	if u.Fragment != "" {
		return t, fmt.Errorf("the target has a fragment; %s", targetForm)
	}
	params, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return t, errors.New("the target's parameters are malformed") // err may quote a token
	}
	t.agent.address = u.Host
	if err := t.readParams(params); err != nil {
		return t, err
	}
	return t, t.readUser(u.User)
}

// readUser takes what stands before the @: a token, or user and password.
func (t *target) readUser(info *url.Userinfo) error {
	if info == nil || info.String() == "" {
		return nil
	}
	password, isPair := info.Password()
	switch {
	case isPair && info.Username() == "":
		return fmt.Errorf("the target has no user before the colon; %s", targetForm)
	case isPair:
		t.agent.user, t.agent.password = info.Username(), password
		return nil
	case t.agent.tokenFile != "":
		return errors.New("the target has a token before the @ and the parameter token-file; want one of them")
	case t.agent.token != "" && t.agent.token != info.Username():
		return errors.New("the target has one token before the @ and another one as a parameter")
	}
	t.agent.token = info.Username()
	return nil
}

// readParams takes the parameters. Unknown ones are ignored.
func (t *target) readParams(params url.Values) error {
	r := reader{params: params}
	t.watch.datacenter, t.watch.near, t.watch.filter = r.get("dc"), r.get("near"), r.get("filter")
	t.watch.namespace, t.watch.partition = r.get("ns"), r.get("partition")
	t.agent.token, t.agent.tokenFile = r.get("token"), r.get("token-file")
	t.agent.socket, t.policy = r.get("socket"), r.get("lb")
	t.agent.tls, t.agent.insecure = r.choice("tls"), r.choice("insecure")
	t.watch.unhealthy = r.choice("healthy") == no
	t.watch.stale = r.choice("allow-stale") == yes
	t.watch.consistent = r.choice("require-consistent") == yes
	t.watch.cached = r.choice("cached") == yes
	r.duration("wait", &t.watch.wait)
	r.duration("max-backoff", &t.watch.maxBackoff)
	r.duration("timeout", &t.timeout)
	t.graced = params.Has("empty-grace")
	r.duration("empty-grace", &t.grace)
	r.count("limit", &t.limit)
	tags := params["tag"]
	for _, tag := range tags {
		if tag == "" || strings.Contains(tag, tagSeparator) {
			r.fail("tag", "is empty or has a zero byte")
		}
	}
	t.watch.tags = strings.Join(tags, tagSeparator)
	t.checkTogether(&r)
	return r.err
}

// checkTogether refuses parameters that cannot be together.
func (t *target) checkTogether(r *reader) {
	a, w := &t.agent, &t.watch
	if w.consistent && w.stale {
		r.fail("require-consistent", "cannot be together with allow-stale")
	}
	if w.consistent && w.cached {
		r.fail("require-consistent", "cannot be together with cached")
	}
	if a.token != "" && a.tokenFile != "" {
		r.fail("token-file", "cannot be together with token")
	}
	if a.socket != "" && (a.address != "" || a.tls != unset) {
		r.fail("socket", "cannot be together with a host or with tls")
	}
	if a.tls != unset && a.address == "" {
		r.fail("tls", "needs a host")
	}
}

// reader reads parameters and keeps the first error. Errors quote no values:
// somebody may have mixed up two of them, one being the token.
type reader struct {
	params url.Values
	err    error
}

func (r *reader) fail(name, problem string) {
	if r.err == nil {
		r.err = fmt.Errorf("the target's parameter %s %s", name, problem)
	}
}

// get returns the value of a parameter, or an empty one if it is missing.
func (r *reader) get(name string) string {
	if len(r.params[name]) > 1 {
		r.fail(name, "is there more than once")
	}
	return r.params.Get(name)
}

func (r *reader) choice(name string) choice {
	if !r.params.Has(name) {
		return unset
	}
	switch r.get(name) {
	case "1", "t", "T", "true", "TRUE", "True", "on", "yes", "ok":
		return yes
	case "0", "f", "F", "false", "FALSE", "False", "off", "no":
		return no
	}
	r.fail(name, "is neither true nor false")
	return unset
}

func (r *reader) duration(name string, to *time.Duration) {
	if !r.params.Has(name) {
		return
	}
	d, err := time.ParseDuration(r.get(name))
	if err != nil || d < 0 {
		r.fail(name, "is not a duration such as 30s or 5m")
		return
	}
	*to = d
}

func (r *reader) count(name string, to *int) {
	if !r.params.Has(name) {
		return
	}
	n, err := strconv.Atoi(r.get(name))
	if err != nil || n < 0 {
		r.fail(name, "is not a number of 0 or more")
		return
	}
	*to = n
}
