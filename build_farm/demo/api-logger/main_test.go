package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	keywright "keywright.dev/gokit"
)

// fakeLicence is a licence that a test can change.
type fakeLicence struct {
	mutex    sync.Mutex
	features map[string]bool
	limit    keywright.RateLimit
	used     int64
}

func licensed(features ...string) *fakeLicence {
	made := &fakeLicence{features: map[string]bool{}}
	for _, feature := range features {
		made.features[feature] = true
	}
	return made
}

func (f *fakeLicence) set(feature string, granted bool) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.features[feature] = granted
}

func (f *fakeLicence) HasFeature(code string) bool {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.features[code]
}

func (f *fakeLicence) Feature(code string) keywright.Value {
	return keywright.Value{Granted: f.HasFeature(code)}
}

func (f *fakeLicence) RateLimit() keywright.RateLimit { return f.limit }

func (f *fakeLicence) ReportUsage(events ...keywright.UsageEvent) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for _, event := range events {
		f.used += event.Count
	}
	return nil
}

// endpoint is an API endpoint that remembers what it got.
type endpoint struct {
	*httptest.Server
	mutex    sync.Mutex
	requests int
	messages []string
	status   int
	arrived  chan struct{}
}

func newEndpoint(t *testing.T) *endpoint {
	t.Helper()
	e := &endpoint{status: http.StatusOK, arrived: make(chan struct{}, 1000)}
	e.Server = httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		var body struct{ Messages []json.RawMessage }
		_ = json.NewDecoder(request.Body).Decode(&body)
		e.mutex.Lock()
		defer e.mutex.Unlock()
		e.requests++
		if e.status == http.StatusOK {
			for _, message := range body.Messages {
				e.messages = append(e.messages, string(message))
			}
		}
		writer.WriteHeader(e.status)
		e.arrived <- struct{}{}
	}))
	t.Cleanup(e.Server.Close)
	return e
}

func (e *endpoint) got() (requests int, messages []string) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.requests, append([]string{}, e.messages...)
}

func call(id string) string { return `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call"}` }

type buffers struct{ output, report bytes.Buffer }

func workOn(t *testing.T, licence licence, address string, input io.Reader) (*buffers, int) {
	t.Helper()
	var texts buffers
	code := work(context.Background(), licence, address, input, &texts.output, &lockedWriter{writer: &texts.report})
	return &texts, code
}

func TestTheConsoleNeedsNoLicence(t *testing.T) {
	server := newEndpoint(t)
	texts, code := workOn(t, licensed(), server.URL, strings.NewReader(call("1")+"\n"+call(`"two"`)+"\n"))
	lines := strings.Split(strings.TrimSpace(texts.output.String()), "\n")
	if code != 0 || len(lines) != 2 || !strings.Contains(lines[0], `"kind":"request","method":"tools/call","id":1`) {
		t.Errorf("exit %d, logged %q", code, lines)
	}
	if requests, _ := server.got(); requests != 0 {
		t.Errorf("%d requests without api_logging", requests)
	}
}

func TestAPILoggingSendsEachMessage(t *testing.T) {
	server, licence := newEndpoint(t), licensed("api_logging")
	_, code := workOn(t, licence, server.URL, strings.NewReader(call("1")+"\n"+call("2")))
	requests, messages := server.got()
	if code != 0 || requests != 2 || len(messages) != 2 || messages[1] != call("2") || licence.used != 2 {
		t.Errorf("exit %d, %d requests with %q, %d counted", code, requests, messages, licence.used)
	}
}

func TestBatchProcessingSendsManyAtOnce(t *testing.T) {
	server, licence := newEndpoint(t), licensed("api_logging", "batch_processing")
	_, _ = workOn(t, licence, server.URL, strings.NewReader(strings.Repeat(call("1")+"\n", 120)))
	if requests, messages := server.got(); requests > 10 || len(messages) != 120 || licence.used != 120 {
		t.Errorf("%d requests with %d messages, %d counted", requests, len(messages), licence.used)
	}
}

