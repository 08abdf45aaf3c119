package consul

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
)

const (
	defaultHost = "127.0.0.1"
	defaultPort = "8500"
)

// address is a parsed Config.Address.
type address struct {
	url    url.URL // scheme, host and path prefix only
	socket string  // of a unix address
}

// parseAddress parses an address. It has the given scheme, or http, if it names
// none.
func parseAddress(s, unnamed string) (address, error) {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return address{}, fmt.Errorf("address %q: blanks and control characters are not allowed", redactAddress(s))
	}
	fail := func(format string, args ...any) (address, error) {
		return address{}, fmt.Errorf("address %q: %s; want host:port, http://host:port, https://host:port or unix:///path",
			redactAddress(s), fmt.Sprintf(format, args...))
	}
	scheme, rest, hasScheme := strings.Cut(s, "://")
	if !hasScheme {
		scheme, rest = unnamed, s
		if scheme == "" {
			scheme = "http"
		}
	}
	switch scheme {
	case "http", "https":
	case "unix":
		if rest == "" {
			return fail("no path")
		}
		// The host names nobody; it only fills the header Host.
		return address{url: url.URL{Scheme: "http", Host: "localhost"}, socket: rest}, nil
	default:
		return fail("unknown scheme %q", scheme)
	}
	if !hasScheme && strings.HasPrefix(rest, "/") {
		return fail("no host (the path of a socket comes after unix://)")
	}
	if strings.ContainsAny(rest, "?#") {
		return fail("a query or fragment is not allowed")
	}
	host, prefix, _ := strings.Cut(rest, "/")
	if strings.Contains(host, "@") {
		return fail("a user is not allowed (it belongs in BasicAuth)")
	}
	if hasScheme {
		host = strings.Replace(host, "%25", "%", 1) // the zone of an IPv6 address, as RFC 6874 writes it in URLs
	}
	hostport, problem := parseHostPort(host, !hasScheme)
	if problem != "" {
		return fail("%s", problem)
	}
	prefix = strings.TrimSuffix(prefix, "/")
	u := url.URL{Scheme: scheme, Host: hostport}
	if prefix != "" {
		unescaped, err := url.PathUnescape(prefix)
		if err != nil {
			return fail("malformed path")
		}
		if path.Clean("/"+unescaped) != "/"+unescaped {
			return fail("path is not in its shortest form")
		}
		u.Path, u.RawPath = "/"+unescaped, "/"+prefix
		u.RawPath = u.EscapedPath() // escapes what had to be
	}
	return address{url: u}, nil
}

// parseHostPort checks a host with an optional port, which in a bare address are
// both optional. An IPv6 address has to be in brackets, unless it stands alone.
// It returns what was wrong, if anything.
func parseHostPort(s string, isBare bool) (hostport, problem string) {
	host, port := s, ""
	switch i := strings.LastIndexByte(s, ':'); {
	case s == "" || isIPv6(s):
	case s[0] == '[' && s[len(s)-1] == ']':
		host = s[1 : len(s)-1]
	case i >= 0:
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", "malformed host or port"
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			problem = fmt.Sprintf("port %q is not a number from 1 to 65535", port)
			if rest := strings.TrimLeft(port, "0123456789"); rest != "" && rest != port {
				problem += " (a path begins with a slash)"
			}
			return "", problem
		}
	}
	if strings.HasPrefix(s, "[") && !isIPv6(host) {
		return "", fmt.Sprintf("%q is not an IPv6 address", host)
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r > 0x7e || strings.ContainsRune("\"<>\\^`{|}[]", r) }) ||
		strings.Count(host, "%") > 1 || strings.Contains(host, "%") && !isIPv6(host) {
		return "", "malformed host"
	}
	if isBare {
		if host == "" {
			host = defaultHost
		}
		if port == "" {
			port = defaultPort
		}
	}
	switch {
	case host == "":
		return "", "no host"
	case port != "":
		return net.JoinHostPort(host, port), ""
	case isIPv6(host):
		return "[" + host + "]", ""
	}
	return host, ""
}

// isIPv6 reports whether s is an IPv6 address, possibly with a zone.
func isIPv6(s string) bool {
	ip, err := netip.ParseAddr(s)
	return err == nil && ip.Is6()
}

// isLoopback reports whether a connection to the address stays on this machine.
func (a address) isLoopback() bool {
	ip, _ := netip.ParseAddr(a.url.Hostname())
	return a.socket != "" || a.url.Hostname() == "localhost" || ip.IsLoopback()
}

// redactAddress hides a user and password in an address, and a query, where they
// are not allowed but may have been put.
func redactAddress(addr string) string {
	if i := strings.IndexByte(addr, '?'); i >= 0 {
		addr = addr[:i] + "?[redacted]"
	}
	if i := strings.LastIndexByte(addr, '@'); i >= 0 {
		scheme, _, ok := strings.Cut(addr[:i], "://")
		if !ok {
			return "[redacted]" + addr[i:]
		}
		if scheme != "unix" {
			return scheme + "://[redacted]" + addr[i:]
		}
	}
	return addr
}
