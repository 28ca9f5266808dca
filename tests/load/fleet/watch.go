package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
)

// watched are the requests that are asked at this moment, in turn.
type watched struct {
	mutex  sync.Mutex
	names  []int
	places map[int]int
	next   int
}

func (w *watched) begin(name int) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if _, known := w.places[name]; !known {
		w.places[name] = len(w.names)
		w.names = append(w.names, name)
	}
}

func (w *watched) end(name int) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	place, known := w.places[name]
	if !known {
		return
	}
	last := w.names[len(w.names)-1]
	w.names[place], w.places[last] = last, place
	w.names = w.names[:len(w.names)-1]
	delete(w.places, name)
}

func (w *watched) pick() (int, bool) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if len(w.names) == 0 {
		return 0, false
	}
	w.next++
	return w.names[w.next%len(w.names)], true
}

// runWatch reads `begin N` and `end N` (the number of a request in the file), until its input ends, and writes for
// each answer: number, when it was sent and when it was answered (Unix nanoseconds), status (0: no answer), 1 for yes.
// Every connection asks at its own even pace, so that all processes behind the address are asked.
func runWatch(o options, p *prepared, input io.Reader, output io.Writer) (outcome, error) {
	requests := p.byKind[p.kinds[0]]
	now := &watched{places: map[int]int{}}
	stop := make(chan struct{})
	var writing sync.Mutex
	buffered := bufio.NewWriterSize(output, 1<<16)
	go func() {
		defer close(stop)
		lines := bufio.NewScanner(input)
		for lines.Scan() {
			command, number, _ := strings.Cut(lines.Text(), " ")
			name, err := strconv.Atoi(number)
			switch {
			case err != nil || name < 0 || name >= len(requests):
			case command == "begin":
				now.begin(name)
			case command == "end":
				now.end(name)
			}
		}
	}()
	go func() {
		for range time.Tick(20 * time.Millisecond) {
			writing.Lock()
			buffered.Flush()
			writing.Unlock()
		}
	}()
	began := time.Now()
	work := func(c *connection, seen map[string]*tally) {
		tick := time.NewTicker(time.Duration(float64(o.connections) / o.rate * float64(time.Second)))
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			name, any := now.pick()
			if !any {
				continue
			}
			sent := time.Now()
			a, err := c.ask(requests[name])
			answered := time.Now()
			tallyOf(seen, p.kinds[0]).add(answered.Sub(sent), a, err)
			isYes := 0
			if a.isYes {
				isYes = 1
			}
			writing.Lock()
			fmt.Fprintln(buffered, name, sent.UnixNano(), answered.UnixNano(), a.status, isYes)
			writing.Unlock()
		}
	}
	tallies := onConnections(o, work)
	writing.Lock()
	defer writing.Unlock()
	buffered.Flush()
	return summarizeAll(tallies, time.Since(began).Seconds()), nil
}
