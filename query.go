package consul

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// QueryOptions are the options of a read. Nil, and the zero QueryOptions, leave
// everything to the defaults of the client and of the agent. Agents ignore
// options that an endpoint does not have.
//
// QueryOptions print without their token.
type QueryOptions struct {
	Datacenter string // the client's if empty
	Namespace  string // the client's if empty; Consul Enterprise only
	Partition  string // the client's if empty; Consul Enterprise only

	// Peer selects what a peered cluster exports.
	Peer string

	// SamenessGroup exists in Consul Enterprise only.
	SamenessGroup string

	// Token replaces the client's token for this request.
	Token string `json:"-"`

	// Near sorts the result by the distance from the named node, or from the
	// agent itself if it is "_agent". Such queries are not streamed, which costs
	// the servers more.
	Near string

	// Filter is an expression of Consul's filter language that selects results,
	// such as Service.Meta.zone == "a" for [Health.Service]. One that the agent
	// does not understand is a [*StatusError].
	Filter string

	// NodeMeta selects nodes with all of these pairs.
	NodeMeta map[string]string

	// Tags selects the instances that have all of these tags; an empty tag is
	// skipped. PassingOnly selects those without a failing or warning check of their
	// own or of their node. They are options of the service queries of [Health] and,
	// Tags only, of [Catalog].
	Tags        []string
	PassingOnly bool

	// AllowStale lets every server respond, not only the leader;
	// RequireConsistent makes the leader make sure that it still is one. Agents
	// refuse them together.
	AllowStale        bool
	RequireConsistent bool

	// UseCache lets the agent respond from its cache, MaxAge only with what is at
	// most this old, and StaleIfError with what is this much older if the servers
	// cannot be reached. Both are rounded to seconds. With RequireConsistent the
	// three are left out, because agents refuse them together.
	UseCache     bool
	MaxAge       time.Duration
	StaleIfError time.Duration

	// MergeCentralConfig merges the central configuration into the services.
	MergeCentralConfig bool

	// WaitIndex makes this a blocking query: the agent responds when the index
	// of the result has passed it, or after WaitTime. WaitHash does so for
	// [Agent.Service], until the hash has changed. WaitTime is Config.WaitTime if
	// zero, and the agent's default if that is zero too. It is sent in milliseconds,
	// at least one. Agents cut it to their maximum, which is 10 minutes by default.
	//
	// A blocking query ends with an error if the agent is silent for longer than
	// the wait, the sixteenth of it that agents add at random, and 20 s.
	WaitIndex uint64
	WaitHash  string
	WaitTime  time.Duration

	// Previous is the [QueryMeta.Result] of an earlier response to the same query. It
	// makes this read cost what has changed: of a list, only the elements that differ
	// from the earlier ones are decoded, and the others are those from before, by
	// pointer. If nothing has changed, the method returns what it returned before, and
	// QueryMeta.Result is Previous itself. So what is returned may be shared with
	// earlier results, and must not be changed; only the slice of a list is the
	// caller's own.
	//
	// To begin with, new(Result) makes a query that does not block return a Result.
	// One of another query, or of another agent, does no harm. [Raw.Query] decodes
	// every response.
	Previous *Result
}

// Format implements [fmt.Formatter]. It prints what is sent for the options, but
// not the token.
func (q QueryOptions) Format(s fmt.State, verb rune) {
	params, _, err := q.encode(scope{}, 0)
	io.WriteString(s, "consul.QueryOptions{"+params.Encode())
	if err != nil {
		fmt.Fprintf(s, " (%v)", err)
	}
	if cc := q.cacheControl(); cc != "" {
		io.WriteString(s, " "+cc)
	}
	if q.Token != "" {
		io.WriteString(s, " Token:"+redact(true))
	}
	io.WriteString(s, "}")
}

// WriteOptions are the options of a write through [Raw]. Nil, and the zero
// WriteOptions, leave everything to the defaults of the client and of the agent.
//
// WriteOptions print without their token.
type WriteOptions struct {
	Datacenter string // the client's if empty
	Namespace  string // the client's if empty; Consul Enterprise only
	Partition  string // the client's if empty; Consul Enterprise only
	Token      string `json:"-"` // the client's if empty
}

