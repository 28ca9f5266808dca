package keywright

import (
	"sync"
	"testing"
	"time"
)

// fakeClock moves only when told. Its monotonic clock is the truth; the wall clock can be set wrong.
type fakeClock struct {
	mutex     sync.Mutex
	changed   *sync.Cond
	base      time.Time
	elapsed   time.Duration
	asleep    time.Duration // time that passed while the monotonic clock stood still
	wallShift time.Duration
	timers    map[*fakeTimer]bool
}

type fakeTimer struct {
	clock   *fakeClock
	at      time.Duration
	channel chan time.Time
}

func newFakeClock() *fakeClock {
	clock := &fakeClock{base: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), timers: map[*fakeTimer]bool{}}
	clock.changed = sync.NewCond(&clock.mutex)
	return clock
}

// True is the real time: what an honest server's clock says.
func (c *fakeClock) True() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.base.Add(c.elapsed + c.asleep)
}

func (c *fakeClock) Now() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.base.Add(c.elapsed + c.asleep + c.wallShift)
}

func (c *fakeClock) Monotonic() time.Duration {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.elapsed
}

func (c *fakeClock) NewTimer(after time.Duration) Timer {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	timer := &fakeTimer{clock: c, at: c.elapsed + after, channel: make(chan time.Time, 1)}
	c.timers[timer] = true
	c.changed.Broadcast()
	return timer
}

func (t *fakeTimer) C() <-chan time.Time { return t.channel }

func (t *fakeTimer) Stop() bool {
	t.clock.mutex.Lock()
	defer t.clock.mutex.Unlock()
	active := t.clock.timers[t]
	delete(t.clock.timers, t)
	return active
}

// SetWall sets the wall clock wrong by shift.
func (c *fakeClock) SetWall(shift time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.wallShift = shift
}

// Sleep lets time pass as for a machine that is suspended.
func (c *fakeClock) Sleep(duration time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.asleep += duration
}

// Advance lets time pass from timer to timer. Before and after each, the one loop is waiting again, so that what a
// test then reads is all that the loop did.
func (c *fakeClock) Advance(duration time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for end := c.elapsed + duration; ; {
		c.waitIdle()
		next := end
		for timer := range c.timers {
			next = min(next, timer.at)
		}
		c.elapsed = max(c.elapsed, next)
		for timer := range c.timers {
			if timer.at <= c.elapsed {
				delete(c.timers, timer)
				timer.channel <- c.base
			}
		}
		c.waitIdle()
		if c.elapsed >= end && !c.isDue() {
			return
		}
	}
}

func (c *fakeClock) isDue() bool {
	for timer := range c.timers {
		if timer.at <= c.elapsed {
			return true
		}
	}
	return false
}

func (c *fakeClock) waitIdle() {
	for len(c.timers) == 0 {
		c.changed.Wait()
	}
}

func TestTimelineTakesTheLaterOfSignedTimeAndWall(t *testing.T) {
	clock := newFakeClock()
	line := timeline{}.told(clock.True(), clock)
	clock.elapsed = time.Hour
	cases := map[string]struct {
		shift time.Duration
		want  time.Duration
	}{
		"a right clock":              {0, time.Hour},
		"a clock set back":           {-240 * time.Hour, time.Hour},
		"a machine that slept a day": {24 * time.Hour, 25 * time.Hour},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			clock.SetWall(test.shift)
			if got := line.now(clock).Sub(clock.base); got != test.want {
				t.Errorf("%v has passed by the timeline, want %v", got, test.want)
			}
		})
	}
}

func TestTimelineForgivesAWallClockThatWasAhead(t *testing.T) {
	clock := newFakeClock()
	clock.SetWall(365 * 24 * time.Hour)
	line := timeline{}.told(clock.True(), clock)
	if got := line.now(clock); !got.Equal(clock.True()) {
		t.Errorf("the timeline says %v at %v", got, clock.True())
	}
	clock.SetWall(0)
	clock.elapsed = time.Minute
	if got := line.now(clock); !got.Equal(clock.True()) {
		t.Errorf("after the clock was mended the timeline says %v at %v", got, clock.True())
	}
}

func TestTimelineNeverGoesBack(t *testing.T) {
	clock := newFakeClock()
	line := timeline{}.told(clock.True(), clock)
	clock.elapsed = time.Hour
	line = line.told(clock.base, clock)
	if got := line.certain(clock); !got.Equal(clock.True()) {
		t.Errorf("an older iat moved the timeline to %v", got)
	}
}

func TestSystemClock(t *testing.T) {
	clock := newSystemClock()
	before := clock.Monotonic()
	<-clock.NewTimer(time.Millisecond).C()
	if clock.Monotonic()-before < time.Millisecond || clock.Now().IsZero() {
		t.Error("the system clock does not move")
	}
	if !clock.NewTimer(time.Hour).Stop() {
		t.Error("a stopped timer had fired")
	}
}
