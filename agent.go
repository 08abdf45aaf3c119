package consul

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strconv"
)

// Agent manages the services and checks of the local agent, and the agent itself.
// The agent passes changes on to the servers, within milliseconds if all is well.
//
// While the servers have no leader, calls to an agent that is itself a server
// may hang for up to a minute. Only the context limits them.
type Agent struct {
	c *Client
}

// ServiceRegister registers a service instance, or changes the one that has its
// ID. Checks of an instance that is registered again keep their status. To
// register the same instance again changes nothing and wakes nobody.
//
// PUT /v1/agent/service/register
func (a *Agent) ServiceRegister(ctx context.Context, r *AgentServiceRegistration) error {
	switch {
	case r == nil:
		return errors.New("consul: nil AgentServiceRegistration")
	case r.Name == "":
		return errors.New("consul: AgentServiceRegistration.Name is empty")
	}
	if err := checkAddressable("service ID", r.ID, r.Name); err != nil {
		return err
	}
	if err := r.checkChecks(); err != nil {
		return err
	}
	params := url.Values{}
	if r.ReplaceExistingChecks {
		params.Set("replace-existing-checks", "true")
	}
	return a.c.put(ctx, at("/v1/agent/service/register"), params, r)
}

// checkChecks refuses checks that could not be updated, and missing ones, for which
// agents break the connection.
func (r *AgentServiceRegistration) checkChecks() error {
	if r.Check != nil {
		if err := checkAddressable("check ID", r.Check.CheckID); err != nil {
			return err
		}
	}
	for i, check := range r.Checks {
		if check == nil {
			return fmt.Errorf("consul: AgentServiceRegistration.Checks[%d] is nil", i)
		}
		if err := checkAddressable("check ID", check.CheckID); err != nil {
			return err
		}
	}
	return nil
}

// checkAddressable refuses an ID that no path can hold: what is registered with
// it could not be updated or removed. The first of ids that is not empty counts.
func checkAddressable(what string, ids ...string) error {
	for _, id := range ids {
		if id != "" {
			return named("", what, id).err
		}
	}
	return nil
}

// ServiceDeregister removes a service instance with its checks. If there is no such
// instance, modern agents return ErrUnknownService, old ones no error.
//
// PUT /v1/agent/service/deregister/{service_id}
func (a *Agent) ServiceDeregister(ctx context.Context, serviceID string) error {
	return a.c.put(ctx, named("/v1/agent/service/deregister/", "service ID", serviceID), nil, nil)
}

// Services returns the service instances of the agent by their ID.
//
// GET /v1/agent/services
func (a *Agent) Services(ctx context.Context, q *QueryOptions) (map[string]*AgentService, error) {
	services, _, err := get[map[string]*AgentService](ctx, a.c, at("/v1/agent/services"), q)
	return services, err
}

// Service returns a service instance of the agent. With [QueryOptions.WaitHash]
// it waits until the instance's definition has another hash. If there is no such
// instance, or it goes while being waited for, the error is ErrUnknownService.
//
// GET /v1/agent/service/{service_id}
func (a *Agent) Service(ctx context.Context, serviceID string, q *QueryOptions) (*AgentService, *QueryMeta, error) {
	service, meta, err := get[AgentService](ctx, a.c, named("/v1/agent/service/", "service ID", serviceID), q)
	if err != nil {
		return nil, meta, err
	}
	return &service, meta, nil
}

// EnableServiceMaintenance puts a service instance into maintenance mode, which
// is a critical check with the reason in its notes. A second call changes
// nothing.
//
// PUT /v1/agent/service/maintenance/{service_id}
func (a *Agent) EnableServiceMaintenance(ctx context.Context, serviceID, reason string) error {
	return a.c.put(ctx, named("/v1/agent/service/maintenance/", "service ID", serviceID), maintenance(true, reason), nil)
}

// DisableServiceMaintenance ends the maintenance mode of a service instance. It
// is no error if there was none.
//
// PUT /v1/agent/service/maintenance/{service_id}
func (a *Agent) DisableServiceMaintenance(ctx context.Context, serviceID string) error {
	return a.c.put(ctx, named("/v1/agent/service/maintenance/", "service ID", serviceID), maintenance(false, ""), nil)
}

// EnableNodeMaintenance puts the agent's node with everything on it into
// maintenance mode. A second call changes nothing.
//
// PUT /v1/agent/maintenance
func (a *Agent) EnableNodeMaintenance(ctx context.Context, reason string) error {
	return a.c.put(ctx, at("/v1/agent/maintenance"), maintenance(true, reason), nil)
}

