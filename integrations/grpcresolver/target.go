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
	timeout time.Duration // until calls fail because Consul has not answered; 0 means the default
	grace   time.Duration // for which an empty list is not believed
	graced  bool          // whether the target says so
}

// agentKey is what a target says about the agent. Channels whose targets say
// the same share a client.
type agentKey struct {
	address   string // host or host:port; empty means the builder's
	socket    string // a unix socket, instead of address
	tls       bool   // https
	insecure  bool   // no verification of the agent's certificate
	token     string
	tokenFile string
	user      string // of the basic authentication; empty means none
	password  string
}

// watchKey is what a target asks. Channels with the same agent and the same
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
	if isPair {
		t.agent.user, t.agent.password = info.Username(), password
		return nil
	}
	if t.agent.token != "" && t.agent.token != info.Username() {
		return errors.New("the target has one token before the @ and another one as a parameter")
	}
	t.agent.token = info.Username()
	return nil
}

// readParams takes the parameters. Unknown ones are ignored.
func (t *target) readParams(params url.Values) error {
	r := reader{params: params}
	t.watch.datacenter, t.watch.near, t.watch.filter = params.Get("dc"), params.Get("near"), params.Get("filter")
	t.watch.namespace, t.watch.partition = params.Get("ns"), params.Get("partition")
	t.agent.token, t.agent.tokenFile = params.Get("token"), params.Get("token-file")
	t.agent.socket, t.policy = params.Get("socket"), params.Get("lb")
	healthy := true
	r.bool("healthy", &healthy)
	r.bool("allow-stale", &t.watch.stale)
	r.bool("require-consistent", &t.watch.consistent)
	r.bool("cached", &t.watch.cached)
	r.bool("tls", &t.agent.tls)
	r.bool("insecure", &t.agent.insecure)
	t.watch.unhealthy = !healthy
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
	if t.watch.stale && t.watch.consistent {
		r.fail("require-consistent", "cannot be together with allow-stale")
	}
	if t.agent.socket != "" && (t.agent.address != "" || t.agent.tls) {
		r.fail("socket", "cannot be together with a host or with tls")
	}
	if t.agent.tls && t.agent.address == "" {
		r.fail("tls", "needs a host")
	}
	return r.err
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

func (r *reader) bool(name string, to *bool) {
	if !r.params.Has(name) {
		return
	}
	switch r.params.Get(name) {
	case "1", "t", "T", "true", "TRUE", "True", "on", "yes", "ok":
		*to = true
	case "0", "f", "F", "false", "FALSE", "False", "off", "no":
		*to = false
	default:
		r.fail(name, "is neither true nor false")
	}
}

func (r *reader) duration(name string, to *time.Duration) {
	if !r.params.Has(name) {
		return
	}
	d, err := time.ParseDuration(r.params.Get(name))
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
	n, err := strconv.Atoi(r.params.Get(name))
	if err != nil || n < 0 {
		r.fail(name, "is not a number of 0 or more")
		return
	}
	*to = n
}
