package main

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
)

const (
	dialTimeout = 2 * time.Second
	// How long the loop sleeps at most, to look for connections that no answer comes on.
	longestSleep = time.Second
)

// due is a request, and the instant that its latency counts from.
type due struct {
	at      time.Time
	kind    string
	request []byte
}

// feed gives the next request that is due at this instant. If none is, it says when one will be; false means that
// nothing more is to be sent.
type feed func(now time.Time) (next due, at time.Time, isMore bool)

// wire is a connection of the loop; it is made when first needed and again after an error.
type wire struct {
	socket   *os.File
	fd       int
	received received
	asked    due
	sentAt   time.Time
	isBusy   bool
}

// loop holds many connections in one thread: a load that shares the machine with what it measures has to be light, and
// goroutines for all of them take several times the processor.
type loop struct {
	address string
	poll    int
	wires   []*wire
	free    []*wire
	byFd    map[int]*wire
	from    time.Time
	seen    map[string]*tally
}

// runLoop sends what `next` gives, and tells of what was due from `from` on.
func runLoop(o options, from time.Time, next feed) (outcome, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	poll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return outcome{}, err
	}
	defer syscall.Close(poll)
	l := &loop{address: o.address, poll: poll, byFd: map[int]*wire{}, from: from, seen: map[string]*tally{}}
	for range o.connections {
		l.wires = append(l.wires, &wire{})
	}
	l.free = append(l.free, l.wires...)
	if err = l.run(next); err != nil {
		return outcome{}, err
	}
	return summarizeAll([]map[string]*tally{l.seen}, o.seconds), nil
}

func (l *loop) run(next feed) error {
	events := make([]syscall.EpollEvent, 64)
	for isMore := true; isMore || len(l.free) < len(l.wires); {
		var sleep time.Duration
		sleep, isMore = l.sendDue(next, isMore)
		// In whole milliseconds, rounded up: what is due meanwhile leaves together, up to one too late, which counts.
		n, err := syscall.EpollWait(l.poll, events, int((sleep+time.Millisecond-1)/time.Millisecond))
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return err
		}
		for _, event := range events[:max(n, 0)] {
			if w := l.byFd[int(event.Fd)]; w != nil {
				l.receive(w)
			}
		}
		if n <= 0 {
			l.giveUpOld()
		}
	}
	for _, w := range l.wires {
		l.close(w)
	}
	return nil
}

// sendDue sends what is due while connections are free, and tells how long there is nothing to do.
func (l *loop) sendDue(next feed, isMore bool) (time.Duration, bool) {
	for isMore && len(l.free) > 0 {
		now := time.Now()
		var request due
		var at time.Time
		if request, at, isMore = next(now); !isMore {
			break
		}
		if at.After(now) {
			return min(longestSleep, at.Sub(now)), true
		}
		l.send(request)
	}
	if len(l.free) == len(l.wires) {
		return 0, isMore // all is said and answered
	}
	return longestSleep, isMore
}

func (l *loop) send(request due) {
	w := l.free[0]
	l.free = l.free[1:]
	w.asked, w.sentAt, w.isBusy = request, time.Now(), true
	if w.socket == nil {
		if err := l.dial(w); err != nil {
			l.done(w, answer{}, err)
			return
		}
	}
	// What a plugin sends fits the socket's buffer, of which all is free.
	if n, err := syscall.Write(w.fd, request.request); err != nil {
		l.done(w, answer{}, &net.OpError{Op: "write", Err: err})
	} else if n < len(request.request) {
		l.done(w, answer{}, io.ErrShortWrite)
	}
}

func (l *loop) dial(w *wire) error {
	connected, err := net.DialTimeout("tcp", l.address, dialTimeout)
	if err != nil {
		return err
	}
	defer connected.Close()
	if w.socket, err = connected.(*net.TCPConn).File(); err != nil {
		return err
	}
	w.fd, w.received = int(w.socket.Fd()), received{}
	l.byFd[w.fd] = w
	if err = syscall.SetNonblock(w.fd, true); err != nil {
		return err
	}
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(w.fd)}
	return syscall.EpollCtl(l.poll, syscall.EPOLL_CTL_ADD, w.fd, &event)
}

func (l *loop) receive(w *wire) {
	n, err := syscall.Read(w.fd, w.received.room())
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		return
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	if !w.isBusy { // a server may close a connection that nothing was asked on
		l.close(w)
		return
	}
	if err != nil {
		l.done(w, answer{}, &net.OpError{Op: "read", Err: err})
		return
	}
	w.received.add(n)
	a, isWhole, err := w.received.parse()
	if !isWhole && err == nil {
		return
	}
	if a.isLast {
		l.close(w)
	}
	l.done(w, a.answer, err)
}

// giveUpOld ends the connections whose answer has not come for long.
func (l *loop) giveUpOld() {
	for _, w := range l.wires {
		if w.isBusy && time.Since(w.sentAt) > answerTimeout {
			l.done(w, answer{}, os.ErrDeadlineExceeded)
		}
	}
}

// done tells of an answer, or of none, and sets the connection free.
func (l *loop) done(w *wire, a answer, err error) {
	if err != nil {
		l.close(w)
	}
	if !w.asked.at.Before(l.from) {
		tallyOf(l.seen, w.asked.kind).add(time.Since(w.asked.at), a, err)
	}
	w.isBusy = false
	l.free = append(l.free, w)
}

func (l *loop) close(w *wire) {
	if w.socket != nil {
		delete(l.byFd, w.fd)
		w.socket.Close()
		w.socket = nil
	}
}