func TestAFeatureThatGoesQuietStopsTheSendingOnly(t *testing.T) {
	server, licence := newEndpoint(t), licensed("api_logging")
	input, feed := io.Pipe()
	finished := make(chan *buffers)
	go func() {
		texts, _ := workOn(t, licence, server.URL, input)
		finished <- texts
	}()
	write := func(line string) { _, _ = io.WriteString(feed, line+"\n") }
	write(call("1"))
	<-server.arrived
	licence.set("api_logging", false)
	write(call("2"))
	write("") // read after line 2 was logged: the pipe has no buffer
	licence.set("api_logging", true)
	write(call("3"))
	<-server.arrived
	_ = feed.Close()
	texts := <-finished
	if _, messages := server.got(); strings.Join(messages, "") != call("1")+call("3") {
		t.Errorf("sent %q", messages)
	}
	if count := strings.Count(texts.output.String(), "\n"); count != 3 {
		t.Errorf("logged %d lines", count)
	}
}

func TestBadLinesAreReportedAndLeftOut(t *testing.T) {
	bad := map[string]string{
		"no JSON":            `<html>`,
		"another version":    `{"jsonrpc":"1.0","method":"a"}`,
		"no version":         `{"method":"a"}`,
		"neither":            `{"jsonrpc":"2.0","id":1}`,
		"a number":           `42`,
		"an empty batch":     `[]`,
		"a batch with a bad": `[` + call("1") + `,{}]`,
		"a long batch":       `[` + strings.Repeat(`1,`, 100) + `1]`,
		"not UTF-8":          "\xff\xfe",
		"far too long":       strings.Repeat("x", 3*maximumLineBytes),
		"too long by one":    `"` + strings.Repeat("x", maximumLineBytes-1) + `"`,
	}
	for name, line := range bad {
		t.Run(name, func(t *testing.T) {
			texts, code := workOn(t, licensed(), "", strings.NewReader(call("1")+"\n"+line+"\n"+call("3")+"\n"))
			if code != 0 || strings.Count(texts.output.String(), "\n") != 2 {
				t.Errorf("exit %d, logged %q", code, texts.output.String())
			}
			if report := texts.report.String(); !strings.Contains(report, "line 2 was left out: ") || len(report) > 300 {
				t.Errorf("reported %q", report)
			}
		})
	}
}

func TestMessagesOfEachKind(t *testing.T) {
	for line, want := range map[string]string{
		`{"jsonrpc":"2.0","id":1,"method":"a"}`:       "request",
		`{"jsonrpc":"2.0","method":"a"}`:              "notification",
		`{"jsonrpc":"2.0","id":1,"result":null}`:      "result",
		`{"jsonrpc":"2.0","id":null,"error":{"a":1}}`: "error",
	} {
		messages, err := parseMessages([]byte(line))
		if err != nil || len(messages) != 1 || messages[0].kind != want {
			t.Errorf("%s is %v, %v", line, messages, err)
		}
	}
	if messages, err := parseMessages([]byte(`[` + call("1") + `,` + call("2") + `]`)); err != nil || len(messages) != 2 {
		t.Errorf("a batch is %v, %v", messages, err)
	}
}

func TestNothingInAMessageCanForgeALine(t *testing.T) {
	texts, _ := workOn(t, licensed(), "", strings.NewReader(`{"jsonrpc":"2.0","method":"a\n\u001b[2Jb"}`))
	if logged := texts.output.String(); strings.Count(logged, "\n") != 1 || strings.Contains(logged, "\x1b") {
		t.Errorf("logged %q", logged)
	}
}

func TestLinesWithTheirOddEnds(t *testing.T) {
	var lines []string
	err := readLines(strings.NewReader("a\r\n\nb"), func(_ int, line []byte, err error) {
		if err != nil {
			t.Error(err)
		}
		lines = append(lines, string(line))
	})
	if err != nil || strings.Join(lines, "|") != "a||b" {
		t.Errorf("read %q, %v", lines, err)
	}
}

func TestAnInputThatBreaksEndsWithOne(t *testing.T) {
	broken := io.MultiReader(strings.NewReader(call("1")+"\n"), &brokenReader{})
	texts, code := workOn(t, licensed(), "", broken)
	if code != exitInput || !strings.Contains(texts.report.String(), "the input cannot be read") {
		t.Errorf("exit %d, %q", code, texts.report.String())
	}
}

