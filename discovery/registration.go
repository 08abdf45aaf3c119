package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lictor-go/consul"
)

// RegisterOptions are the options of [Register]. Nil, and the zero
// RegisterOptions, consist of defaults.
type RegisterOptions struct {
	// TTL is that of the check that is added to a service without any check, 30
	// seconds by default. Such a service is deregistered by the agent when its
	// heartbeats have been missing for ten minutes, or ten TTLs if that is
	// longer. A negative TTL adds no check: the service then counts as passing
	// until it is deregistered, even if its process is gone. A TTL beside checks
	// of the service's own is an error.
	TTL time.Duration

	// Status is the first one that is reported: passing, warning or critical. It
	// is by default the worst that the TTL checks of the service have as their
	// Status, and passing if they have none. Without a TTL check it is an error,
	// and so is Health.
	Status consul.HealthStatus

	// Health is asked before the registration and before each heartbeat how the
	// service is. What is reported is the worse of its answer, which is read as by
	// SetStatus, and of the status set by SetStatus, with the note of that one. It
	// is never called twice at the same time. Its context ends after a quarter of
	// the TTL (1 s to 10 s). A function that hangs stops the heartbeats, and the
	// check turns critical when its TTL is over. Nil means none.
	Health func(ctx context.Context) (status consul.HealthStatus, note string)

	// Background makes Register return at once, without waiting for the agent,
	// and register the service as soon as the agent takes it. Without it a first
	// registration that fails is an error of Register.
	Background bool

	// PollInterval is the time between two looks at the agent for services that
	// have checks without a TTL, no check at all, or a TTL of more than nine
	// times the interval: their heartbeats would not notice, or not soon, that
	// the agent has lost them. 10 seconds if 0 or less.
	PollInterval time.Duration

	// CloseTimeout bounds Close. 5 seconds if 0 or less.
	CloseTimeout time.Duration

	// Logger gets what happens; nil is silent. Of failures in a row the first one
	// is a warning, and the others are for debugging. OnEvent is called with
	// [RegisteredEvent], [HeartbeatFailedEvent], [HealedEvent] and
	// [DeregisteredEvent]; nil is none.
	Logger  *slog.Logger
	OnEvent func(Event)
}

const (
	defaultTTL             = 30 * time.Second
	defaultDeregisterAfter = 10 * time.Minute
	defaultPollInterval    = 10 * time.Second
	defaultCloseTimeout    = 5 * time.Second
)

// Registration is a service that is kept registered. Its methods may be called
// concurrently.
type Registration struct {
	client  *consul.Client
	id      string
	name    string          // as it was first registered
	def     *definition     // used by the keeper alone
	opts    RegisterOptions // with defaults
	observe observer

	wake   chan struct{} // a status was set
	update chan update   // from Update
	stop   chan struct{} // closed when Close begins
	done   chan struct{} // closed when the goroutine has ended
	closed chan struct{} // closed when Close has ended, and closeErr is set
	cancel context.CancelFunc

	mu         sync.Mutex
	status     consul.HealthStatus
	note       string
	err        error // of the last round of calls
	registered bool  // the agent took a definition once
	stopping   bool  // stop is closed

	closeErr error
}