// Format implements [fmt.Formatter]. It prints the options without the token.
func (w WriteOptions) Format(s fmt.State, verb rune) {
	fmt.Fprintf(s, "consul.WriteOptions{Datacenter:%q Namespace:%q Partition:%q Token:%s}",
		w.Datacenter, w.Namespace, w.Partition, redact(w.Token != ""))
}

// QueryMeta is the metadata of a response, read from its headers. It is nil if
// there is an error, with one exception: a 404 with an index, which means that
// something is missing that can be waited for, has its metadata beside the
// [*StatusError]. Agents give such a 404 for a key that does not exist.
type QueryMeta struct {
	// LastIndex is the index to wait on in [QueryOptions.WaitIndex]. It can go
	// down: then wait on 0, that is, do not wait, the next time. It is 0 where an
	// endpoint cannot be waited on.
	LastIndex uint64

	// LastContentHash is what to wait on in [QueryOptions.WaitHash].
	LastContentHash string

	// LastContact is how long ago the server that responded heard from the leader.
	LastContact time.Duration

	// KnownLeader reports that the server knew a leader. Modern agents serve
	// blocking and cached queries for the instances of a service by streaming, and
	// then it is always false: conclude nothing from it.
	KnownLeader bool

	// RequestTime is how long it took until the header of the response had arrived.
	RequestTime time.Duration

	// CacheHit reports that the agent responded from its cache with what is CacheAge
	// old.
	CacheHit bool
	CacheAge time.Duration

	// AddressTranslationEnabled reports that the agent replaces addresses by those
	// of the wide area network where it sees fit.
	AddressTranslationEnabled bool

	// ResultsFilteredByACLs reports that the token was not allowed to see everything.
	// Agents report it since 1.11, and never to requests without a token.
	ResultsFilteredByACLs bool

	// Result stands for the response in [QueryOptions.Previous] of the next query. It
	// is nil unless the query blocks or has a Previous, and if nothing was decoded. It
	// keeps what was decoded in memory.
	Result *Result

	QueryBackend         string // blocking-query or streaming; empty from old agents
	DefaultACLPolicy     string // allow or deny; empty from old agents
	EffectiveConsistency string // leader, stale or consistent
}

// Times that bound a blocking query whose agent does not respond any more.
const (
	// A query without a wait of its own waits for the agent's default, which is
	// 5 minutes; but that is configurable, the maximum being 10 unless that was
	// raised too.
	agentMaxWait = 10 * time.Minute

	// Agents add up to a sixteenth of the wait, so that not all clients return
	// together.
	waitJitterFraction = 16

	// Without a leader, an agent holds a query for up to 18 s before it responds.
	// Its error is better than our own.
	waitSlack = 20 * time.Second
)

// scope is where a request is carried out. What is empty is left to the agent.
type scope struct {
	datacenter, namespace, partition string
}

// or returns the scope with the values that by has instead of its own.
func (s scope) or(by scope) scope {
	return scope{cmp.Or(by.datacenter, s.datacenter), cmp.Or(by.namespace, s.namespace), cmp.Or(by.partition, s.partition)}
}

func (s scope) addTo(p url.Values) {
	for name, value := range map[string]string{"dc": s.datacenter, "ns": s.namespace, "partition": s.partition} {
		if value != "" {
			p.Set(name, value)
		}
	}
}

