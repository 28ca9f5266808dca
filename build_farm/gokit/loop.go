package keywright

import (
	"context"
	"errors"
	"time"
)

const (
	// Nothing happens within this time that HasFeature would not see by itself; a machine that slept is noticed.
	longestSleep = time.Minute
	// After a revocation the kit asks rarely: a quarantine can be lifted, but a fleet must not hammer.
	revokedIntervals = 12
)

// loop asks when it is time to. It is the one goroutine that owns the agent.
type loop struct {
	*agent
	client   *Client
	due      time.Duration // monotonic: when to ask next
	dueAt    time.Time     // the same by the timeline, which also moves while a machine sleeps
	usageDue time.Duration
	failures int
	last     *Status
	asked    chan struct{} // closed after the first question
}

func (l *loop) run(ctx context.Context) {
	defer close(l.client.finished)
	defer l.client.cancel()
	l.usageDue = l.Clock.Monotonic() + l.usageInterval()
	_ = l.ask(ctx) // the status carries what went wrong
	l.publish()
	close(l.asked)
	for {
		timer := l.Clock.NewTimer(l.untilWake())
		select {
		case <-ctx.Done():
			timer.Stop()
			l.saveTime()
			return
		case <-timer.C():
		case asked := <-l.client.requests:
			timer.Stop()
			err := asked.do(l, ctx)
			l.publish()
			asked.done <- err
		}
		l.doWhatIsDue(ctx)
	}
}

func (l *loop) doWhatIsDue(ctx context.Context) {
	if !l.isDeactivated && l.isDue() {
		_ = l.ask(ctx) // the status carries it
	}
	if l.Clock.Monotonic() >= l.usageDue {
		_ = l.sendUsage(ctx)
	}
	l.publish()
}

func (l *loop) isDue() bool {
	return l.Clock.Monotonic() >= l.due || !l.timeline.now(l.Clock).Before(l.dueAt)
}

func (l *loop) untilWake() time.Duration {
	now := l.timeline.now(l.Clock)
	wait := min(longestSleep, l.usageDue-l.Clock.Monotonic())
	if !l.isDeactivated {
		wait = min(wait, l.due-l.Clock.Monotonic(), l.dueAt.Sub(now))
	}
	if end := l.snapshot().nextEnd(now); !end.IsZero() {
		wait = min(wait, end.Sub(now))
	}
	return max(wait, time.Millisecond)
}

// ask asks, and sets the time to ask next.
func (l *loop) ask(ctx context.Context) error {
	if l.isDeactivated {
		return refuse(ReasonDeactivated, "this installation was deactivated")
	}
	wait, err := l.agent.ask(ctx)
	l.schedule(wait, err)
	return err
}

func (l *loop) schedule(wait time.Duration, err error) {
	var refused *no
	switch {
	case err == nil:
		l.failures = 0
	case errors.As(err, &refused):
		l.failures = 0
		wait = l.around(l.interval())
		if l.effect == effectRevoke {
			wait = l.around(revokedIntervals * l.interval())
		}
		wait = max(wait, l.retryAfter)
	default:
		l.failures++
		wait = l.backoff(l.failures, l.retryAfter)
	}
	l.due = l.Clock.Monotonic() + wait
	l.dueAt = l.timeline.now(l.Clock).Add(wait)
}

// publish lets readers see the agent as it is now, and tells listeners if that is news.
func (l *loop) publish() {
	snapshot := l.snapshot()
	snapshot.quota = l.client.usage.isExceeded()
	l.client.current.Store(snapshot)
	status := snapshot.status()
	if l.last != nil && status.differs(*l.last) {
		l.Logger.Info("licence status", "state", string(status.State), "code", string(status.Code),
			"reason", string(status.Reason), "features", status.Features)
		l.client.listeners.tell(status)
	}
	l.last = &status
}

func (l *loop) saveTime() {
	if err := l.save(); err != nil {
		l.Logger.Warn("the state file cannot be written", "error", err)
	}
}

// verdict is the 200 of validate.
type verdict struct {
	Valid          *bool  `json:"valid"`
	Code           Code   `json:"code"`
	FeaturesActive *bool  `json:"features_active"`
	Detail         string `json:"detail"`
}

// validate asks for a verdict on the token and obeys it. A code that is not known changes nothing.
func (l *loop) validate(ctx context.Context) error {
	if !l.snapshot().hasToken(l.timeline.now(l.Clock)) {
		return refuse(ReasonNoToken, "there is no token to validate")
	}
	reply, err := l.post(ctx, validatePath, l.token.text, map[string]any{
		"plugin_name": l.build.PluginName, "plugin_token": l.token.text,
	})
	if err != nil {
		return err
	}
	var said verdict
	if !reply.isJSON(&said) || said.Valid == nil {
		return l.obey(ctx, l.read(reply))
	}
	if *said.Valid {
		if said.Code == CodeEntitlementsChanged {
			return l.ask(ctx)
		}
		return nil
	}
	if effects[said.Code] == effectNone {
		return refuse(ReasonNotAnAnswer, "a verdict with the unknown code %q", clip(string(said.Code)))
	}
	return l.obey(ctx, &no{code: said.Code, detail: clip(said.Detail)})
}

// obey does what an error of another endpoint means for the licence, and gives it back.
func (l *loop) obey(ctx context.Context, err error) error {
	var refused *no
	if !errors.As(err, &refused) {
		return err
	}
	if needsAuthentication(err) {
		l.token = nil
		return l.ask(ctx)
	}
	l.hearNo(refused)
	l.schedule(0, err)
	return err
}

// deactivate drops the lease before it asks: a place that was given back must not be used offline.
func (l *loop) deactivate(ctx context.Context) error {
	if !l.snapshot().hasToken(l.timeline.now(l.Clock)) {
		return refuse(ReasonNoToken, "there is no token to give back")
	}
	l.lease = nil
	if err := l.save(); err != nil {
		return err
	}
	reply, err := l.post(ctx, deactivatePath, l.token.text, map[string]any{})
	if err != nil {
		return err
	}
	var said map[string]any
	if reply.status != 204 && !reply.isJSON(&said) {
		return l.obey(ctx, l.read(reply))
	}
	l.token, l.isDeactivated = nil, true
	l.effect, l.code, l.reason, l.detail = effectNone, "", ReasonDeactivated, "this installation was deactivated"
	return nil
}
