// Command api-logger logs the JSON-RPC messages it reads from standard input, one a line.
//
// Logging to the console is the basic job: it needs no licence and never stops. Sending messages to an API endpoint is
// the feature api_logging, sending many at once the feature batch_processing; when the licence does not grant them they
// go quiet, and come back by themselves.
//
// Environment: KM_API_KEY (the customer's key), KEYWRIGHT_URL (the licence server, when it is not the one compiled in),
// API_LOGGER_ENDPOINT (where api_logging sends to). Exit codes: 0 end of input, 1 input could not be read, 2 wrong
// usage, 3 this copy of the plugin is not what its vendor signed.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"time"

	keywright "keywright.dev/gokit"
)

const (
	exitInput   = 1
	exitUsage   = 2
	exitRefused = 3
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// licence is what this plugin needs of *keywright.Client.
type licence interface {
	HasFeature(code string) bool
	Feature(code string) keywright.Value
	RateLimit() keywright.RateLimit
	ReportUsage(events ...keywright.UsageEvent) error
}

func run(ctx context.Context, arguments []string, input io.Reader, output, messages io.Writer) int {
	report := &lockedWriter{writer: messages}
	flags := flag.NewFlagSet("api-logger", flag.ContinueOnError)
	flags.SetOutput(report)
	refresh := flags.Duration("refresh", 0, "ask the licence server this often instead of every five minutes, to see a change sooner")
	if err := flags.Parse(arguments); err != nil {
		return exitUsage
	}
	endpoint, err := parseEndpoint(os.Getenv("API_LOGGER_ENDPOINT"))
	if err != nil || flags.NArg() > 0 || *refresh < 0 {
		fmt.Fprintln(report, "api-logger: wrong usage:", describe(err, flags.Args()))
		return exitUsage
	}
	// Not ctx: a signal ends the reading, and what was counted until then is still to be reported.
	client, err := keywright.Start(context.WithoutCancel(ctx), keywright.Options{
		RefreshInterval: *refresh,
		Logger:          slog.New(slog.NewTextHandler(report, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		fmt.Fprintln(report, "api-logger: refused to run:", err)
		return exitRefused
	}
	defer client.Close()
	say(report, client.Status())
	client.OnChange(func(status keywright.Status) { say(report, status) })
	return work(ctx, client, endpoint, input, output, report)
}

func describe(err error, rest []string) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("see -help (%d arguments are too many, or -refresh is negative)", len(rest))
}

// work does the plugin's job until the input ends or ctx is done.
func work(ctx context.Context, licence licence, endpoint string, input io.Reader, output, report io.Writer) int {
	shipper := newShipper(licence, endpoint, report)
	finished := make(chan error, 1)
	go func() {
		finished <- readLines(input, func(number int, line []byte, err error) {
			logLine(licence, shipper, output, report, number, line, err)
		})
	}()
	shipping, stop := context.WithCancel(context.Background())
	shipped := make(chan struct{})
	go func() {
		defer close(shipped)
		shipper.run(shipping)
	}()
	var err error
	select {
	case err = <-finished:
	case <-ctx.Done(): // the reader may sit in a read that nobody can interrupt; it ends with the process
	}
	shipper.finish(lastWait)
	stop()
	<-shipped
	if err != nil {
		fmt.Fprintln(report, "api-logger: the input cannot be read:", err)
		return exitInput
	}
	return 0
}

// logLine logs one line to the console, whatever the licence says, and to the endpoint where it may.
func logLine(licence licence, shipper *shipper, output, report io.Writer, number int, line []byte, err error) {
	if err == nil && len(strings.TrimSpace(string(line))) == 0 {
		return
	}
	var messages []message
	if err == nil {
		messages, err = parseMessages(line)
	}
	if err != nil {
		fmt.Fprintf(report, "api-logger: line %d was left out: %v\n", number, err)
		return
	}
	now := time.Now().UTC()
	for _, parsed := range messages {
		if _, err := output.Write(parsed.entry(now, number)); err != nil {
			fmt.Fprintf(report, "api-logger: line %d could not be logged: %v\n", number, err)
		}
		if licence.HasFeature("api_logging") {
			shipper.add(parsed)
		}
	}
}

// say tells a status on one line for people.
func say(report io.Writer, status keywright.Status) {
	because := string(status.Code) + string(status.Reason)
	if because != "" {
		because = " because of " + because
	}
	features := strings.Join(status.Features, ", ")
	if features == "" {
		features = "the console only"
	}
	fmt.Fprintf(report, "api-logger: licence %s%s: tier %s, %s\n", status.State, because, orNone(status.Tier), features)
}

func orNone(text string) string {
	if text == "" {
		return "unknown"
	}
	return text
}
