package keywright

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

const closeTimeout = 5 * time.Second

// ErrClosed is the answer of a client after Close.
var ErrClosed = errors.New("keywright: the client is closed")

// Client is a plugin's licence while it runs. All methods may be called from any goroutine.
type Client struct {
	clock     Clock
	current   atomic.Pointer[snapshot]
	manifest  *Manifest
	requests  chan request
	listeners *listeners
	usage     *usage

	cancel    context.CancelFunc
	finished  chan struct{}
	closeOnce sync.Once
}

// Start verifies the package that this binary was started from, asks the server, and keeps asking until ctx is done
// or Close is called. It waits for the first answer, but no longer than five seconds.
//
// An error is a *Refusal: the package, the embedded constants or the options are not what they must be, and the plugin
// should not run. A server that is away or says no is not an error: Status tells, HasFeature answers no, and the basic
// job goes on.
func Start(ctx context.Context, options Options) (*Client, error) {
	build, err := embeddedBuild()
	if err != nil {
		return nil, err
	}
	own, err := newSettings(options, build)
	if err != nil {
		return nil, err
	}
	return start(ctx, own, build)
}

func start(ctx context.Context, own settings, build *build) (*Client, error) {
	verified, err := verifyPackage(own.executable, own.PackageDir, build)
	if err != nil {
		return nil, err
	}
	agent, err := newAgent(own, build, verified.signature)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	client := &Client{
		clock: own.Clock, manifest: verified.manifest, requests: make(chan request),
		listeners: newListeners(), usage: newUsage(), cancel: cancel, finished: make(chan struct{}),
	}
	loop := &loop{agent: agent, client: client, asked: make(chan struct{})}
	loop.begin()
	loop.publish()
	go client.listeners.run(ctx)
	go loop.run(ctx)
	// Most servers answer at once, and then the first HasFeature is right. One that does not must not hold up the
	// plugin's basic job.
	patience := time.NewTimer(own.patience)
	defer patience.Stop()
	select {
	case <-loop.asked:
	case <-patience.C:
	case <-ctx.Done():
	}
	return client, nil
}

// HasFeature says whether the customer may use the feature right now. It takes no lock and makes no request.
func (c *Client) HasFeature(code string) bool {
	now := c.current.Load()
	return now.allows(code, now.timeline.now(c.clock))
}

// Feature gives a feature with its typed value, as far as the token carries one.
func (c *Client) Feature(code string) Value {
	now := c.current.Load()
	value := Value{Granted: now.allows(code, now.timeline.now(c.clock))}
	if value.Granted && now.token != nil {
		value.raw = now.token.values[code]
	}
	return value
}

// Permissions is what the newest token says this plugin may do. It is empty when the server said no.
func (c *Client) Permissions() Permissions {
	now := c.current.Load()
	if now.token == nil {
		return Permissions{}
	}
	return now.token.permissions
}

// RateLimit is the customer's allowance for the plugin's own work, which the plugin keeps.
func (c *Client) RateLimit() RateLimit {
	permissions := c.Permissions()
	return RateLimit{RequestsPerMinute: permissions.RateLimit, EventsPerDay: permissions.Quota}
}

// Status tells where the plugin stands right now.
func (c *Client) Status() Status { return c.current.Load().status() }

// Manifest is the verified manifest of the package. It must not be changed.
func (c *Client) Manifest() *Manifest { return c.manifest }

// OnChange calls listener with each later change of status, in order, one call at a time.
func (c *Client) OnChange(listener func(Status)) { c.listeners.add(listener) }

// Refresh asks the server now, and gives the status after.
func (c *Client) Refresh(ctx context.Context) (Status, error) {
	err := c.onLoop(ctx, (*loop).ask)
	return c.Status(), err
}

// Validate lets the server judge the token at hand, and obeys its verdict.
func (c *Client) Validate(ctx context.Context) (Status, error) {
	err := c.onLoop(ctx, (*loop).validate)
	return c.Status(), err
}

// Deactivate gives the installation's place back: token and lease are gone, and the client asks no more.
func (c *Client) Deactivate(ctx context.Context) error {
	return c.onLoop(ctx, (*loop).deactivate)
}

// ReportUsage counts events of the plugin's own work. They are sent in batches, each counted once by the server
// however often it has to be sent; what was not sent when the process is killed is lost.
func (c *Client) ReportUsage(events ...UsageEvent) error { return c.usage.add(events) }

// Close sends what usage is waiting, within five seconds, and stops asking. It keeps the installation's place and
// its lease: see Deactivate. What was granted stays granted until its end.
func (c *Client) Close() error {
	c.closeOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		// A server that is away must not keep a plugin from ending; the loop keeps the batch, which is lost then.
		_ = c.onLoop(ctx, func(l *loop, _ context.Context) error { return l.sendUsage(ctx) })
		c.cancel()
		<-c.finished
	})
	return nil
}

// request is something to do on the loop's goroutine.
type request struct {
	do   func(*loop, context.Context) error
	done chan error
}

// onLoop runs do on the goroutine that owns the agent. ctx bounds the waiting only: what began is finished.
func (c *Client) onLoop(ctx context.Context, do func(*loop, context.Context) error) error {
	asked := request{do: do, done: make(chan error, 1)}
	select {
	case c.requests <- asked:
	case <-c.finished:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-asked.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
