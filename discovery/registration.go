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
	"github.com/lictor-go/consul/internal/pace"
)

// RegisterOptions are the options of [Register]. Nil, and the zero
// RegisterOptions, consist of defaults.
type RegisterOptions struct {
	// TTL is that of the check that is added to a service without any check, 30
	// seconds if 0. The agent deregisters such a service when that check has been
	// critical for ten minutes, or ten TTLs if that is longer. A negative TTL
	// adds no check: the service then counts as passing until it is deregistered,
	// even if its process is gone. A TTL for a service that has checks of its own
	// is an error.
	TTL time.Duration

	// Status is the first status that is reported: passing, warning or critical.
	// The default is the worst Status of the service's TTL checks, and passing if
	// they have none. Without a TTL check, Status is an error, and so is Health.
	Status consul.HealthStatus

	// Health returns the status of the service. It is called before the service is
	// registered and before each heartbeat. What is reported is the worse of its
	// status, which may be what SetStatus allows, and of the status set by
	// SetStatus, with the note of that one. Nil means none.
	//
	// Calls never overlap. The context ends after a quarter of the TTL (1 s to
	// 10 s), and when the registration is closed. A function that has not returned
	// after twice that time makes the heartbeat fail, or the first registration; no
	// status is reported until it returns, so the check turns critical when its TTL
	// is over. The function has a goroutine of its own. A panic in it is not
	// recovered.
	Health func(ctx context.Context) (status consul.HealthStatus, note string)

	// Background makes Register return at once, without waiting for the agent,
	// and register the service as soon as the agent accepts it. Without it a first
	// registration that fails is an error of Register.
	Background bool

	// PollInterval is the time between two requests for the state of a service in
	// the agent, give or take 20 %. There are such requests only for a service that
	// has checks without a TTL, no check at all, or a TTL of more than nine times
	// the interval: heartbeats would not notice, or not soon, that the agent has
	// lost it. 10 seconds if 0 or less.
	PollInterval time.Duration

	// CloseTimeout bounds Close. 5 seconds if 0 or less.
	CloseTimeout time.Duration

	// Logger logs each event; nil logs nothing. Of failures in a row the first one
	// is logged as a warning, the others at debug level, and a success after them
	// at info level, as are the registration and its end; the failure of Close is an
	// error. OnEvent is called with [RegisteredEvent], [HeartbeatFailedEvent],
	// [HealedEvent] and [DeregisteredEvent]; nil is none.
	Logger  *slog.Logger
	OnEvent func(Event)
}

const (
	defaultTTL             = 30 * time.Second
	defaultDeregisterAfter = 10 * time.Minute
	defaultPollInterval    = 10 * time.Second
	defaultCloseTimeout    = 5 * time.Second
	maxPollInterval        = 100 * 365 * 24 * time.Hour // so that it can be exceeded by 20 %
)

// Registration is a service that is kept registered. Its methods may be called
// concurrently.
type Registration struct {
	client  *consul.Client
	id      string
	name    string          // as it was first registered
	opts    RegisterOptions // with defaults
	observe observer

	wake    chan struct{} // there is a new status or definition
	updates chan updateRequest
	stop    chan struct{} // closed when Close begins
	done    chan struct{} // closed when the goroutine has ended
	closed  chan struct{} // closed when Close has ended, and closeErr is set
	cancel  context.CancelFunc

	mu       sync.Mutex
	wanted   *definition // of the last Update
	set      ttlStatus   // by SetStatus
	err      error       // of the last round of requests
	stopping bool        // stop is closed

	closeErr error
}

