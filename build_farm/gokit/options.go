package keywright

import (
	"cmp"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	standardInterval = 5 * time.Minute
	shortestInterval = time.Second
	firstBackoff     = 5 * time.Second
	usageInterval    = time.Minute
	startPatience    = 5 * time.Second
)

// Options are what a plugin can say about how it is licensed. The zero value is right for a plugin that was built and
// packaged by the build farm.
type Options struct {
	// APIKey is the customer's key; environment KM_API_KEY when empty.
	APIKey string
	// ServerURL is where to ask; environment KEYWRIGHT_URL when empty, else what was compiled in. Another server
	// needs no trust: it can only relay what the vendor's keys signed.
	ServerURL string
	// StateDir keeps lease and key-set version; environment KEYWRIGHT_STATE_DIR when empty, else a folder of the
	// user's. "-" keeps nothing.
	StateDir string
	// PackageDir is where plugin.sig, plugin.manifest and the rest lie; beside the executable when empty.
	PackageDir string
	// HTTPClient carries the requests; its redirects and cookies are never used.
	HTTPClient *http.Client
	// Clock is for tests.
	Clock Clock
	// RefreshInterval shortens the five minutes, for demonstrations; it cannot lengthen them.
	RefreshInterval time.Duration
	// Logger hears of refusals and changes of state, never of a secret. Nothing is logged when nil.
	Logger *slog.Logger
	// Fingerprint tells this machine's copy apart; derived from the machine's id when empty.
	Fingerprint string
}

// settings are Options with every default filled in.
type settings struct {
	Options
	executable string
	// jitter gives a number from 0 up to, not including, 1.
	jitter func() float64
	// patience is how long Start waits for the first answer, by the real clock.
	patience time.Duration
}

func newSettings(options Options, build *build) (settings, error) {
	executable, directory, err := runningExecutable()
	if err != nil {
		return settings{}, err
	}
	own := settings{Options: options, executable: executable, jitter: rand.Float64, patience: startPatience}
	// A key in a file or an environment often ends in a line break.
	own.APIKey = strings.TrimSpace(cmp.Or(own.APIKey, os.Getenv("KM_API_KEY")))
	own.ServerURL = cmp.Or(own.ServerURL, os.Getenv("KEYWRIGHT_URL"), build.ServerURL)
	own.StateDir = cmp.Or(own.StateDir, defaultStateDirectory())
	if own.StateDir == "-" {
		own.StateDir = ""
	}
	own.PackageDir = cmp.Or(own.PackageDir, directory)
	if own.Clock == nil {
		own.Clock = newSystemClock()
	}
	if own.Logger == nil {
		own.Logger = slog.New(slog.DiscardHandler)
	}
	if own.RefreshInterval != 0 {
		own.RefreshInterval = min(max(own.RefreshInterval, shortestInterval), standardInterval)
	}
	if own.Fingerprint == "" {
		own.Fingerprint = machineFingerprint(own.StateDir, build)
	}
	return own, nil
}

// interval is the longest time between two questions.
func (s *settings) interval() time.Duration { return cmp.Or(s.RefreshInterval, standardInterval) }

// around spreads a duration by ±10 %, so that a fleet does not march in step.
func (s *settings) around(duration time.Duration) time.Duration {
	return time.Duration(float64(duration) * (0.9 + 0.2*s.jitter()))
}

// backoff is how long to wait after the n-th failure in a row: doubling, from half to one and a half of it, never
// sooner than the server asked for.
func (s *settings) backoff(failures int, retryAfter time.Duration) time.Duration {
	wait := min(firstBackoff, s.interval())
	for count := 1; count < failures && wait < s.interval(); count++ {
		wait *= 2
	}
	wait = time.Duration(float64(min(wait, s.interval())) * (0.5 + s.jitter()))
	if wait < retryAfter {
		return time.Duration(float64(retryAfter) * (1 + 0.25*s.jitter()))
	}
	return wait
}
