package keywright

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"
)

const (
	maximumBatchEvents = 500
	maximumFeatures    = 2000
	maximumEventCount  = 1_000_000_000
)

// One code that the server cannot read would make it refuse the whole batch.
var featurePattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// UsageEvent counts one kind of the plugin's own work.
type UsageEvent struct {
	Feature string `json:"feature"`
	Count   int64  `json:"count"`
}

// batch is what was sent, or may have been, under one id: it is sent unchanged until it is known to be counted.
type batch struct {
	ID     string       `json:"batch_id"`
	Events []UsageEvent `json:"events"`
}

// usage adds up events until the loop sends them.
type usage struct {
	mutex    sync.Mutex
	pending  map[string]int64
	sending  *batch
	exceeded bool
}

func newUsage() *usage { return &usage{pending: map[string]int64{}} }

// add counts all events or none.
func (u *usage) add(events []UsageEvent) error {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	sums := map[string]int64{}
	features := len(u.pending)
	for _, event := range events {
		if event.Count < 1 || !featurePattern.MatchString(event.Feature) {
			return refuse(ReasonOptionsInvalid, "a usage event needs a feature code and a positive count")
		}
		before, known := sums[event.Feature]
		if !known {
			if before, known = u.pending[event.Feature]; !known {
				features++
			}
		}
		if event.Count > math.MaxInt64-before {
			return refuse(ReasonOptionsInvalid, "a usage count is too large")
		}
		sums[event.Feature] = before + event.Count
	}
	if features > maximumFeatures {
		return refuse(ReasonOptionsInvalid, "too many different features wait to be reported")
	}
	maps.Copy(u.pending, sums)
	return nil
}

// next gives the batch to send: the one under way, else a new one; nil when nothing waits.
func (u *usage) next() (*batch, error) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	if u.sending != nil || len(u.pending) == 0 {
		return u.sending, nil
	}
	id, err := randomText()
	if err != nil {
		return nil, err
	}
	made := &batch{ID: id}
	for _, feature := range slices.Sorted(maps.Keys(u.pending)) {
		if len(made.Events) == maximumBatchEvents {
			break
		}
		count := min(u.pending[feature], maximumEventCount)
		made.Events = append(made.Events, UsageEvent{Feature: feature, Count: count})
		if u.pending[feature] -= count; u.pending[feature] == 0 {
			delete(u.pending, feature)
		}
	}
	u.sending = made
	return made, nil
}

// settled: the server has counted the batch, or will never.
func (u *usage) settled(exceeded bool) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	u.sending, u.exceeded = nil, exceeded
}

func (u *usage) isExceeded() bool {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	return u.exceeded
}

func (l *loop) usageInterval() time.Duration { return min(usageInterval, l.interval()) }

// sendUsage sends every batch that waits, and sets the time to try again.
func (l *loop) sendUsage(ctx context.Context) error {
	l.usageDue = l.Clock.Monotonic() + l.usageInterval()
	for l.snapshot().hasToken(l.timeline.now(l.Clock)) {
		waiting, err := l.client.usage.next()
		if waiting == nil || err != nil {
			return err
		}
		if err := l.sendBatch(ctx, waiting); err != nil {
			l.usageDue = max(l.usageDue, l.Clock.Monotonic()+l.retryAfter)
			return err
		}
	}
	return nil
}

// sendBatch gives an error when the batch has to be sent again.
func (l *loop) sendBatch(ctx context.Context, waiting *batch) error {
	l.retryAfter = 0
	reply, err := l.post(ctx, usagePath, l.token.text, map[string]any{
		"batch_id": waiting.ID, "events": waiting.Events,
	})
	if err != nil {
		return err
	}
	var said struct {
		Code Code `json:"code"`
	}
	isCounted := reply.status == http.StatusOK || reply.status == http.StatusAccepted
	if isCounted && reply.mediaType == "application/json" && json.Unmarshal(reply.body, &said) == nil {
		l.client.usage.settled(said.Code == CodeQuotaExceeded)
		return nil
	}
	found, isProblem := reply.problemOf()
	if isProblem && found.Code == CodeQuotaExceeded {
		l.client.usage.settled(true)
		return nil
	}
	if isProblem && isUnacceptable(reply.status) {
		// Sent again it would be refused again, and everything after it would wait for ever.
		l.Logger.Warn("the server does not accept a usage batch", "code", clip(string(found.Code)))
		l.client.usage.settled(false)
		return nil
	}
	err = l.obey(ctx, l.read(reply))
	if err == nil {
		err = errors.New("authenticated anew; the batch is sent again")
	}
	return err
}

func isUnacceptable(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity:
		return true
	}
	return false
}