// Register registers a service with the agent and keeps it registered, and its
// TTL checks up to date, until Close, which deregisters it.
//
// The service replaces one with the same ID together with that one's checks. Its
// first status is reported at once, then at every heartbeat: every third of the
// shortest TTL, give or take 20 %. If the agent no longer knows the service or a
// check, the service is registered again; otherwise never, as that would wake
// everybody who watches it. If the agent does not respond, or refuses, the
// heartbeat is tried again after a growing random pause of at most a third of the
// TTL (1 s to 10 s), for as long as it takes.
//
// Checks that the agent runs itself, such as HTTP checks, start critical unless
// they have a Status.
//
// ctx bounds the first registration only, and so do 10 seconds for each of its
// requests: an agent whose servers have no leader may not respond. After its end
// the service stays registered, and healthy while the program drains, until Close
// is called. An error means that the service is not registered, or that it is
// unknown whether it is; Register has then tried to remove it, which may take a
// second longer than ctx. To be registered when the agent may come up later than
// the program, see [RegisterOptions.Background].
//
// A definition that no agent can accept, or with an ID that no request could
// name, is an error without any request. So is a TTL below 100 ms, and a port that is
// not from 0 to 65535, which agents would accept. reg is copied. The Status of its TTL
// checks is replaced by the reported one.
func Register(ctx context.Context, c *consul.Client, reg *consul.AgentServiceRegistration, opts *RegisterOptions) (*Registration, error) {
	switch {
	case ctx == nil:
		return nil, errNilContext
	case c == nil:
		return nil, errNilClient
	case reg == nil:
		return nil, errNilRegistration
	case reg.Name == "":
		return nil, errors.New("discovery: AgentServiceRegistration.Name is empty")
	}
	var o RegisterOptions
	if opts != nil {
		o = *opts
	}
	o.PollInterval = min(pace.Positive(o.PollInterval, defaultPollInterval), maxPollInterval)
	o.CloseTimeout = pace.Positive(o.CloseTimeout, defaultCloseTimeout)
	def, err := newDefinition(reg, o.TTL)
	if err != nil {
		return nil, err
	}
	if err := o.checkEffect(reg, def); err != nil {
		return nil, err
	}
	fail := func(err error) error { return fmt.Errorf("discovery: registering service %q: %w", def.reg.ID, err) }
	if err := ctx.Err(); err != nil {
		return nil, fail(err)
	}
	if o.Status == "" {
		o.Status = def.initialStatus()
	}
	if err := checkStatus(o.Status); err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	lifetime, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := newRegistration(c, def, o, cancel)
	h := &heartbeater{r: r, lifetime: lifetime, def: def, pending: true}
	if !o.Background {
		if err := h.round(ctx, round{beat: true, poll: true}); h.taken == nil {
			cancel()
			if h.unsure {
				r.forget()
			}
			return nil, fail(err)
		}
	}
	go h.run()
	return r, nil
}

