package definition

import (
	"errors"
	"reflect"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// CheckType is what the checks of services and of check/register have in common.
type CheckType struct {
	Name                           string
	Notes                          string
	Status                         string
	ScriptArgs                     []string
	HTTP                           string
	H2PING                         string
	H2PingUseTLS                   bool
	Header                         map[string][]string
	Method                         string
	Body                           string
	DisableRedirects               bool
	TCP                            string
	TCPUseTLS                      bool
	UDP                            string
	Interval                       state.WireDuration
	DockerContainerID              string
	Shell                          string
	GRPC                           string
	GRPCUseTLS                     bool
	OSService                      string
	TLSServerName                  string
	TLSSkipVerify                  bool
	AliasNode                      string
	AliasService                   string
	Timeout                        state.WireDuration
	TTL                            state.WireDuration
	SuccessBeforePassing           int
	FailuresBeforeWarning          int
	FailuresBeforeCritical         int
	DeregisterCriticalServiceAfter state.WireDuration
	OutputMaxSize                  int
	Args                           []string
	ServiceID                      string

	Maintenance bool `json:"-"` // not a definition but a maintenance mode

	ScriptArgsSnake                     []string           `json:"script_args"`
	DeregisterCriticalServiceAfterSnake state.WireDuration `json:"deregister_critical_service_after"`
	DockerContainerIDSnake              string             `json:"docker_container_id"`
	TLSServerNameSnake                  string             `json:"tls_server_name"`
	TLSSkipVerifySnake                  bool               `json:"tls_skip_verify"`
	TCPUseTLSSnake                      bool               `json:"tcp_use_tls"`
	GRPCUseTLSSnake                     bool               `json:"grpc_use_tls"`
	ServiceIDSnake                      string             `json:"service_id"`
	H2PingUseTLSSnake                   bool               `json:"h2ping_use_tls"`
	DisableRedirectsSnake               bool               `json:"disable_redirects"`
}

// ServiceCheck is a check in the definition of a service. Its ServiceID is read
// but not used.
type ServiceCheck struct {
	CheckID   string
	ProxyHTTP string
	ProxyGRPC string
	CheckType
}

// isEmpty reports whether nothing is in a check that counts: a duration of 0 does not,
// nor does the service.
func (c ServiceCheck) isEmpty() bool {
	c.Interval.Set, c.Timeout.Set, c.TTL.Set = false, false, false
	c.DeregisterCriticalServiceAfter = state.WireDuration{D: c.DeregisterAfter()}
	c.DeregisterCriticalServiceAfterSnake = state.WireDuration{}
	c.ServiceID, c.ServiceIDSnake = "", ""
	if len(c.args()) == 0 {
		c.Args, c.ScriptArgsSnake = nil, nil
	}
	return reflect.ValueOf(c).IsZero()
}

// Check is the body of check/register.
type Check struct {
	ID    string
	Token string
	CheckType
}

// durationError returns what is wrong with the first malformed duration.
func (c *CheckType) durationError() error {
	for _, d := range []state.WireDuration{c.Interval, c.Timeout, c.TTL, c.DeregisterCriticalServiceAfter, c.DeregisterCriticalServiceAfterSnake} {
		if d.Err != nil {
			return d.Err
		}
	}
	return nil
}

// Runnable tells why the agent does not run a check that is valid in itself.
func (c *CheckType) Runnable(v release.Version) error {
	if c.isScript() {
		return errors.New("Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true")
	}
	if c.OSService != "" {
		return errors.New("not implemented")
	}
	return nil
}

func (c *CheckType) args() []string {
	for _, a := range [][]string{c.ScriptArgs, c.Args, c.ScriptArgsSnake} {
		if len(a) > 0 {
			return a
		}
	}
	return nil
}

// OfService returns the ID of the service that the check is of, or "".
func (c *CheckType) OfService() string {
	if c.ServiceID != "" {
		return c.ServiceID
	}
	return c.ServiceIDSnake
}

// DeregisterAfter returns how long the check may be critical before its service is
// deregistered. 0 means for ever.
func (c *CheckType) DeregisterAfter() time.Duration {
	return c.DeregisterCriticalServiceAfter.Or(c.DeregisterCriticalServiceAfterSnake)
}

// IsAlias reports whether the check follows other checks.
func (c *CheckType) IsAlias() bool { return c.AliasNode != "" || c.AliasService != "" }

func (c *CheckType) isScript() bool { return len(c.args()) > 0 }

func (c *CheckType) isDocker() bool {
	return len(c.args()) > 0 && (c.DockerContainerID != "" || c.DockerContainerIDSnake != "")
}

// Kind returns the word for the kind of check.
func (c *CheckType) Kind() string {
	switch {
	case c.GRPC != "":
		return "grpc"
	case c.HTTP != "":
		return "http"
	case c.TTL.D > 0:
		return "ttl"
	case c.TCP != "":
		return "tcp"
	case c.UDP != "":
		return "udp"
	case c.IsAlias():
		return "alias"
	case c.isDocker():
		return "docker"
	case c.isScript():
		return "script"
	case c.H2PING != "":
		return "h2ping"
	case c.OSService != "":
		return "os_service"
	}
	return ""
}

// Validate returns what the agent reports of a check that it refuses.
func (c *CheckType) Validate(v release.Version) error {
	isRun := c.isScript() || c.HTTP != "" || c.TCP != "" || c.UDP != "" || c.GRPC != "" || c.H2PING != "" || c.OSService != ""
	switch {
	case c.Interval.D > 0 && c.TTL.D > 0:
		return errors.New("Interval and TTL cannot both be specified")
	case isRun && c.Interval.D <= 0 && v == release.V1_8_7:
		return errors.New("Interval must be > 0 for Script, HTTP, or TCP checks")
	case isRun && c.Interval.D <= 0:
		return errors.New("Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks")
	case isRun && c.IsAlias():
		return errors.New("Interval cannot be set for Alias checks")
	case c.IsAlias() && c.TTL.D > 0:
		return errors.New("TTL must be not be set for Alias checks")
	case !isRun && !c.IsAlias() && c.TTL.D <= 0:
		return errors.New("TTL must be > 0 for TTL checks")
	case c.OutputMaxSize < 0:
		return errors.New("MaxOutputMaxSize must be positive")
	case v == release.V1_21_4 && c.FailuresBeforeWarning > c.FailuresBeforeCritical:
		return errors.New("FailuresBeforeWarning can't be higher than FailuresBeforeCritical")
	}
	return nil
}

// IsStatus reports whether a word is the status of a check.
func IsStatus(s string) bool {
	return s == string(consul.HealthPassing) || s == string(consul.HealthWarning) || s == string(consul.HealthCritical)
}

// UnmarshalJSON implements [json.Unmarshaler], so that the errors in a nested
// definition are its own.
func (c *ServiceCheck) UnmarshalJSON(data []byte) error {
	type plain ServiceCheck
	return nestedCheckBody.decodeNested("Check", data, (*plain)(c), true)
}

func validateChecks(checks []*ServiceCheck, v release.Version, prefix string) error {
	for _, c := range checks {
		if c == nil {
			return ErrNull
		}
		if err := c.Validate(v); err != nil {
			return refusal.BadRequest("%s%v", prefix, err)
		}
	}
	for _, c := range checks {
		if c.Status != "" && !IsStatus(c.Status) {
			return refusal.BadRequest("Status for checks must 'passing', 'warning', 'critical'")
		}
	}
	return nil
}

// DurationText writes a duration, and zero as the given text.
func DurationText(d time.Duration, zero string) string {
	if d == 0 {
		return zero
	}
	return d.String()
}
