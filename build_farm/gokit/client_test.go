package keywright

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

var allFeatures = []string{"api_logging", "batch_processing", "console_logging"}

func TestAYesMakesActive(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	p.want(client, StateActive, allFeatures...)
	if client.HasFeature("advanced_analytics") {
		t.Error("a feature that was not granted is there")
	}
	status := client.Status()
	if status.Tier != "Pro" || status.InstallationID != "ins_1" || status.CustomerID != testCustomer {
		t.Errorf("the status is %+v", status)
	}
	if limit := client.RateLimit(); limit != (RateLimit{RequestsPerMinute: 1000, EventsPerDay: 1000000}) {
		t.Errorf("the rate limit is %+v", limit)
	}
	if !client.Permissions().Allowed || client.Manifest().BuildID != testBuildID {
		t.Error("permissions or manifest are missing")
	}
	if client.Feature("batch_processing").Int(1) != 25 || client.Feature("api_logging").Int(1) != 1 {
		t.Error("the typed value is wrong")
	}
	if client.Feature("region").Text("none") != "none" {
		t.Error("a value was given for a feature that was not granted")
	}
}

func TestTheQuestionIsThatOfTheDesign(t *testing.T) {
	p := newPlugin(t)
	p.start()
	asked := p.server.seen[0]
	if asked.path != authenticatePath || asked.credential != testAPIKey {
		t.Fatalf("first asked %s", asked.path)
	}
	signature, _ := os.ReadFile(filepath.Join(p.settings.PackageDir, "plugin.sig"))
	wanted := map[string]any{
		"plugin_name": testPlugin, "plugin_version": testVersion, "customer_id": testCustomer,
		"plugin_signature": base64Text(signature),
	}
	for field, value := range wanted {
		if asked.body[field] != value {
			t.Errorf("%s is %v", field, asked.body[field])
		}
	}
	installation, _ := asked.body["installation"].(map[string]any)
	if installation["fingerprint"] != p.settings.Fingerprint || installation["os"] == "" || installation["arch"] == "" {
		t.Errorf("the installation is %v", installation)
	}
}

func TestRefreshEveryFiveMinutes(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	p.server.forget()
	p.clock.Advance(4*time.Minute + 50*time.Second)
	if p.server.asked() != 0 {
		t.Error("asked too early")
	}
	p.clock.Advance(10 * time.Second)
	if paths := p.server.paths(); fmt.Sprint(paths) != fmt.Sprint([]string{refreshPath}) {
		t.Errorf("asked %v", paths)
	}
	p.want(client, StateActive, allFeatures...)
	p.clock.Advance(time.Hour)
	if asked := p.server.asked(); asked != 13 {
		t.Errorf("asked %d times in 65 minutes", asked)
	}
}

func TestAShorterIntervalIsForDemonstrations(t *testing.T) {
	p := newPlugin(t)
	p.settings.RefreshInterval = 5 * time.Second
	p.start()
	p.server.forget()
	p.clock.Advance(50 * time.Second)
	if asked := p.server.asked(); asked < 4 || asked > 10 {
		t.Errorf("asked %d times in 50 seconds", asked)
	}
	for wish, want := range map[time.Duration]time.Duration{
		time.Hour: standardInterval, time.Millisecond: shortestInterval, 0: 0,
	} {
		own, err := newSettings(Options{RefreshInterval: wish, StateDir: "-", Fingerprint: "x"}, p.vendor.build())
		if err != nil || own.RefreshInterval != want {
			t.Errorf("an interval of %v became %v, %v", wish, own.RefreshInterval, err)
		}
	}
}

func TestATierLoweredAndRaisedIsFollowed(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	p.server.with(func() { p.server.features = []string{"console_logging"} })
	p.clock.Advance(5 * time.Minute)
	p.want(client, StateActive, "console_logging")
	p.server.with(func() { p.server.features = allFeatures })
	p.clock.Advance(5 * time.Minute)
	p.want(client, StateActive, allFeatures...)
}