// DisableNodeMaintenance ends the maintenance mode of the agent's node. It is no
// error if there was none.
//
// PUT /v1/agent/maintenance
func (a *Agent) DisableNodeMaintenance(ctx context.Context) error {
	return a.c.put(ctx, at("/v1/agent/maintenance"), maintenance(false, ""), nil)
}

func maintenance(enable bool, reason string) url.Values {
	params := url.Values{"enable": {strconv.FormatBool(enable)}}
	if enable {
		params.Set("reason", reason)
	}
	return params
}

// Checks returns the checks of the agent, of its node and of its services, by
// their ID.
//
// GET /v1/agent/checks
func (a *Agent) Checks(ctx context.Context, q *QueryOptions) (map[string]*AgentCheck, error) {
	checks, _, err := get[map[string]*AgentCheck](ctx, a.c, at("/v1/agent/checks"), q)
	return checks, err
}

// CheckRegister registers a check, or changes the one that has its ID, which
// keeps its status.
//
// PUT /v1/agent/check/register
func (a *Agent) CheckRegister(ctx context.Context, r *AgentCheckRegistration) error {
	switch {
	case r == nil:
		return errors.New("consul: nil AgentCheckRegistration")
	case r.Name == "" && r.AgentServiceCheck.Name == "":
		return errors.New("consul: AgentCheckRegistration.Name is empty")
	}
	if err := checkAddressable("check ID", r.ID, r.CheckID, r.Name, r.AgentServiceCheck.Name); err != nil {
		return err
	}
	return a.c.put(ctx, at("/v1/agent/check/register"), nil, r)
}

// CheckDeregister removes a check. If there is no such check, modern agents return
// ErrUnknownCheck, old ones no error.
//
// PUT /v1/agent/check/deregister/{check_id}
func (a *Agent) CheckDeregister(ctx context.Context, checkID string) error {
	return a.c.put(ctx, named("/v1/agent/check/deregister/", "check ID", checkID), nil, nil)
}

// PassTTL marks a TTL check as passing and restarts its TTL. The note becomes the
// check's output. If the agent has no such TTL check, the error is
// ErrUnknownCheck.
//
// PUT /v1/agent/check/pass/{check_id}
func (a *Agent) PassTTL(ctx context.Context, checkID, note string) error {
	return a.c.put(ctx, named("/v1/agent/check/pass/", "check ID", checkID), url.Values{"note": {note}}, nil)
}

// WarnTTL marks a TTL check as warning. Everything else is as with PassTTL.
//
// PUT /v1/agent/check/warn/{check_id}
func (a *Agent) WarnTTL(ctx context.Context, checkID, note string) error {
	return a.c.put(ctx, named("/v1/agent/check/warn/", "check ID", checkID), url.Values{"note": {note}}, nil)
}

// FailTTL marks a TTL check as critical. Everything else is as with PassTTL.
//
// PUT /v1/agent/check/fail/{check_id}
func (a *Agent) FailTTL(ctx context.Context, checkID, note string) error {
	return a.c.put(ctx, named("/v1/agent/check/fail/", "check ID", checkID), url.Values{"note": {note}}, nil)
}

// UpdateTTL sets the status and the output of a TTL check, and restarts its TTL. The status is passing, warning or critical; "pass", "warn" and "fail"
// mean the same, as in the official client. Agents cut the output at 4 KiB unless
// the check has an OutputMaxSize. If the agent has no such TTL check, the error is
// ErrUnknownCheck.
//
// PUT /v1/agent/check/update/{check_id}
func (a *Agent) UpdateTTL(ctx context.Context, checkID string, status HealthStatus, output string) error {
	switch status {
	case HealthPassing, HealthWarning, HealthCritical:
	case "pass":
		status = HealthPassing
	case "warn":
		status = HealthWarning
	case "fail":
		status = HealthCritical
	default:
		return fmt.Errorf("consul: status %q: want passing, warning or critical", string(status))
	}
	return a.c.put(ctx, named("/v1/agent/check/update/", "check ID", checkID), nil, struct {
		Status HealthStatus
		Output string
	}{status, output})
}

