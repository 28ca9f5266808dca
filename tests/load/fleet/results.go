package main

import (
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"time"
)

// tally is what one worker saw of one kind of request.
type tally struct {
	latencies []time.Duration
	statuses  map[int]int
	errors    map[string]int
	yes       int
	untold    int // refused without a Retry-After
}

func newTally() *tally { return &tally{statuses: map[int]int{}, errors: map[string]int{}} }

func (t *tally) add(took time.Duration, a answer, err error) {
	if err != nil {
		t.errors[nameOf(err)]++
		return
	}
	t.latencies = append(t.latencies, took)
	t.statuses[a.status]++
	if a.isYes {
		t.yes++
	}
	if (a.status == 429 || a.status == 503) && !a.hasRetryAfter {
		t.untold++
	}
}

func (t *tally) merge(other *tally) {
	t.latencies = append(t.latencies, other.latencies...)
	for status, count := range other.statuses {
		t.statuses[status] += count
	}
	for name, count := range other.errors {
		t.errors[name] += count
	}
	t.yes += other.yes
	t.untold += other.untold
}

func nameOf(err error) string {
	var network *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.As(err, &network):
		return network.Op + ": " + network.Err.Error()
	}
	return err.Error()
}

// summary is a tally for people and programs; latencies in milliseconds.
type summary struct {
	Count    int            `json:"count"`
	Rate     float64        `json:"rate"`
	Statuses map[string]int `json:"statuses"`
	Errors   map[string]int `json:"errors"`
	Yes      int            `json:"yes"`
	Untold   int            `json:"refused_without_retry_after"`
	P50      float64        `json:"p50_ms"`
	P90      float64        `json:"p90_ms"`
	P99      float64        `json:"p99_ms"`
	P999     float64        `json:"p999_ms"`
	Max      float64        `json:"max_ms"`
}

func (t *tally) summarize(seconds float64) summary {
	slices.Sort(t.latencies)
	s := summary{
		Count: len(t.latencies), Rate: float64(len(t.latencies)) / seconds, Statuses: map[string]int{},
		Errors: t.errors, Yes: t.yes, Untold: t.untold,
	}
	for status, count := range t.statuses {
		s.Statuses[strconv.Itoa(status)] = count
	}
	s.P50, s.P90, s.P99, s.P999 = t.quantile(0.5), t.quantile(0.9), t.quantile(0.99), t.quantile(0.999)
	s.Max = t.quantile(1)
	return s
}

// quantile gives the least latency that this part of all answers did not exceed.
func (t *tally) quantile(part float64) float64 {
	if len(t.latencies) == 0 {
		return 0
	}
	at := min(int(part*float64(len(t.latencies))), len(t.latencies)-1)
	return float64(t.latencies[at]) / float64(time.Millisecond)
}

// outcome is the document of a measurement: everything together, and by kind.
type outcome struct {
	Seconds float64            `json:"seconds"`
	All     summary            `json:"all"`
	Kinds   map[string]summary `json:"kinds"`
}

func summarizeAll(workers []map[string]*tally, seconds float64) outcome {
	together, all := map[string]*tally{}, newTally()
	for _, kinds := range workers {
		for kind, seen := range kinds {
			if together[kind] == nil {
				together[kind] = newTally()
			}
			together[kind].merge(seen)
			all.merge(seen)
		}
	}
	result := outcome{Seconds: seconds, Kinds: map[string]summary{}}
	for kind, seen := range together {
		result.Kinds[kind] = seen.summarize(seconds)
	}
	result.All = all.summarize(seconds)
	return result
}
