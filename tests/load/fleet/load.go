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
	return runLoop(o, from, func(now time.Time) (due, time.Time, bool) {
		if now.After(until) {
			return due{}, time.Time{}, false
		}
		kind, request := picker.pick()
		return due{now, kind, request}, now, true
	})
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
	total := int((o.warmup + o.seconds) * o.rate)
	number := 0
	return runLoop(o, start.Add(seconds(o.warmup)), func(now time.Time) (due, time.Time, bool) {
		if number == total {
			return due{}, time.Time{}, false
		}
		at := start.Add(seconds(float64(number) / o.rate))
		if at.After(now) {
			return due{}, at, true
		}
		number++
		kind, request := picker.pick()
		return due{at, kind, request}, at, true
	})
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
