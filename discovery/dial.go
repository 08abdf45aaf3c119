package discovery

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// DialContext connects to an instance of a service, for everything that takes a
// function to dial with: an [http.Transport], drivers of databases, gRPC. The
// host of the address is the service as in [NewTransport]; its port is not used.
// An instance that has no port but a SocketPath is dialled there. Up to three
// instances are tried; those that fail are left out of picks for a while. A host
// that is an IP address is dialled as it is. Connections do not count as load.
func (r *Resolver) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	host := address
	if h, _, err := net.SplitHostPort(address); err == nil {
		host = h
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return r.opts.Dial(ctx, network, address)
	}
	service, err := serviceOf(host)
	if err != nil {
		return nil, err
	}
	var tried []instanceKey
	var lastErr error
	for len(tried) < maxTries {
		i, done, err := r.acquire(ctx, service, tried)
		if err != nil {
			if lastErr == nil {
				lastErr = err
			}
			break
		}
		tried = append(tried, i.key())
		network, address := network, i.HostPort()
		switch {
		case i.Port == 0 && i.SocketPath != "":
			network, address = "unix", i.SocketPath
		case i.Port == 0:
			lastErr = errNoPort(&i)
			done(lastErr)
			continue
		}
		conn, err := r.dial(ctx, network, address, done)
		if err == nil {
			return conn, nil
		}
		lastErr = fmt.Errorf("discovery: service %q: %w", service, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, lastErr
}

// dial connects to an instance, and calls done with how that went.
func (r *Resolver) dial(ctx context.Context, network, address string, done func(error)) (net.Conn, error) {
	defer done(context.Canceled) // if Dial panics; else done has been called
	conn, err := r.opts.Dial(ctx, network, address)
	if ctx.Err() == context.Canceled && err != nil {
		done(context.Canceled) // not the instance's fault
	} else {
		done(err)
	}
	return conn, err
}
