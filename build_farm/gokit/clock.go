package keywright

import "time"

// Clock is where this package gets its time from.
//
// Now is the wall clock, which its owner can set. Monotonic never goes back while the process lives. NewTimer
// fires once, after the duration.
type Clock interface {
	Now() time.Time
	Monotonic() time.Duration
	NewTimer(after time.Duration) Timer
}

// Timer fires once on its channel.
type Timer interface {
	C() <-chan time.Time
	Stop() bool
}

type systemClock struct{ started time.Time }

func newSystemClock() *systemClock { return &systemClock{started: time.Now()} }

func (c *systemClock) Now() time.Time           { return time.Now() }
func (c *systemClock) Monotonic() time.Duration { return time.Since(c.started) }
func (c *systemClock) NewTimer(after time.Duration) Timer {
	return systemTimer{time.NewTimer(after)}
}

type systemTimer struct{ timer *time.Timer }

func (t systemTimer) C() <-chan time.Time { return t.timer.C }
func (t systemTimer) Stop() bool          { return t.timer.Stop() }

// timeline is what the kit holds time to be: the last signed time plus the monotonic clock, or the wall clock where
// that is later. A timeline is immutable.
//
// The monotonic clock stands still while a machine sleeps, so the wall clock has a say too. But a wall clock that was
// ahead when the server last told the time is believed only less that error: set wrong, it locks nobody out.
type timeline struct {
	signed    time.Time     // newest time the server signed; zero before the first
	monotonic time.Duration // when it was learnt
	wallError time.Duration // how far the wall clock was ahead then; never negative
}

// certain is the earliest that it can be now: no clock of this machine can push it forward or back.
func (t timeline) certain(clock Clock) time.Time {
	if t.signed.IsZero() {
		return time.Time{}
	}
	return t.signed.Add(clock.Monotonic() - t.monotonic)
}

// now is the time to hold ends against.
func (t timeline) now(clock Clock) time.Time {
	wall := clock.Now().Add(-t.wallError)
	if certain := t.certain(clock); certain.After(wall) {
		return certain
	}
	return wall
}

// told is the timeline after a token that answers a fresh nonce showed what time it is. It never goes back.
func (t timeline) told(signed time.Time, clock Clock) timeline {
	if certain := t.certain(clock); certain.After(signed) {
		signed = certain
	}
	// iat is in whole seconds: less than one is no error.
	wallError := clock.Now().Sub(signed)
	if wallError < time.Second {
		wallError = 0
	}
	return timeline{signed: signed, monotonic: clock.Monotonic(), wallError: wallError}
}

// restored is the timeline of a new process that knows the newest time of an earlier one.
func restored(signed time.Time, clock Clock) timeline {
	return timeline{signed: signed, monotonic: clock.Monotonic()}
}
