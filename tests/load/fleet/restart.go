package main

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// restarted is the document of the restart mode: every attempt, and how long each machine took to be served.
type restarted struct {
	outcome
	Machines int     `json:"machines"`
	Served   int     `json:"served"`
	ServedIn summary `json:"served_in"`
}

// runRestart starts machines evenly over some seconds. Each connects from an address of its own (of the loopback
// network), asks, and while it is told to come back does so, no sooner and hardly later than it was told.
func runRestart(o options, p *prepared) (restarted, error) {
	requests := p.byKind[p.kinds[0]]
	if len(requests) < o.clients {
		return restarted{}, errors.New("there are fewer requests than machines")
	}
	attempts := make([]map[string]*tally, o.clients)
	served := newTally()
	var lock sync.Mutex
	var all sync.WaitGroup
	start := time.Now()
	for number := range o.clients {
		all.Add(1)
		go func() {
			defer all.Done()
			begins := start.Add(seconds(o.seconds * float64(number) / float64(o.clients)))
			time.Sleep(time.Until(begins))
			attempts[number] = map[string]*tally{}
			seen := tallyOf(attempts[number], p.kinds[0])
			if insist(machine(o.address, number), requests[number], seen, begins.Add(o.patience)) {
				lock.Lock()
				served.add(time.Since(begins), answer{status: 200}, nil)
				lock.Unlock()
			}
		}()
	}
	all.Wait()
	took := time.Since(start).Seconds()
	result := restarted{outcome: summarizeAll(attempts, took), Machines: o.clients}
	result.ServedIn = served.summarize(took)
	result.Served = result.ServedIn.Count
	return result, nil
}

func machine(address string, number int) *connection {
	// One source address has too few ports for a whole fleet.
	from := net.IPv4(127, 0, byte(1+number/200%200), byte(1+number%200))
	return &connection{address: address, from: &net.TCPAddr{IP: from}}
}

// insist asks until it is served; false when it was refused for good, or ran out of patience.
func insist(c *connection, request []byte, seen *tally, until time.Time) bool {
	for time.Now().Before(until) {
		asked := time.Now()
		a, err := c.ask(request)
		c.close()
		seen.add(time.Since(asked), a, err)
		wait := a.retryAfter
		switch {
		case err != nil:
			wait = time.Second
		case a.status == 200:
			return true
		case !a.hasRetryAfter:
			return false
		}
		time.Sleep(wait + time.Duration(rand.Int64N(int64(time.Second))))
	}
	return false
}
