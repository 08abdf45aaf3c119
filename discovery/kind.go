package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lictor-go/consul"
)

// replace registers the definition that shall be registered. A check that becomes one of
// another kind under its ID goes on to run as before, too, unless the agent drops it
// meanwhile: a TTL check would turn critical although nobody reports on it any more, an
// HTTP check although there is no such server any more.
func (h *heartbeater) replace(ctx context.Context, s ttlStatus) error {
	if err := h.findOldKinds(ctx); err != nil {
		return err
	}
	if err := h.register(ctx, h.def, s); err != nil || len(h.oldKinds) == 0 {
		return err
	}
	for _, id := range h.oldKinds {
		if err := h.deregisterCheck(ctx, id); err != nil && !errors.Is(err, consul.ErrNotFound) {
			return err
		}
	}
	err := h.register(ctx, h.def, s)
	if err == nil {
		h.oldKinds = nil
	}
	return err
}

// findOldKinds notes the checks that the agent has with the ID of a check of the
// definition, but of another kind. An agent that does not list them tells nothing.
func (h *heartbeater) findOldKinds(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.callTimeout())
	defer cancel()
	checks, err := h.r.client.Agent().Checks(ctx, &consul.QueryOptions{Filter: fmt.Sprintf("ServiceID == %q", h.r.id)})
	if err != nil && ctx.Err() != nil {
		return err // the registration would not get a response either
	}
	for _, wanted := range h.def.reg.Checks {
		has := checks[wanted.CheckID]
		if has != nil && has.ServiceID == h.r.id && has.Type != "" && has.Type != kindOf(wanted) && !slices.Contains(h.oldKinds, wanted.CheckID) {
			h.oldKinds = append(h.oldKinds, wanted.CheckID)
		}
	}
	return nil
}

func (h *heartbeater) deregisterCheck(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, h.callTimeout())
	defer cancel()
	return h.r.client.Agent().CheckDeregister(ctx, id)
}

// kindOf returns what agents call the kind of a check. If several kinds are set, it is
// the one that they show.
func kindOf(c *consul.AgentServiceCheck) string {
	switch {
	case c.GRPC != "":
		return "grpc"
	case c.HTTP != "":
		return "http"
	case c.TTL > 0:
		return "ttl"
	case c.TCP != "":
		return "tcp"
	case c.UDP != "":
		return "udp"
	case c.AliasNode != "" || c.AliasService != "":
		return "alias"
	case c.DockerContainerID != "":
		return "docker"
	case len(c.Args) > 0:
		return "script"
	case c.H2PING != "":
		return "h2ping"
	case c.OSService != "":
		return "os_service"
	}
	return ""
}
