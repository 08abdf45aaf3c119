package gomicro

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
)

// definition returns what is registered for a node of a service. A ttl of 0 or
// less means that there are no heartbeats.
func (s *settings) definition(service *registry.Service, node *registry.Node, ttl time.Duration) (*consul.AgentServiceRegistration, error) {
	if service.Name == "" {
		return nil, fmt.Errorf("gomicro: a service has no name")
	}
	if s.health != nil && ttl <= 0 {
		return nil, fmt.Errorf("gomicro: the option Health has no effect on service %q: want a TTL", service.Name)
	}
	host, port := splitAddress(node.Address)
	if s.tcp > 0 && port == 0 {
		return nil, fmt.Errorf("gomicro: node %q has the address %q: the option TCPCheck wants host:port", node.Id, node.Address)
	}
	def := &consul.AgentServiceRegistration{
		ID:      node.Id,
		Name:    service.Name,
		Address: host,
		Port:    port,
		Meta:    encodeMeta(node.Metadata),
		Tags:    append(encodeTags(node.Metadata, service.Endpoints, service.Version), s.tags...),
		Check:   s.check(node.Address, host, ttl),
	}
	if s.connect {
		def.Connect = &consul.AgentServiceConnect{Native: true}
	}
	return def, nil
}

// check returns the check of a node, or nil if it has none.
func (s *settings) check(address, host string, ttl time.Duration) *consul.AgentServiceCheck {
	switch {
	case s.tcp > 0:
		return &consul.AgentServiceCheck{
			TCP:      address,
			Interval: s.tcp,
			// A go-micro server listens before it registers. Without this it
			// would be unknown until the first run of the check.
			Status:                         consul.HealthPassing,
			DeregisterCriticalServiceAfter: deregisterAfter(s.tcp),
		}
	case s.http != nil:
		check := *s.http
		if strings.Contains(host, ":") {
			host = "[" + strings.Replace(host, "%", "%25", 1) + "]" // % is before a zone
		}
		check.HTTP = strings.Replace(check.HTTP, hostPlaceholder, host, 1)
		check.DeregisterCriticalServiceAfter = deregisterAfter(check.Interval)
		return &check
	case ttl > 0:
		return &consul.AgentServiceCheck{
			TTL:                            ttl,
			DeregisterCriticalServiceAfter: deregisterAfter(ttl),
		}
	}
	return nil
}

// deregisterAfter returns how long a service whose check runs or is due every d
// stays critical before the agent removes it. Agents allow no less than a minute.
func deregisterAfter(d time.Duration) time.Duration {
	const slack = 5 * time.Second
	return min(max(d, time.Minute), math.MaxInt64-slack) + slack
}

// splitAddress splits host:port. What is something else, such as the name of a
// queue, is a host without a port.
func splitAddress(address string) (host string, port int) {
	host, digits, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return address, 0
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return address, 0
	}
	return host, int(n)
}

// joinAddress is the reverse of splitAddress.
func joinAddress(host string, port int) string {
	if port == 0 && net.ParseIP(host) == nil {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}
