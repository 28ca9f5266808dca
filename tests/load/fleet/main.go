// Command fleet simulates a fleet of installed plugins: it sends requests that were prepared for it, over many
// connections that are kept open, and tells how long the answers took.
//
// In the paced mode requests leave on a fixed schedule and latency is counted from the scheduled instant, so that a
// server that stalls is charged for all that should have been sent meanwhile. In the closed mode every connection
// asks again as soon as it was answered. In the restart mode every request is a machine of its own that connects
// anew, and obeys Retry-After until it is served. In the watch mode the answers to named requests are reported one
// by one while standard input says which ones to ask.
//
// The result is one JSON document on standard output (in the watch mode: a line for each answer, then the document).
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

type options struct {
	address     string
	connections int
	seconds     float64
	warmup      float64
	rate        float64
	clients     int
	patience    time.Duration
	mix         map[string]int
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func run() error {
	var o options
	mode := flag.String("mode", "closed", "closed, paced, restart or watch")
	file := flag.String("requests", "", "file of prepared requests")
	mix := flag.String("mix", "", "weights of the kinds of request, such as validate=8,refresh=2; empty: all, as they come")
	flag.StringVar(&o.address, "address", "127.0.0.1:8000", "host and port of the server")
	flag.IntVar(&o.connections, "connections", 16, "connections kept open")
	flag.Float64Var(&o.seconds, "seconds", 10, "how long to measure; in the restart mode, how long machines keep starting")
	flag.Float64Var(&o.warmup, "warmup", 1, "how long to run before that")
	flag.Float64Var(&o.rate, "rate", 100, "requests a second (paced, watch)")
	flag.IntVar(&o.clients, "clients", 1000, "machines that start (restart)")
	flag.DurationVar(&o.patience, "patience", 180*time.Second, "how long a machine goes on asking (restart)")
	flag.Parse()

	var err error
	if o.mix, err = parseMix(*mix); err != nil {
		return err
	}
	prepared, err := readRequests(*file)
	if err != nil {
		return err
	}
	var result any
	switch *mode {
	case "closed":
		result, err = runClosed(o, prepared)
	case "paced":
		result, err = runPaced(o, prepared)
	case "restart":
		result, err = runRestart(o, prepared)
	case "watch":
		result, err = runWatch(o, prepared, os.Stdin, os.Stdout)
	default:
		err = fmt.Errorf("no mode is called %q", *mode)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func parseMix(text string) (map[string]int, error) {
	weights := map[string]int{}
	for _, part := range strings.Split(text, ",") {
		if part == "" {
			continue
		}
		name, number, _ := strings.Cut(part, "=")
		weight, err := strconv.Atoi(number)
		if err != nil || weight < 0 {
			return nil, fmt.Errorf("the mix %q is not kind=weight,…", text)
		}
		weights[name] = weight
	}
	return weights, nil
}
