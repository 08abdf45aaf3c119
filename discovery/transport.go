package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// maxTries is the number of instances that one request is tried on.
const maxTries = 3

// NewTransport returns a transport for [http.Client] that uses the host of a URL as
// the name of a service, and sends the request to the instance that r picks:
// http://web/status goes to an instance of web, and so does
// http://web.service.consul/status. Other names of Consul's DNS, such as those with
// a tag or a datacenter, are an error: those are options of the resolver. The port
// of the URL is not used, but that of the instance. A request to an IP address
// goes to base as it is.
//
// base sends the requests; nil means [http.DefaultTransport]. The header Host
// stays that of the request, which is the service. With https, base checks the
// certificate against the instance's address, because that is what it connects to;
// to check it against the service's name, use [Resolver.DialContext] in an
// [http.Transport] instead.
//
// The error of a service without healthy instances is [ErrNoInstances].
//
// When the connection to an instance fails before anything of the request was
// sent, another instance is tried, up to three in all, and the one that failed
// is left out of picks for a while. Once something was sent, the request is not
// tried again, whatever its method: the instance may have acted on it. But an
// [http.Transport] itself repeats what may be sent twice, such as a GET, when a
// connection ends that it has used before. If it cannot connect again, another
// instance is tried as above. An instance without a port counts as one to which the
// connection failed.
//
// An instance that ends the connection, or does not respond before the deadline of the
// request or the Timeout of the [http.Client], is left out for a while, too. If a
// request ends for another reason, such as a cancelled context, a body that fails, or a
// header that cannot be sent, the instance is not.
//
// A request counts in the load of its instance until the body of the response was
// read to its end, failed, or was closed. A body that fails does not make the
// instance be left out.
//
// The resolver follows each host for some minutes, even if Consul does not know
// such a service. Do not let strangers choose the hosts.
func NewTransport(r *Resolver, base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{r, base}
}

type transport struct {
	resolver *Resolver
	base     http.RoundTripper
}

// CloseIdleConnections is called by the method of the same name of
// [http.Client].
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	var refused error
	switch {
	case t.resolver == nil:
		refused = errors.New("discovery: nil resolver")
	case req.URL == nil:
		refused = errors.New("discovery: request without a URL")
	}
	if refused != nil {
		closeBody(req)
		return nil, refused
	}
	if _, err := netip.ParseAddr(req.URL.Hostname()); err == nil {
		return t.base.RoundTrip(req)
	}
	service, err := serviceOf(req.URL.Hostname())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	body := newSharedBody(req)
	defer body.end()
	var tried []instanceKey
	var lastErr error
	for len(tried) < maxTries {
		instance, done, err := t.resolver.acquire(req.Context(), service, tried)
		if err != nil {
			if lastErr == nil {
				lastErr = err
			}
			break
		}
		tried = append(tried, instance.key())
		if instance.Port == 0 {
			lastErr = errNoPort(&instance)
			done(lastErr)
			continue
		}
		resp, again, err := t.try(req, instance, done, body)
		if err == nil {
			return resp, nil
		}
		if lastErr = err; !again {
			break
		}
	}
	return nil, lastErr
}

// try sends a request to an instance. If that fails, it reports whether another
// instance may be tried. It calls done, or lets the body of the response do so.
func (t *transport) try(req *http.Request, instance Instance, done func(error), body *sharedBody) (resp *http.Response, again bool, err error) {
	attempt, sent := newAttempt(req, instance, body)
	returned := false
	defer func() {
		if !returned { // the base transport has panicked
			done(context.Canceled)
		}
	}()
	resp, err = t.base.RoundTrip(attempt)
	returned = true
	switch {
	case err == nil && resp == nil:
		err = errors.New("discovery: the base transport returned neither a response nor an error")
		done(context.Canceled) // not the instance's fault
		return nil, false, err
	case err == nil:
		resp.Request = req
		resp.Body = newTrackedBody(resp.Body, done)
		return resp, false, nil
	}
	unsent := nothingSent(err, sent)
	if ended := endOf(req); ended != nil {
		if body.awaited.Load() {
			ended = context.Canceled // the caller's fault
		}
		done(ended)
		return nil, false, err
	}
	if _, traces := t.base.(*http.Transport); body.hasFailed() || traces && !unsent && !sent.traced.Load() {
		done(context.Canceled) // no instance could have served such a request
		return nil, false, err
	}
	done(err)
	return nil, unsent && body.rewind(), err
}

// endOf returns why a request has ended, whatever became of it: it is
// [context.DeadlineExceeded] or [context.Canceled], and nil if it has not.
func endOf(req *http.Request) error {
	if err := req.Context().Err(); err != nil {
		return err
	}
	select {
	//lint:ignore SA1019 http.Client itself uses it for its Timeout
	case <-req.Cancel:
	default:
		return nil
	}
	// http.Client closes it when its Timeout is over, possibly a moment before
	// the context ends.
	if deadline, ok := req.Context().Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return context.Canceled
}

// serviceOf returns the service that a host stands for. Neither hosts nor the
// names in queries to Consul distinguish letters by case, so they share one
// watch. Other names in Consul's domain are refused: they would be queried as
// services that do not exist.
func serviceOf(host string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if !strings.HasSuffix(name, ".consul") {
		return name, nil
	}
	service, ok := strings.CutSuffix(name, ".service.consul")
	if !ok || service == "" || strings.Contains(service, ".") {
		return "", fmt.Errorf("discovery: host %q: want SERVICE or SERVICE.service.consul; tags and datacenters are options of the resolver", host)
	}
	return service, nil
}

// progress is how far a request has come, as far as the transport reports it.
type progress struct {
	traced atomic.Bool // the transport reports what it does
	wrote  atomic.Bool // something of the request may have been sent
}

// newAttempt returns a copy of req for an instance.
func newAttempt(req *http.Request, i Instance, body *sharedBody) (*http.Request, *progress) {
	p := new(progress)
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		// A connection after the first one means that the transport starts over: it
		// knows that nothing was sent, or that it may be sent twice.
		GetConn: func(string) {
			p.traced.Store(true)
			p.wrote.Store(false)
		},
		WroteHeaderField: func(string, []string) { p.wrote.Store(true) },
		WroteHeaders:     func() { p.wrote.Store(true) },
	})
	attempt := req.WithContext(ctx)
	u := *req.URL
	u.Host = i.HostPort()
	attempt.URL = &u
	if attempt.Host == "" {
		attempt.Host = req.URL.Host
	}
	attempt.Body = body.reader()
	return attempt, p
}

// nothingSent reports whether it is certain that nothing of a failed request was
// sent.
func nothingSent(err error, p *progress) bool {
	if p.wrote.Load() {
		return false
	}
	var op *net.OpError
	return p.traced.Load() || errors.As(err, &op) && op.Op == "dial"
}

func errNoPort(i *Instance) error {
	return fmt.Errorf("discovery: instance %q of service %q has no port", i.ID, i.Service)
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}