type brokenReader struct{}

func (*brokenReader) Read([]byte) (int, error) { return 0, errors.New("the cable was pulled") }

func TestASignalEndsAReaderThatHangs(t *testing.T) {
	input, feed := io.Pipe()
	defer feed.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if code := work(ctx, licensed(), "", input, io.Discard, io.Discard); code != 0 {
		t.Errorf("exit %d", code)
	}
}

func TestAnEndpointThatFailsLosesNothing(t *testing.T) {
	server, licence := newEndpoint(t), licensed("api_logging", "batch_processing")
	server.status = http.StatusInternalServerError
	input, feed := io.Pipe()
	finished := make(chan *buffers)
	go func() {
		texts, _ := workOn(t, licence, server.URL, input)
		finished <- texts
	}()
	_, _ = io.WriteString(feed, call("1")+"\n")
	<-server.arrived
	server.mutex.Lock()
	server.status = http.StatusOK
	server.mutex.Unlock()
	<-server.arrived
	_ = feed.Close()
	texts := <-finished
	if _, messages := server.got(); len(messages) != 1 || licence.used != 1 {
		t.Errorf("sent %q, counted %d", messages, licence.used)
	}
	if !strings.Contains(texts.report.String(), "takes messages again") {
		t.Errorf("reported %q", texts.report.String())
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	shipper := newShipper(licensed(), "http://127.0.0.1:1", io.Discard)
	for range maximumWaitingMessages + 10 {
		shipper.add(message{raw: json.RawMessage(`1`)})
	}
	if len(shipper.waiting) != maximumWaitingMessages || shipper.dropped != 10 {
		t.Errorf("%d wait, %d dropped", len(shipper.waiting), shipper.dropped)
	}
	for range 20 {
		shipper.add(message{raw: make(json.RawMessage, maximumLineBytes)})
	}
	if shipper.bytes > maximumWaitingBytes {
		t.Errorf("%d bytes wait", shipper.bytes)
	}
}

func TestThePaceIsTheCustomersLimit(t *testing.T) {
	var p pace
	now := time.Unix(1_700_000_000, 0)
	var last time.Duration
	for range 60 {
		last = p.wait(now, 60)
	}
	if last != 54*time.Second { // six at once, then one a second
		t.Errorf("the sixtieth request of a minute waits %v", last)
	}
	if p.wait(now, 0) != 0 {
		t.Error("no limit, and yet a wait")
	}
}

func TestEndpointsThatAreNone(t *testing.T) {
	for _, text := range []string{"ftp://x", "nowhere", "http://", ":"} {
		if _, err := parseEndpoint(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	if endpoint, err := parseEndpoint(""); endpoint != "" || err != nil {
		t.Error("no endpoint is no error")
	}
}

func TestWrongUsage(t *testing.T) {
	for _, arguments := range [][]string{{"-unknown"}, {"extra"}, {"-refresh", "-5s"}} {
		if code := run(context.Background(), arguments, strings.NewReader(""), io.Discard, io.Discard); code != exitUsage {
			t.Errorf("%v: exit %d", arguments, code)
		}
	}
}

// These tests are compiled without customer_auth.go, as a copy would be that no build farm made.
func TestACopyThatNobodySignedRefusesToRun(t *testing.T) {
	var report bytes.Buffer
	code := run(context.Background(), nil, strings.NewReader(call("1")), io.Discard, &report)
	if code != exitRefused || !strings.Contains(report.String(), "EMBEDDED_INVALID") {
		t.Errorf("exit %d, %q", code, report.String())
	}
}

func TestAStatusIsOneLine(t *testing.T) {
	var report bytes.Buffer
	say(&report, keywright.Status{State: keywright.StateDegraded, Code: "TIER_TOO_LOW"})
	say(&report, keywright.Status{State: keywright.StateActive, Tier: "Pro", Features: []string{"a", "b"}})
	want := "api-logger: licence degraded because of TIER_TOO_LOW: tier unknown, the console only\n" +
		"api-logger: licence active: tier Pro, a, b\n"
	if report.String() != want {
		t.Errorf("said %q", report.String())
	}
}