// Self returns the agent's configuration and state.
//
// GET /v1/agent/self
func (a *Agent) Self(ctx context.Context) (*AgentSelf, error) {
	v, _, err := get[AgentSelf](ctx, a.c, at("/v1/agent/self"), nil)
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// Host returns a description of the agent's machine.
//
// GET /v1/agent/host
func (a *Agent) Host(ctx context.Context) (*AgentHost, error) {
	v, _, err := get[AgentHost](ctx, a.c, at("/v1/agent/host"), nil)
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// Version returns the agent's version. Old agents do not have this endpoint: the
// error is then ErrNotFound, and [Agent.Self] knows the version.
//
// GET /v1/agent/version
func (a *Agent) Version(ctx context.Context) (*AgentVersion, error) {
	v, _, err := get[AgentVersion](ctx, a.c, at("/v1/agent/version"), nil)
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// Metrics returns the agent's metrics.
//
// GET /v1/agent/metrics
func (a *Agent) Metrics(ctx context.Context) (*AgentMetrics, error) {
	v, _, err := get[AgentMetrics](ctx, a.c, at("/v1/agent/metrics"), nil)
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// MembersOptions select members of the gossip pool.
type MembersOptions struct {
	WAN     bool   // the servers of all datacenters, instead of the agents of this one
	Segment string // Consul Enterprise only
	Filter  string // an expression; old agents ignore it
}

// Members returns the members of the gossip pool that the agent sees, in no
// order.
//
// GET /v1/agent/members
func (a *Agent) Members(ctx context.Context, o MembersOptions) ([]*AgentMember, error) {
	var members []*AgentMember
	r, err := a.c.query(at("/v1/agent/members"), &QueryOptions{Filter: o.Filter})
	if err != nil {
		return nil, err
	}
	r.out = &members
	if o.WAN {
		r.params.Set("wan", "1")
	}
	if o.Segment != "" || o.Filter != "" {
		r.params.Set("segment", o.Segment)
	}
	if _, err := a.c.do(ctx, r); err != nil {
		return nil, err
	}
	return members, nil
}

// JoinOptions select a gossip pool.
type JoinOptions struct {
	WAN bool // that of the servers of all datacenters
}

// Join makes the agent join the cluster of which the agent at the address
// (host or host:port) is a member.
//
// PUT /v1/agent/join/{address}
func (a *Agent) Join(ctx context.Context, address string, o JoinOptions) error {
	params := url.Values{}
	if o.WAN {
		params.Set("wan", "1")
	}
	return a.c.put(ctx, named("/v1/agent/join/", "address", address), params, nil)
}

// Leave makes the agent leave its cluster and end. It returns when the agent has
// left, which takes a client agent about 5 s and a server about 11 s: give the
// context 30 s or more. If the context ends first, the agent leaves all the same.
//
// PUT /v1/agent/leave
func (a *Agent) Leave(ctx context.Context) error {
	return a.c.put(ctx, at("/v1/agent/leave"), nil, nil)
}

// ForceLeaveOptions are options of removing a node.
type ForceLeaveOptions struct {
	Prune bool // forget the node at once, instead of listing it as left
	WAN   bool // remove it from the pool of the servers of all datacenters
}

// ForceLeave makes the cluster treat a node that has failed as one that has left.
//
// PUT /v1/agent/force-leave/{node}
func (a *Agent) ForceLeave(ctx context.Context, node string, o ForceLeaveOptions) error {
	params := url.Values{}
	if o.Prune {
		params.Set("prune", "1")
	}
	if o.WAN {
		params.Set("wan", "1")
	}
	return a.c.put(ctx, named("/v1/agent/force-leave/", "node", node), params, nil)
}

// Reload makes the agent read its configuration files again.
//
// PUT /v1/agent/reload
func (a *Agent) Reload(ctx context.Context) error {
	return a.c.put(ctx, at("/v1/agent/reload"), nil, nil)
}

// maxLogLine bounds a line of Monitor. Agents write lines of some kilobytes.
const maxLogLine = 1 << 20

// Monitor yields the lines of the agent's log as they are written, from the
// level on (trace, debug, info, warn or err; the agent's default is info). It
// ends after an error, of which the end of ctx is one. To break the loop ends
// the request.
//
// GET /v1/agent/monitor
func (a *Agent) Monitor(ctx context.Context, level string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		r, err := a.c.query(at("/v1/agent/monitor"), nil)
		if err != nil {
			yield("", err)
			return
		}
		if level != "" {
			r.params.Set("loglevel", level)
		}
		resp, cancel, err := a.c.send(ctx, r)
		if err != nil {
			yield("", err)
			return
		}
		defer cancel()
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, maxLogLine)
		for lines.Scan() {
			if !yield(lines.Text(), nil) {
				return
			}
		}
		switch err := lines.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			yield("", a.c.fail(ctx, r, fmt.Errorf("%w: a line of more than %d bytes", ErrResponseTooLarge, maxLogLine)))
		case err != nil:
			yield("", a.c.fail(ctx, r, wrapRead(err)))
		default:
			yield("", a.c.fail(ctx, r, fmt.Errorf("the agent ended the log: %w", io.EOF)))
		}
	}
}
