package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	keywright "keywright.dev/gokit"
)

const (
	maximumWaitingMessages = 1000
	maximumWaitingBytes    = 16 << 20
	standardBatch          = 50
	gatherTime             = 200 * time.Millisecond
	firstRetry             = time.Second
	lastRetry              = 30 * time.Second
	lastWait               = 5 * time.Second
	sendTimeout            = 10 * time.Second
)

// parseEndpoint checks API_LOGGER_ENDPOINT; empty stays empty.
func parseEndpoint(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	endpoint, err := url.Parse(text)
	if err != nil || (endpoint.Scheme != "http" && endpoint.Scheme != "https") || endpoint.Host == "" {
		return "", errors.New("API_LOGGER_ENDPOINT is not an http(s) URL")
	}
	return endpoint.String(), nil
}

// shipper sends messages to the endpoint from a bounded queue. When the endpoint is slow the oldest messages go, never
// the plugin's memory; when the licence goes quiet, what waits goes too.
type shipper struct {
	licence  licence
	endpoint string
	report   io.Writer
	client   *http.Client

	mutex    sync.Mutex
	waiting  []message
	bytes    int
	sending  int
	dropped  int
	isTold   bool          // that there is no endpoint
	signal   chan struct{} // something waits
	emptied  chan struct{} // nothing waits any more
	pace     pace
	failures int
}

func newShipper(licence licence, endpoint string, report io.Writer) *shipper {
	return &shipper{
		licence: licence, endpoint: endpoint, report: report,
		client: &http.Client{
			Timeout:       sendTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		signal: make(chan struct{}, 1), emptied: make(chan struct{}, 1),
	}
}

func (s *shipper) add(added message) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.endpoint == "" {
		if !s.isTold {
			fmt.Fprintln(s.report, "api-logger: api_logging is granted, but API_LOGGER_ENDPOINT says no place to send to")
		}
		s.isTold = true
		return
	}
	s.waiting = append(s.waiting, added)
	s.bytes += len(added.raw)
	for len(s.waiting) > maximumWaitingMessages || s.bytes > maximumWaitingBytes {
		s.bytes -= len(s.waiting[0].raw)
		s.waiting = s.waiting[1:]
		s.dropped++
	}
	wake(s.signal)
}

func wake(signal chan struct{}) {
	select {
	case signal <- struct{}{}:
	default: // it is already awake
	}
}

// run sends until ctx is done.
func (s *shipper) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.signal:
		}
		if s.mayBatch() {
			pause(ctx, gatherTime) // a moment for the batch to fill
		}
		for s.sendNext(ctx) {
		}
	}
}

func pause(ctx context.Context, duration time.Duration) {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (s *shipper) mayBatch() bool { return s.licence.HasFeature("batch_processing") }

// sendNext sends one batch, and says whether there may be another.
func (s *shipper) sendNext(ctx context.Context) bool {
	batch := s.take()
	if len(batch) == 0 || ctx.Err() != nil {
		return false
	}
	pause(ctx, s.pace.wait(time.Now(), s.licence.RateLimit().RequestsPerMinute))
	err := s.send(ctx, batch)
	if err == nil {
		s.settle(nil)
		s.succeeded(len(batch))
		return true
	}
	s.settle(batch)
	if s.failures++; s.failures == 1 {
		fmt.Fprintln(s.report, "api-logger: the endpoint does not take messages, they wait:", err)
	}
	pause(ctx, min(firstRetry<<min(s.failures-1, 10), lastRetry))
	return true
}

// take gives the next messages to send, none when the licence went quiet since they were added.
func (s *shipper) take() []message {
	limit := 1
	if s.mayBatch() {
		limit = int(min(max(s.licence.Feature("batch_processing").Int(standardBatch), 1), maximumWaitingMessages))
	}
	isAllowed := s.licence.HasFeature("api_logging")
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if !isAllowed {
		s.waiting, s.bytes = nil, 0
	}
	batch := s.waiting[:min(limit, len(s.waiting))]
	s.waiting = s.waiting[len(batch):]
	for _, taken := range batch {
		s.bytes -= len(taken.raw)
	}
	s.sending = len(batch)
	s.tellIfEmpty()
	return batch
}

// settle ends a sending: what was not taken goes back to the front.
func (s *shipper) settle(returned []message) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.waiting = append(append([]message{}, returned...), s.waiting...)
	for _, message := range returned {
		s.bytes += len(message.raw)
	}
	s.sending = 0
	s.tellIfEmpty()
}

func (s *shipper) tellIfEmpty() {
	if len(s.waiting) == 0 && s.sending == 0 {
		wake(s.emptied)
	}
}

func (s *shipper) succeeded(count int) {
	s.mutex.Lock()
	dropped := s.dropped
	s.dropped = 0
	s.mutex.Unlock()
	if s.failures > 0 || dropped > 0 {
		fmt.Fprintf(s.report, "api-logger: the endpoint takes messages again; %d were dropped meanwhile\n", dropped)
	}
	s.failures = 0
	if err := s.licence.ReportUsage(keywright.UsageEvent{Feature: "api_logging", Count: int64(count)}); err != nil {
		fmt.Fprintln(s.report, "api-logger: usage was not counted:", err)
	}
}

// finish waits until all is sent, at most for the duration.
func (s *shipper) finish(atMost time.Duration) {
	deadline := time.NewTimer(atMost)
	defer deadline.Stop()
	for {
		s.mutex.Lock()
		isEmpty := len(s.waiting) == 0 && s.sending == 0
		s.mutex.Unlock()
		if isEmpty {
			return
		}
		select {
		case <-s.emptied:
		case <-deadline.C:
			fmt.Fprintln(s.report, "api-logger: the endpoint did not take the last messages in time")
			return
		}
	}
}

func (s *shipper) send(ctx context.Context, batch []message) error {
	messages := make([]json.RawMessage, 0, len(batch))
	for _, each := range batch {
		messages = append(messages, each.raw)
	}
	body, err := json.Marshal(map[string]any{"messages": messages})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return withoutURL(err)
	}
	defer response.Body.Close()
	// Read to the end, within reason, so that the connection can be used again.
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("it answered with status %d", response.StatusCode)
	}
	return nil
}

// withoutURL leaves out the endpoint, whose query may hold a secret of the user's.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// pace keeps to the customer's requests per minute: a bucket that holds a tenth of a minute's.
type pace struct {
	next time.Time
}

// wait gives how long to wait before the next request; a limit of 0 is none.
func (p *pace) wait(now time.Time, perMinute int64) time.Duration {
	if perMinute <= 0 {
		return 0
	}
	interval := time.Minute / time.Duration(perMinute)
	if earliest := now.Add(-time.Minute / 10); p.next.Before(earliest) {
		p.next = earliest
	}
	p.next = p.next.Add(interval)
	return max(p.next.Sub(now), 0)
}
