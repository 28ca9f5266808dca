package keywright

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
)

func (s *licenceServer) counted() map[string]int64 {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	sums := map[string]int64{}
	for _, events := range s.batches {
		for _, event := range events {
			sums[event.Feature] += event.Count
		}
	}
	return sums
}

func report(t *testing.T, client *Client, feature string, count int64) {
	t.Helper()
	if err := client.ReportUsage(UsageEvent{Feature: feature, Count: count}); err != nil {
		t.Fatal(err)
	}
}

func TestUsageIsAddedUpAndSentOnceAMinute(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	report(t, client, "api_logging", 2)
	report(t, client, "api_logging", 3)
	report(t, client, "batch_processing", 1)
	p.clock.Advance(50 * time.Second)
	if len(p.server.counted()) != 0 {
		t.Error("sent too early")
	}
	p.clock.Advance(10 * time.Second)
	if got := p.server.counted(); got["api_logging"] != 5 || got["batch_processing"] != 1 || len(p.server.batches) != 1 {
		t.Errorf("counted %v", got)
	}
}

// An answer that is lost must not count the batch twice: it is sent again under its id, unchanged.
func TestABatchIsSentAgainUnderItsID(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	report(t, client, "api_logging", 5)
	lost := 0
	p.server.with(func() {
		p.server.before = func(_ http.ResponseWriter, request *http.Request, raw []byte) bool {
			if request.URL.Path != usagePath || lost > 0 {
				return false
			}
			lost++
			p.server.route(discard{}, request, "", nil, raw) // counted, and the answer never arrives
			panic(http.ErrAbortHandler)
		}
	})
	p.clock.Advance(time.Minute)
	report(t, client, "api_logging", 7)
	p.clock.Advance(time.Minute)
	if got := p.server.counted(); got["api_logging"] != 12 || len(p.server.batches) != 2 || lost != 1 {
		t.Errorf("counted %v in %d batches", got, len(p.server.batches))
	}
}

type discard struct{}

func (discard) Header() http.Header            { return http.Header{} }
func (discard) Write(text []byte) (int, error) { return len(text), nil }
func (discard) WriteHeader(int)                {}

func TestUsageOfAnOutageIsSentAfterIt(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	p.server.with(func() { p.server.before = away })
	report(t, client, "api_logging", 1)
	p.clock.Advance(20 * time.Minute)
	p.server.with(func() { p.server.before = nil })
	p.clock.Advance(10 * time.Minute)
	if got := p.server.counted(); got["api_logging"] != 1 {
		t.Errorf("counted %v", got)
	}
}

func TestOverTheQuotaIsTold(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"in the answer": func(w http.ResponseWriter) { jsonTo(w, map[string]any{"success": true, "code": "QUOTA_EXCEEDED"}) },
		"as a problem":  func(w http.ResponseWriter) { problemTo(w, http.StatusTooManyRequests, "QUOTA_EXCEEDED") },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlugin(t)
			client, _ := p.start()
			p.server.with(func() {
				p.server.replace[usagePath] = func(w http.ResponseWriter, _ *http.Request) { answer(w) }
			})
			report(t, client, "api_logging", 1)
			p.clock.Advance(time.Minute)
			if !client.Status().QuotaExceeded {
				t.Error("nobody was told")
			}
			p.want(client, StateActive, allFeatures...)
			p.server.with(func() { delete(p.server.replace, usagePath) })
			report(t, client, "api_logging", 1)
			p.clock.Advance(time.Minute)
			if client.Status().QuotaExceeded {
				t.Error("a new day was not noticed")
			}
		})
	}
}

func TestABatchThatIsNotAcceptedIsDropped(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	p.server.with(func() {
		p.server.replace[usagePath] = func(w http.ResponseWriter, _ *http.Request) {
			problemTo(w, http.StatusBadRequest, "FIELD_INVALID")
		}
	})
	report(t, client, "api_logging", 1)
	p.clock.Advance(time.Minute)
	p.server.with(func() { delete(p.server.replace, usagePath) })
	report(t, client, "api_logging", 2)
	p.clock.Advance(time.Minute)
	if got := p.server.counted(); got["api_logging"] != 2 || !strings.Contains(p.log.String(), "does not accept a usage batch") {
		t.Errorf("counted %v", got)
	}
}

func TestANoToUsageIsANo(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	p.server.with(func() {
		p.server.replace[usagePath] = func(w http.ResponseWriter, _ *http.Request) {
			problemTo(w, http.StatusUnauthorized, "TOKEN_REVOKED")
		}
	})
	report(t, client, "api_logging", 1)
	p.clock.Advance(time.Minute)
	p.want(client, StateRevoked)
}

func TestCloseSendsWhatWaits(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	report(t, client, "api_logging", 4)
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if got := p.server.counted(); got["api_logging"] != 4 {
		t.Errorf("counted %v", got)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if err := client.Deactivate(context.Background()); err != ErrClosed {
		t.Errorf("Deactivate after Close: %v", err)
	}
}

func TestUsageThatIsNoneIsRefused(t *testing.T) {
	u := newUsage()
	for name, events := range map[string][]UsageEvent{
		"no feature":   {{Count: 1}},
		"no count":     {{Feature: "a"}},
		"negative":     {{Feature: "a", Count: -1}},
		"long feature": {{Feature: strings.Repeat("a", 64), Count: 1}},
		"odd feature":  {{Feature: "API-logging", Count: 1}},
		"overflow":     {{Feature: "a", Count: math.MaxInt64}, {Feature: "a", Count: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			wantReason(t, u.add(events), ReasonOptionsInvalid)
		})
	}
	if len(u.pending) != 0 {
		t.Error("a part of a refused call was counted")
	}
}

func TestALargeCountIsSentInParts(t *testing.T) {
	u := newUsage()
	if err := u.add([]UsageEvent{{Feature: "a", Count: 2*maximumEventCount + 1}}); err != nil {
		t.Fatal(err)
	}
	var counts []int64
	for waiting, _ := u.next(); waiting != nil; waiting, _ = u.next() {
		counts = append(counts, waiting.Events[0].Count)
		u.settled(false)
	}
	if fmt.Sprint(counts) != "[1000000000 1000000000 1]" {
		t.Errorf("sent %v", counts)
	}
}

func TestUsageIsBounded(t *testing.T) {
	u := newUsage()
	var events []UsageEvent
	for index := range maximumFeatures {
		events = append(events, UsageEvent{Feature: fmt.Sprintf("f%d", index), Count: 1})
	}
	if err := u.add(events); err != nil {
		t.Fatal(err)
	}
	wantReason(t, u.add([]UsageEvent{{Feature: "one_more", Count: 1}}), ReasonOptionsInvalid)
	if err := u.add(events[:1]); err != nil {
		t.Errorf("a known feature was refused: %v", err)
	}
	sent := 0
	for {
		waiting, err := u.next()
		if waiting == nil || err != nil {
			break
		}
		if len(waiting.Events) > maximumBatchEvents {
			t.Errorf("a batch of %d", len(waiting.Events))
		}
		sent += len(waiting.Events)
		u.settled(false)
	}
	if sent != maximumFeatures {
		t.Errorf("sent %d", sent)
	}
}