// encode returns the parameters of the query, and how long it may take if it
// blocks. Scope and wait are the client's.
func (q *QueryOptions) encode(s scope, defaultWait time.Duration) (url.Values, time.Duration, error) {
	for _, d := range []struct {
		name string
		d    time.Duration
	}{{"WaitTime", q.WaitTime}, {"MaxAge", q.MaxAge}, {"StaleIfError", q.StaleIfError}} {
		if d.d < 0 {
			return nil, 0, fmt.Errorf("consul: QueryOptions.%s is %s; want 0 or more", d.name, d.d)
		}
	}
	p := url.Values{}
	s.or(scope{q.Datacenter, q.Namespace, q.Partition}).addTo(p)
	for name, value := range map[string]string{
		"peer": q.Peer, "sameness-group": q.SamenessGroup, "near": q.Near, "filter": q.Filter, "hash": q.WaitHash,
	} {
		if value != "" {
			p.Set(name, value)
		}
	}
	for name, on := range map[string]bool{
		"stale": q.AllowStale, "consistent": q.RequireConsistent, "cached": q.usesCache(),
		"merge-central-config": q.MergeCentralConfig,
	} {
		if on {
			p.Set(name, "")
		}
	}
	if q.PassingOnly {
		p.Set("passing", "1")
	}
	for _, tag := range q.Tags {
		if tag != "" {
			p.Add("tag", tag)
		}
	}
	for k, v := range q.NodeMeta {
		p.Add("node-meta", k+":"+v)
	}
	if q.WaitIndex > 0 {
		p.Set("index", strconv.FormatUint(q.WaitIndex, 10))
	}
	blocks := q.WaitIndex > 0 || q.WaitHash != ""
	wait := q.WaitTime
	if wait == 0 && blocks {
		wait = defaultWait
	}
	if wait > 0 {
		p.Set("wait", strconv.FormatInt(max(wait.Milliseconds(), 1), 10)+"ms")
	}
	if !blocks {
		return p, 0, nil
	}
	if wait == 0 {
		wait = agentMaxWait
	}
	return p, blockingTimeout(wait), nil
}

// blockingTimeout returns how long a query with the wait may take.
func blockingTimeout(wait time.Duration) time.Duration {
	timeout := wait + wait/waitJitterFraction + waitSlack
	if timeout < wait { // it has overflowed
		return math.MaxInt64
	}
	return timeout
}

// usesCache reports whether the agent is to use its cache, which it refuses to do
// for a consistent read.
func (q *QueryOptions) usesCache() bool { return q.UseCache && !q.RequireConsistent }

func (q *QueryOptions) cacheControl() string {
	if !q.usesCache() {
		return ""
	}
	var directives []string
	for _, d := range []struct {
		name string
		d    time.Duration
	}{{"max-age", q.MaxAge}, {"stale-if-error", q.StaleIfError}} {
		if d.d > 0 {
			directives = append(directives, d.name+"="+strconv.FormatFloat(d.d.Seconds(), 'f', 0, 64))
		}
	}
	return strings.Join(directives, ", ")
}

// parseMeta reads the headers of a response. What is missing is zero.
func parseMeta(h http.Header) (*QueryMeta, error) {
	var firstErr error
	number := func(name string, bits int) uint64 {
		v := h.Get(name)
		if v == "" {
			return 0
		}
		n, err := strconv.ParseUint(v, 10, bits)
		if err != nil && firstErr == nil {
			firstErr = fmt.Errorf("header %s: %q is not a number from 0 to %d", name, shorten(v, maxErrorSnippet), uint64(1)<<bits-1)
		}
		return n
	}
	truth := func(name string) bool {
		switch v := h.Get(name); v {
		case "true":
			return true
		case "", "false":
		default:
			if firstErr == nil {
				firstErr = fmt.Errorf("header %s: %q is neither true nor false", name, shorten(v, maxErrorSnippet))
			}
		}
		return false
	}
	m := &QueryMeta{
		LastIndex:                 number("X-Consul-Index", 64),
		LastContentHash:           h.Get("X-Consul-Contenthash"),
		LastContact:               time.Duration(number("X-Consul-Lastcontact", 43)) * time.Millisecond,
		KnownLeader:               truth("X-Consul-Knownleader"),
		CacheHit:                  strings.EqualFold(h.Get("X-Cache"), "HIT"),
		CacheAge:                  time.Duration(number("Age", 33)) * time.Second,
		AddressTranslationEnabled: truth("X-Consul-Translate-Addresses"),
		ResultsFilteredByACLs:     truth("X-Consul-Results-Filtered-By-Acls"),
		QueryBackend:              h.Get("X-Consul-Query-Backend"),
		DefaultACLPolicy:          h.Get("X-Consul-Default-Acl-Policy"),
		EffectiveConsistency:      h.Get("X-Consul-Effective-Consistency"),
	}
	if firstErr != nil {
		return nil, firstErr
	}
	return m, nil
}