func newRegistration(c *consul.Client, def *definition, o RegisterOptions, cancel context.CancelFunc) *Registration {
	if def.reg.Namespace != "" {
		c = c.WithNamespace(def.reg.Namespace)
	}
	if def.reg.Partition != "" {
		c = c.WithPartition(def.reg.Partition)
	}
	return &Registration{
		client:  c,
		id:      def.reg.ID,
		name:    def.reg.Name,
		opts:    o,
		observe: observer{o.Logger, o.OnEvent},
		wake:    make(chan struct{}, 1),
		updates: make(chan updateRequest),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
		closed:  make(chan struct{}),
		cancel:  cancel,
		wanted:  def,
		set:     ttlStatus{status: o.Status},
		err:     notYet(def.reg.ID, nil),
	}
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
// at once, and at every heartbeat. It does not wait for the agent. If statuses
// are set faster than they can be reported, the last one is reported. Anything
// except passing, warning and critical is reported as critical, with an output
// that names it, and logged. A service without a TTL check has no status to be
// reported. After Close it has no effect.
func (r *Registration) SetStatus(status consul.HealthStatus, note string) {
	s, err := readStatus(status, note)
	r.mu.Lock()
	same := r.set == s
	r.set = s
	r.mu.Unlock()
	if same {
		return
	}
	if err != nil {
		r.warnOfStatus(err)
	}
	r.wakeUp()
}

// wakeUp makes the goroutine perform a round soon.
func (r *Registration) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// updateRequest is a request of Update for a round within ctx.
type updateRequest struct {
	ctx  context.Context
	done chan error
}

var errClosed = errors.New("the registration is closed")

// Update makes reg the definition that is kept registered, and returns when the
// agent has accepted it. Its ID must be that of the registration, and so must its
// namespace and its partition. Checks that keep their ID keep their status. A
// maintenance mode of the service ends.
//
// A definition that is the same as before is not sent again, as long as the agent
// still has the service; the status is reported, as at a heartbeat. So Update is
// also the way to be sure that all is well.
//
// If the agent refuses the definition, does not respond, or ctx ends, Update
// returns an error, and the definition is tried again as a failed heartbeat is,
// until the agent accepts it or another Update replaces it. Until then the agent
// may have either definition, or parts of both, since it may change the service
// before it refuses a check. The heartbeats go on for the checks that it accepted
// last, as often as the shorter TTL wants. Of several calls at the same time the last
// one wins, and the others may return its result.
//
// A definition that no agent can accept changes nothing. The options are not checked
// again: [RegisterOptions.TTL] has no effect while there are checks of the service's
// own, and [RegisterOptions.Health] and SetStatus have none without a TTL check.
func (r *Registration) Update(ctx context.Context, reg *consul.AgentServiceRegistration) error {
	switch {
	case ctx == nil:
		return errNilContext
	case reg == nil:
		return errNilRegistration
	case reg.Name == "":
		return errors.New("discovery: AgentServiceRegistration.Name is empty")
	}
	def, err := newDefinition(reg, r.opts.TTL)
	if err != nil {
		return err
	}
	r.mu.Lock()
	if err = def.replaces(r.wanted); err == nil {
		r.wanted = def
	}
	r.mu.Unlock()
	if err == nil {
		err = r.await(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			r.wakeUp() // the definition is tried again at once
		}
		return fmt.Errorf("discovery: updating service %q: %w", r.id, err)
	}
	return nil
}

// await waits until the goroutine has performed a round, and returns its error.
func (r *Registration) await(ctx context.Context) error {
	u := updateRequest{ctx, make(chan error, 1)}
	select {
	case r.updates <- u:
	case <-r.stop:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-u.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-r.closed: // something does not obey the context
		return errClosed
	}
}

// Err returns the error of the last attempt to register the service, to report its
// status or to poll the agent, or nil if it succeeded. An attempt that an end of a
// context cut off does not count. With [RegisterOptions.Background] there is an
// error until the agent has accepted the service for the first time.
func (r *Registration) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// notYet returns the error of a service that was not registered yet, because of
// err, or because nothing was tried if err is nil.
func notYet(id string, err error) error {
	if err == nil {
		return fmt.Errorf("discovery: service %q is not registered yet", id)
	}
	return fmt.Errorf("discovery: service %q is not registered yet: %w", id, err)
}

// Close ends the heartbeats and deregisters the service, also when the context
// given to Register has ended. It tries again when the agent does not respond,
// and returns within CloseTimeout. That the agent does not know the service is no
// error. After an error the service may still be registered, and so it may if the
// agent has not responded to a registration for a fifth of CloseTimeout: agents go on
// with a request that was given up. Further calls return what the first one did, and
// wait for it.
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

// endRounds ends the goroutine. A request that is under way gets some time to end
// by itself: an agent goes on with a request when the client hangs up, so a
// registration that was cut off could come after the deregistration.
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
	case <-grace.C: // something does not obey its context
	case <-ctx.Done():
	}
}

// deregister removes the service from the agent.
func (r *Registration) deregister(ctx context.Context) error {
	pauses := pace.Backoff{Min: 100 * time.Millisecond, Max: time.Second}
	for failures := 1; ; failures++ {
		err := r.client.Agent().ServiceDeregister(ctx, r.id)
		if err == nil || errors.Is(err, consul.ErrUnknownService) {
			return nil
		}
		pause := pauses.Pause(failures, min(pace.RetryAfter(err), pauses.Max), rand.Float64())
		// The error tells what was wrong and not that the time is over.
		if pace.IsRefusal(err) || !pace.Sleep(ctx, pause) {
			return fmt.Errorf("discovery: deregistering service %q: %w", r.id, err)
		}
	}
}

// forget tries to remove what a registration may have left in the agent that got
// no response: the agent may yet accept it.
func (r *Registration) forget() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r.client.Agent().ServiceDeregister(ctx, r.id)
}

// warnOfStatus logs what was wrong with a status.
func (r *Registration) warnOfStatus(err error) {
	if r.opts.Logger != nil {
		r.opts.Logger.Warn("invalid status, reporting critical", "service", r.name, "id", r.id, "error", err)
	}
}