// Register registers a service with the agent and keeps it registered, and its
// TTL checks up to date, until Close, which deregisters it.
//
// The service replaces one with the same ID together with that one's checks. Its
// first status is reported at once, then at every heartbeat: every third of the
// shortest TTL, give or take a fifth. If the agent does not know the service or a
// check any more, the service is registered again; otherwise never, as that
// would wake everybody who watches it. If the agent does not answer, or refuses,
// the heartbeat is tried again after a growing pause of at most a third of the
// TTL (1 s to 10 s), for as long as it takes.
//
// Checks that the agent runs itself, such as HTTP checks, start critical unless
// they have a Status.
//
// ctx bounds the first registration only, and so do 10 seconds for each of its
// calls: an agent whose servers have no leader may not answer. After its end the
// service stays registered, and healthy while the program drains, until Close is
// called. An error means that the service is not registered, or that it is
// unknown whether it is; Register has then tried to remove it, which may take a
// second longer than ctx. To be registered when the agent may come up later than
// the program, see [RegisterOptions.Background].
//
// A TTL below 100 ms is an error. reg is copied. The Status of its TTL checks is
// replaced by the reported one.
func Register(ctx context.Context, c *consul.Client, reg *consul.AgentServiceRegistration, opts *RegisterOptions) (*Registration, error) {
	switch {
	case ctx == nil:
		return nil, errNilContext
	case c == nil:
		return nil, errNilClient
	case reg == nil || reg.Name == "":
		return nil, errors.New("discovery: AgentServiceRegistration.Name is empty")
	}
	var o RegisterOptions
	if opts != nil {
		o = *opts
	}
	o.PollInterval = positive(o.PollInterval, defaultPollInterval)
	o.CloseTimeout = positive(o.CloseTimeout, defaultCloseTimeout)
	def, err := newDefinition(reg, o.TTL)
	if err != nil {
		return nil, err
	}
	if err := o.checkEffect(reg, def); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("discovery: registering service %q: %w", def.reg.ID, err)
	}
	if o.Status == "" {
		o.Status = def.initialStatus()
	}
	if err := checkStatus(o.Status); err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	if reg.Namespace != "" {
		c = c.WithNamespace(reg.Namespace)
	}
	if reg.Partition != "" {
		c = c.WithPartition(reg.Partition)
	}
	r := &Registration{
		client:  c,
		id:      def.reg.ID,
		name:    reg.Name,
		def:     def,
		opts:    o,
		observe: observer{o.Logger, o.OnEvent},
		wake:    make(chan struct{}, 1),
		update:  make(chan update),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
		closed:  make(chan struct{}),
		status:  o.Status,
	}
	k := newKeeper(r)
	if !o.Background {
		k.round(ctx, true, true)
		if !k.registered {
			r.forget(k.cause)
			return nil, fmt.Errorf("discovery: registering service %q: %w", def.reg.ID, k.cause)
		}
	}
	var lifetime context.Context
	lifetime, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go k.run(lifetime)
	return r, nil
}

// checkEffect returns an error if an option has no effect on a service with the
// checks of the definition: whoever set it expects another thing than what there
// will be.
func (o *RegisterOptions) checkEffect(reg *consul.AgentServiceRegistration, def *definition) error {
	switch {
	case o.TTL > 0 && len(cloneRegistration(reg).Checks) > 0:
		return fmt.Errorf("discovery: RegisterOptions.TTL has no effect: service %q has checks of its own", def.reg.ID)
	case len(def.ttls) > 0:
	case o.Health != nil:
		return fmt.Errorf("discovery: RegisterOptions.Health has no effect: service %q has no TTL check", def.reg.ID)
	case o.Status != "":
		return fmt.Errorf("discovery: RegisterOptions.Status has no effect: service %q has no TTL check", def.reg.ID)
	}
	return nil
}

// ID returns the ID of the service instance.
func (r *Registration) ID() string { return r.id }

