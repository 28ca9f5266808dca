package keywright

import (
	"context"
	"sync"
)

// listeners calls the host's functions on a goroutine of their own, so that none can hold up a refresh, and any may
// call the client.
type listeners struct {
	mutex   sync.Mutex
	calls   []func(Status)
	waiting []Status
	signal  chan struct{}
}

func newListeners() *listeners { return &listeners{signal: make(chan struct{}, 1)} }

func (l *listeners) add(call func(Status)) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.calls = append(l.calls, call)
}

func (l *listeners) tell(status Status) {
	l.mutex.Lock()
	if len(l.calls) > 0 { // who listens later asks for the status as it is then
		l.waiting = append(l.waiting, status)
	}
	l.mutex.Unlock()
	select {
	case l.signal <- struct{}{}:
	default: // it is already awake
	}
}

func (l *listeners) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.signal:
			l.callAll()
		}
	}
}

func (l *listeners) callAll() {
	l.mutex.Lock()
	waiting, calls := l.waiting, l.calls
	l.waiting = nil
	l.mutex.Unlock()
	for _, status := range waiting {
		for _, call := range calls {
			call(status)
		}
	}
}