func TestAuthenticatesAnewAfterADay(t *testing.T) {
	p := newPlugin(t)
	p.start()
	p.clock.Advance(23 * time.Hour)
	p.server.forget()
	p.clock.Advance(70 * time.Minute)
	if !slices.Contains(p.server.paths(), authenticatePath) {
		t.Error("a token was refreshed for longer than a day")
	}
}

func TestListenersHearEachChangeInOrder(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	heard := make(chan Status, 20)
	client.OnChange(func(status Status) {
		client.HasFeature("api_logging")
		heard <- status
	})
	next := func(want State) {
		t.Helper()
		select {
		case status := <-heard:
			if status.State != want {
				t.Errorf("heard %s (%s), want %s", status.State, status.Reason, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("did not hear %s", want)
		}
	}
	p.clock.Advance(10 * time.Minute) // renewed tokens are no news
	p.server.with(func() { p.server.before = away })
	p.clock.Advance(5 * time.Minute)
	next(StateLate)
	p.clock.Advance(10 * time.Minute)
	next(StateOffline)
	p.clock.Advance(24 * time.Hour)
	next(StateOffline) // one feature less
	p.server.with(func() { p.server.before = denying(http.StatusForbidden, "TIER_TOO_LOW") })
	p.clock.Advance(8 * time.Minute)
	next(StateDegraded)
	p.server.with(func() { p.server.before = denying(http.StatusForbidden, "BUILD_QUARANTINED") })
	p.clock.Advance(5 * time.Minute)
	next(StateRevoked)
	p.server.with(func() { p.server.before = nil })
	p.clock.Advance(61 * time.Minute)
	next(StateActive)
	select {
	case status := <-heard:
		t.Errorf("heard %s too", status.State)
	default:
	}
}

func TestAListenerMayCloseTheClient(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	closed := make(chan error, 1)
	client.OnChange(func(Status) { closed <- client.Close() })
	p.server.with(func() { p.server.features = []string{} })
	if _, err := client.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Close from a listener did not come back")
	}
	if _, err := client.Refresh(context.Background()); err != ErrClosed {
		t.Errorf("after Close: %v", err)
	}
}

func TestATokenThatForbidsThePluginGrantsNothing(t *testing.T) {
	p := newPlugin(t)
	p.server.change = func(claims map[string]any) {
		claims["plugin_permissions"] = map[string]any{testPlugin: map[string]any{"allowed": false}}
	}
	client, _ := p.start()
	p.want(client, StateActive)
}

func TestHasFeatureIsSafeForManyReaders(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					client.HasFeature("api_logging")
					client.Status()
					client.RateLimit()
					_ = client.ReportUsage(UsageEvent{Feature: "api_logging", Count: 1})
				}
			}
		})
	}
	p.clock.Advance(11 * time.Minute)
	close(stop)
	readers.Wait()
	p.want(client, StateActive, allFeatures...)
}

func TestHasFeatureAllocatesNothing(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	if allocations := testing.AllocsPerRun(100, func() { client.HasFeature("api_logging") }); allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

func TestStartRefusesABrokenPackage(t *testing.T) {
	p := newPlugin(t)
	_ = os.Remove(filepath.Join(p.settings.PackageDir, "plugin.sig"))
	_, err := start(context.Background(), p.settings, p.vendor.build())
	wantReason(t, err, ReasonPackageFileMissing)
	if len(p.server.paths()) != 0 {
		t.Error("the server was asked all the same")
	}
}

func BenchmarkHasFeature(b *testing.B) {
	clock := newSystemClock()
	now := &snapshot{clock: clock, build: &build{}, timeline: timeline{}.told(time.Now(), clock), token: &token{
		expiresAt: time.Now().Add(time.Hour), features: map[string]bool{"api_logging": true},
	}}
	client := &Client{clock: clock}
	client.current.Store(now)
	for b.Loop() {
		if !client.HasFeature("api_logging") {
			b.Fatal("not granted")
		}
	}
}