// SetStatus sets the status that is reported for the TTL checks of the service:
// at once, and at every heartbeat. It does not wait for the agent. Of statuses
// that are set faster than they can be reported, the last one is. What is none of
// passing, warning and critical is reported as critical, with an output that says
// so, and logged. A service without a TTL check has no status to be reported.
func (r *Registration) SetStatus(status consul.HealthStatus, note string) {
	status, note, err := readStatus(status, note)
	r.mu.Lock()
	same := r.status == status && r.note == note
	r.status, r.note = status, note
	r.mu.Unlock()
	if same {
		return
	}
	if err != nil {
		r.warnOfStatus(err)
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// update is what Update asks the keeper for.
type update struct {
	ctx  context.Context
	def  *definition
	done chan error
}

var errClosed = errors.New("the registration is closed")

// Update makes reg what is kept registered, and returns when the agent has taken
// it. Its ID must be that of the registration, and so must its namespace and its
// partition. Checks that keep their ID keep their status.
//
// A definition that is the same as before is not sent again, as long as the agent
// still has the service; the status is reported, as at a heartbeat. So Update is
// also the way to be sure that all is well.
//
// After an error the agent may have either definition; the new one is tried again
// as a failed heartbeat is. The end of ctx ends the attempt.
func (r *Registration) Update(ctx context.Context, reg *consul.AgentServiceRegistration) error {
	switch {
	case ctx == nil:
		return errNilContext
	case reg == nil || reg.Name == "":
		return errors.New("discovery: AgentServiceRegistration.Name is empty")
	}
	def, err := newDefinition(reg, r.opts.TTL)
	if err != nil {
		return err
	}
	fail := func(err error) error { return fmt.Errorf("discovery: updating service %q: %w", r.id, err) }
	if def.reg.ID != r.id {
		return fail(fmt.Errorf("the new ID is %q", def.reg.ID))
	}
	u := update{ctx, def, make(chan error, 1)}
	select {
	case r.update <- u:
		select {
		case err = <-u.done:
		case <-ctx.Done(): // a health function may not obey its context
			err = ctx.Err()
		}
	case <-r.done:
		err = errClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// Err returns the error of the last attempt to report the status, or nil if it
// succeeded. With [RegisterOptions.Background] there is an error until the agent
// has taken the service for the first time.
func (r *Registration) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.registered:
		return r.err
	case r.err != nil:
		return fmt.Errorf("discovery: service %q is not registered yet: %w", r.id, r.err)
	}
	return fmt.Errorf("discovery: service %q is not registered yet", r.id)
}

// Close ends the heartbeats and deregisters the service, also when the context
// given to Register has ended. It tries again when the agent does not answer,
// and returns within CloseTimeout. A service that the agent does not know is
// deregistered. After an error it may not be. Further calls return what the
// first one did.
func (r *Registration) Close() error {
	r.mu.Lock()
	first := !r.stopping
	r.stopping = true
	r.mu.Unlock()
	if first {
		ctx, cancel := context.WithTimeout(context.Background(), r.opts.CloseTimeout)
		defer cancel()
		r.endRounds(ctx)
		r.closeErr = r.deregister(ctx)
		close(r.closed)
		r.observe.emit(DeregisteredEvent{r.name, r.id, r.closeErr})
	}
	<-r.closed
	return r.closeErr
}

// endRounds ends the goroutine. A call that is under way gets some time to end
// by itself: an agent goes on with what it was asked when the client hangs up,
// so a registration that was cut off could come after the deregistration.
func (r *Registration) endRounds(ctx context.Context) {
	close(r.stop)
	defer r.cancel()
	grace := time.NewTimer(r.opts.CloseTimeout / 5)
	defer grace.Stop()
	select {
	case <-r.done:
		return
	case <-grace.C:
	}
	r.cancel()
	grace.Reset(r.opts.CloseTimeout / 5)
	select {
	case <-r.done:
	case <-grace.C: // a health function that does not return
	case <-ctx.Done():
	}
}

// deregister removes the service from the agent.
func (r *Registration) deregister(ctx context.Context) error {
	pauses := backoff{100 * time.Millisecond, time.Second}
	for failures := 1; ; failures++ {
		err := r.client.Agent().ServiceDeregister(ctx, r.id)
		if err == nil || errors.Is(err, consul.ErrUnknownService) {
			return nil
		}
		// Whoever reads the error wants to know what was wrong and not that
		// the time is over.
		if isRefusal(err) || !sleep(ctx, pauses.pause(failures, retryAfter(err), rand.Float64())) {
			return fmt.Errorf("discovery: deregistering service %q: %w", r.id, err)
		}
	}
}

// forget tries to remove what a failed registration may have left in the agent.
// An agent that answered has refused it; one that did not may yet take it.
func (r *Registration) forget(err error) {
	var status *consul.StatusError
	if errors.As(err, &status) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r.client.Agent().ServiceDeregister(ctx, r.id)
}

// isRefusal reports whether the agent will not do what it was asked however
// often it is asked.
func isRefusal(err error) bool {
	var status *consul.StatusError
	return errors.As(err, &status) && status.Code/100 == 4 &&
		!errors.Is(err, consul.ErrRateLimited) && status.Code != 408
}

// checkStatus returns an error if TTL checks cannot have the status.
func checkStatus(status consul.HealthStatus) error {
	if status != reportable(status) {
		return fmt.Errorf("status %q: want passing, warning or critical", status)
	}
	return nil
}

// readStatus returns what a status and its note are reported as, and an error if
// TTL checks cannot have the status.
func readStatus(status consul.HealthStatus, note string) (consul.HealthStatus, string, error) {
	err := checkStatus(status)
	if err == nil {
		return status, note, nil
	}
	if note != "" {
		note = ": " + note
	}
	return consul.HealthCritical, err.Error() + note, err
}

// warnOfStatus logs what was wrong with a status.
func (r *Registration) warnOfStatus(err error) {
	if r.opts.Logger != nil {
		r.opts.Logger.Warn("critical is reported instead of a wrong status", "service", r.name, "id", r.id, "error", err)
	}
}

// reportable returns a status that TTL checks can have.
func reportable(status consul.HealthStatus) consul.HealthStatus {
	switch status {
	case consul.HealthPassing, consul.HealthWarning:
		return status
	}
	return consul.HealthCritical
}

// worse returns the worse of two statuses.
func worse(a, b consul.HealthStatus) consul.HealthStatus {
	a, b = reportable(a), reportable(b)
	if a == consul.HealthCritical || b == consul.HealthPassing {
		return a
	}
	return b
}
