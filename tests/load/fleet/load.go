package main

import (
	"errors"
	"sync"
	"time"
)

// runClosed has every connection ask again as soon as it was answered.
func runClosed(o options, p *prepared) (outcome, error) {
	picker, err := newPicker(p, o.mix)
	if err != nil {
		return outcome{}, err
	}
	from := time.Now().Add(seconds(o.warmup))
	until := from.Add(seconds(o.seconds))
	work := func(c *connection, seen map[string]*tally) {
		for {
			kind, request := picker.pick()
			asked := time.Now()
			if asked.After(until) {
				return
			}
			a, err := c.ask(request)
			if asked.After(from) {
				tallyOf(seen, kind).add(time.Since(asked), a, err)
			}
		}
	}
	return summarizeAll(onConnections(o, work), o.seconds), nil
}

type due struct {
	at      time.Time
	kind    string
	request []byte
}

// runPaced sends requests at fixed instants, by whichever connection is free; those that found none wait their turn,
// and their waiting counts.
func runPaced(o options, p *prepared) (outcome, error) {
	if o.rate <= 0 {
		return outcome{}, errors.New("a pace needs a rate")
	}
	picker, err := newPicker(p, o.mix)
	if err != nil {
		return outcome{}, err
	}
	start := time.Now().Add(50 * time.Millisecond)
	from := start.Add(seconds(o.warmup))
	total := int((o.warmup + o.seconds) * o.rate)
	queue := make(chan due, total)
	go func() {
		defer close(queue)
		for number := range total {
			at := start.Add(time.Duration(float64(number) / o.rate * float64(time.Second)))
			if wait := time.Until(at); wait > 0 {
				time.Sleep(wait)
			}
			kind, request := picker.pick()
			queue <- due{at, kind, request}
		}
	}()
	work := func(c *connection, seen map[string]*tally) {
		for next := range queue {
			a, err := c.ask(next.request)
			if next.at.After(from) {
				tallyOf(seen, next.kind).add(time.Since(next.at), a, err)
			}
		}
	}
	return summarizeAll(onConnections(o, work), o.seconds), nil
}

func onConnections(o options, work func(*connection, map[string]*tally)) []map[string]*tally {
	tallies := make([]map[string]*tally, o.connections)
	var all sync.WaitGroup
	for number := range tallies {
		tallies[number] = map[string]*tally{}
		all.Add(1)
		go func() {
			defer all.Done()
			c := &connection{address: o.address}
			defer c.close()
			work(c, tallies[number])
		}()
	}
	all.Wait()
	return tallies
}

func tallyOf(seen map[string]*tally, kind string) *tally {
	if seen[kind] == nil {
		seen[kind] = newTally()
	}
	return seen[kind]
}

func seconds(number float64) time.Duration { return time.Duration(number * float64(time.Second)) }
