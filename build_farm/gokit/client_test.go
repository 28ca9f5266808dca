package keywright

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// Each code does what docs/gokit.md says of it, at the first question and at a later one.
func TestEachCodeHasItsEffect(t *testing.T) {
	for code, effect := range effects {
		if effect == effectReauthenticate {
			continue
		}
		t.Run(string(code), func(t *testing.T) {
			p := newPlugin(t)
			client, _ := p.start()
			p.server.with(func() { p.server.before = denying(http.StatusForbidden, string(code)) })
			p.clock.Advance(5 * time.Minute)
			want := map[effectKind]State{effectDegrade: StateDegraded, effectRevoke: StateRevoked}[effect]
			p.want(client, want)
			if status := client.Status(); status.Code != code || !status.OfflineUntil.IsZero() {
				t.Errorf("the status is %+v", status)
			}
			if client.Permissions().Allowed {
				t.Error("permissions outlived the no")
			}
			// Neither lapse nor outage brings anything back.
			p.server.with(func() { p.server.before = away })
			p.clock.Advance(30 * time.Minute)
			p.want(client, want)
		})
	}
}

type effectKind = effect

func TestDegradedKeepsAskingAndComesBack(t *testing.T) {
	p := newPlugin(t)
	p.server.before = denying(http.StatusForbidden, "SUBSCRIPTION_PAUSED")
	client, _ := p.start()
	p.want(client, StateDegraded)
	p.clock.Advance(10 * time.Minute)
	if asked := p.server.asked(); asked != 3 {
		t.Errorf("asked %d times in 10 minutes", asked)
	}
	p.server.with(func() { p.server.before = nil })
	p.clock.Advance(5 * time.Minute)
	p.want(client, StateActive, allFeatures...)
	if status := client.Status(); status.Code != "" || status.Reason != "" || status.Detail != "" {
		t.Errorf("the old no is still told: %+v", status)
	}
}

func TestRevokedAsksRarelyAndComesBack(t *testing.T) {
	p := newPlugin(t)
	p.server.before = denying(http.StatusForbidden, "PLUGIN_QUARANTINED")
	client, _ := p.start()
	p.want(client, StateRevoked)
	p.server.with(func() { p.server.before = nil })
	p.clock.Advance(59 * time.Minute)
	if asked := p.server.asked(); asked != 1 {
		t.Errorf("asked %d times within the hour", asked)
	}
	p.want(client, StateRevoked)
	p.clock.Advance(time.Minute)
	p.want(client, StateActive, allFeatures...)
}

// What is not a known no takes nothing away: late while the token holds, then offline, feature by feature.
func TestWhatIsNoAnswerTakesNothingAway(t *testing.T) {
	page := func(status int, mediaType, body string) func(http.ResponseWriter, *http.Request, []byte) bool {
		return func(writer http.ResponseWriter, _ *http.Request, _ []byte) bool {
			writer.Header().Set("Content-Type", mediaType)
			writer.WriteHeader(status)
			_, _ = io.WriteString(writer, body)
			return true
		}
	}
	problemPage := `{"code":"API_KEY_REVOKED"}`
	cases := map[string]struct {
		before func(http.ResponseWriter, *http.Request, []byte) bool
		want   Reason
	}{
		"a portal's page":             {page(200, "text/html", "<html>sign in</html>"), ReasonNotAnAnswer},
		"a portal's refusal":          {page(403, "text/html", "<html>no</html>"), ReasonNotAnAnswer},
		"a refusal without its type":  {page(403, "application/json", problemPage), ReasonNotAnAnswer},
		"a refusal of another status": {page(400, "application/problem+json", problemPage), ReasonNotAnAnswer},
		"an unknown code":             {denying(403, "SOMETHING_NEW"), ReasonNotAnAnswer},
		"no code at all":              {page(403, "application/problem+json", `{}`), ReasonNotAnAnswer},
		"a broken document":           {page(403, "application/problem+json", `{"code":`), ReasonNotAnAnswer},
		"a redirect":                  {page(302, "text/html", ""), ReasonNotAnAnswer},
		"another JSON":                {page(200, "application/json", `{"success":true}`), ReasonNotAnAnswer},
		"a token that is none":        {page(200, "application/json", `{"success":true,"token":"e30.e30.e30"}`), ReasonTokenType},
		"an endless page":             {page(200, "application/json", strings.Repeat(" ", maximumResponseBytes+2)), ReasonNotAnAnswer},
		"too many requests":           {denying(429, "RATE_LIMITED"), ReasonServerBusy},
		"it cannot know":              {denying(503, "UNAVAILABLE"), ReasonServerBusy},
		"it cannot know, by a code":   {denying(503, "API_KEY_REVOKED"), ReasonServerBusy},
		"a gateway":                   {away, ReasonServerBusy},
		"a connection cut": {func(writer http.ResponseWriter, _ *http.Request, _ []byte) bool {
			panic(http.ErrAbortHandler)
		}, ReasonUnreachable},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			p := newPlugin(t)
			client, _ := p.start()
			p.server.with(func() { p.server.before = test.before })
			p.clock.Advance(5 * time.Minute)
			p.want(client, StateLate, allFeatures...)
			if status := client.Status(); status.Reason != test.want || status.Code != "" {
				t.Errorf("the reason is %q (%s), want %q", status.Reason, status.Detail, test.want)
			}
			p.clock.Advance(10 * time.Minute)
			p.want(client, StateOffline, "api_logging", "console_logging")
			p.server.with(func() { p.server.before = nil })
			p.clock.Advance(8 * time.Minute)
			p.want(client, StateActive, allFeatures...)
		})
	}
}

func TestTheLeaseEndsFeatureByFeature(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	p.server.Close()
	p.clock.Advance(15*time.Minute - time.Second)
	p.want(client, StateLate, allFeatures...)
	p.clock.Advance(time.Second)
	p.want(client, StateOffline, "api_logging", "console_logging")
	p.clock.Advance(24*time.Hour - 15*time.Minute - time.Second)
	p.want(client, StateOffline, "api_logging", "console_logging")
	p.clock.Advance(time.Second)
	p.want(client, StateOffline, "console_logging")
	p.clock.Advance(48*time.Hour - time.Second)
	p.want(client, StateOffline, "console_logging")
	p.clock.Advance(time.Second)
	p.want(client, StateDegraded)
	if status := client.Status(); status.Reason != ReasonUnreachable || status.Code != "" {
		t.Errorf("the status is %+v", status)
	}
}

func TestWithoutALeaseNothingIsLeftAfterTheToken(t *testing.T) {
	p := newPlugin(t)
	p.server.leaseFeatures = nil
	client, _ := p.start()
	p.server.Close()
	p.clock.Advance(15 * time.Minute)
	p.want(client, StateDegraded)
}

func TestARestartInAnOutageGoesOnWithTheLease(t *testing.T) {
	p := newPlugin(t)
	_, end := p.start()
	end()
	p.server.Close()
	client, _ := p.start()
	p.want(client, StateOffline, "api_logging", "console_logging")
	if status := client.Status(); status.Reason != ReasonUnreachable || status.InstallationID != "ins_1" {
		t.Errorf("the status is %+v", status)
	}
}

func TestARestartInAnOutageAfterANoHasNoLease(t *testing.T) {
	p := newPlugin(t)
	_, end := p.start()
	p.server.with(func() { p.server.before = denying(http.StatusForbidden, "SUBSCRIPTION_EXPIRED") })
	p.clock.Advance(5 * time.Minute)
	end()
	p.server.Close()
	client, _ := p.start()
	p.want(client, StateDegraded)
}

func TestAServerThatHangsDoesNotHoldUpTheStart(t *testing.T) {
	p := newPlugin(t)
	_, end := p.start()
	end()
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer hanging.Close()
	defer close(release)
	p.settings.ServerURL, p.settings.patience = hanging.URL, 10*time.Millisecond
	client, _ := p.start()
	p.want(client, StateOffline, "api_logging", "console_logging")
	if client.Status().Reason != ReasonNotAsked {
		t.Errorf("the status is %+v", client.Status())
	}
}

func TestAFirstStartInAnOutageHasNothing(t *testing.T) {
	p := newPlugin(t)
	p.server.Close()
	client, _ := p.start()
	p.want(client, StateDegraded)
	if client.Status().Reason != ReasonUnreachable || client.Permissions().Allowed {
		t.Errorf("the status is %+v", client.Status())
	}
}

func TestAClockSetBackGainsNothing(t *testing.T) {
	p := newPlugin(t)
	client, end := p.start()
	p.server.Close()
	p.clock.SetWall(-1000 * time.Hour)
	p.clock.Advance(25 * time.Hour)
	p.want(client, StateOffline, "console_logging")
	end()
	client, end = p.start() // what is certain was saved
	p.want(client, StateOffline, "console_logging")
	p.clock.Advance(47 * time.Hour)
	p.want(client, StateDegraded)
	end()
	client, _ = p.start()
	p.want(client, StateDegraded)
}

func TestAWrongClockLocksNobodyOut(t *testing.T) {
	for _, shift := range []time.Duration{-20 * 365 * 24 * time.Hour, -time.Hour, time.Hour, 20 * 365 * 24 * time.Hour} {
		t.Run(shift.String(), func(t *testing.T) {
			p := newPlugin(t)
			p.clock.SetWall(shift)
			client, _ := p.start()
			p.want(client, StateActive, allFeatures...)
			p.clock.Advance(time.Hour)
			p.want(client, StateActive, allFeatures...)
			p.clock.SetWall(0) // somebody mends it
			p.clock.Advance(time.Hour)
			p.want(client, StateActive, allFeatures...)
		})
	}
}

func TestTimeAsleepCounts(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	p.server.with(func() { p.server.before = away })
	p.clock.Sleep(25 * time.Hour)
	p.want(client, StateOffline, "console_logging")
	p.server.with(func() { p.server.before = nil })
	p.clock.Advance(time.Minute) // the loop wakes at least once a minute, and sees that it is late
	p.want(client, StateActive, allFeatures...)
}

func TestBackoffDoublesUpToTheInterval(t *testing.T) {
	p := newPlugin(t)
	p.server.before = away
	p.start()
	var gaps []time.Duration
	last := p.clock.Monotonic()
	for asked := 1; len(gaps) < 9; {
		p.clock.Advance(time.Second)
		if now := p.server.asked(); now != asked {
			gaps = append(gaps, p.clock.Monotonic()-last)
			asked, last = now, p.clock.Monotonic()
		}
	}
	want := []time.Duration{5, 10, 20, 40, 80, 160, 300, 300, 300}
	for index := range want {
		if gaps[index] != want[index]*time.Second {
			t.Fatalf("waited %v, want %v seconds", gaps, want)
		}
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	p := newPlugin(t)
	p.server.before = func(writer http.ResponseWriter, _ *http.Request, _ []byte) bool {
		writer.Header().Set("Retry-After", "1200")
		problemTo(writer, http.StatusTooManyRequests, "RATE_LIMITED")
		return true
	}
	p.start()
	p.clock.Advance(1190 * time.Second)
	if asked := p.server.asked(); asked != 1 {
		t.Errorf("asked %d times before the time", asked)
	}
	p.clock.Advance(310 * time.Second) // up to a quarter later, so that a fleet does not return as one
	if asked := p.server.asked(); asked != 2 {
		t.Errorf("asked %d times after the time", asked)
	}
}

func TestRetryAfterForms(t *testing.T) {
	date := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "30": 30 * time.Second, "-5": 0, "soon": 0, "999999": time.Hour, "0": 0,
		"Sun, 01 Mar 2026 00:01:00 GMT": time.Minute, "Sun, 01 Mar 2020 00:01:00 GMT": 0,
	} {
		if got := parseRetryAfter(text, date); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}

func TestATokenThatIsOverIsReplacedByAuthenticating(t *testing.T) {
	for code, effect := range effects {
		if effect != effectReauthenticate {
			continue
		}
		t.Run(string(code), func(t *testing.T) {
			p := newPlugin(t)
			client, _ := p.start()
			p.server.forget()
			p.server.with(func() {
				p.server.replace[refreshPath] = func(writer http.ResponseWriter, _ *http.Request) {
					problemTo(writer, http.StatusUnauthorized, string(code))
				}
			})
			p.clock.Advance(5 * time.Minute)
			p.want(client, StateActive, allFeatures...)
			if paths := p.server.paths(); fmt.Sprint(paths) != fmt.Sprint([]string{refreshPath, authenticatePath}) {
				t.Errorf("asked %v", paths)
			}
		})
	}
}

func TestATokensCodeToAuthenticateIsNoAnswer(t *testing.T) {
	p := newPlugin(t)
	p.server.before = denying(http.StatusUnauthorized, "TOKEN_EXPIRED")
	client, _ := p.start()
	p.want(client, StateDegraded)
	if status := client.Status(); status.Reason != ReasonNotAnAnswer || status.Code != "" {
		t.Errorf("the status is %+v", status)
	}
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

func TestAServerOfOnesOwnIsNotBelieved(t *testing.T) {
	t.Run("with keys of its own", func(t *testing.T) {
		p := newPlugin(t)
		impostor := newVendor(t, p.clock.True())
		impostor.secret = p.vendor.secret
		p.server.vendor = impostor
		client, _ := p.start()
		p.want(client, StateDegraded)
		if status := client.Status(); status.Reason != ReasonCertificateForeign {
			t.Errorf("the reason is %q: %s", status.Reason, status.Detail)
		}
	})
	t.Run("with the real key set and its own tokens", func(t *testing.T) {
		p := newPlugin(t)
		client, _ := p.start()
		p.server.with(func() {
			real := p.server.vendor.keySetText(p.clock.True(), 1)
			p.server.replace[keySetPath] = func(writer http.ResponseWriter, _ *http.Request) {
				writer.Header().Set("Content-Type", "application/jose")
				_, _ = io.WriteString(writer, real)
			}
			p.server.vendor.tokenKey = newECKey(t)
			p.server.vendor.leaseKey = newECKey(t)
		})
		p.clock.Advance(5 * time.Minute)
		p.want(client, StateLate, allFeatures...)
		if status := client.Status(); status.Reason != ReasonTokenKeyUnknown {
			t.Errorf("the reason is %q: %s", status.Reason, status.Detail)
		}
		p.clock.Advance(10 * time.Minute)
		p.want(client, StateOffline, "api_logging", "console_logging")
	})
	t.Run("with a token replayed", func(t *testing.T) {
		p := newPlugin(t)
		p.server.change = func(claims map[string]any) { claims["nonce"] = "an-older-nonce" }
		client, _ := p.start()
		p.want(client, StateDegraded)
		if status := client.Status(); status.Reason != ReasonTokenStale {
			t.Errorf("the reason is %q: %s", status.Reason, status.Detail)
		}
	})
	t.Run("with a lease as the token", func(t *testing.T) {
		p := newPlugin(t)
		now := p.clock.True()
		lease := signJWS(t, p.vendor.leaseKey, kidHeader(t, "lease+jwt", p.vendor.leaseKey),
			p.vendor.leaseClaims(now, map[string]time.Time{"api_logging": now.Add(time.Hour)}, now.Add(time.Hour)))
		p.server.replace[authenticatePath] = func(writer http.ResponseWriter, _ *http.Request) {
			jsonTo(writer, map[string]any{"success": true, "token": lease, "offline_lease": lease})
		}
		client, _ := p.start()
		p.want(client, StateDegraded)
		if status := client.Status(); status.Reason != ReasonTokenType {
			t.Errorf("the reason is %q: %s", status.Reason, status.Detail)
		}
	})
}

func TestAKeySetCertificateThatLapsedNowIsNotBelieved(t *testing.T) {
	p := newPlugin(t)
	now := p.clock.True()
	p.vendor.keySet = p.vendor.newSigner(purposeKeySet, now.Add(-30*24*time.Hour), now.Add(-time.Second))
	client, _ := p.start()
	p.want(client, StateDegraded)
	if status := client.Status(); status.Reason != ReasonCertificateLapsed {
		t.Errorf("the reason is %q: %s", status.Reason, status.Detail)
	}
}

func TestANewTokenKeyIsLearntFromTheKeySet(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	p.server.with(func() { p.vendor.tokenKey, p.server.keySetVersion = newECKey(t), 2 })
	p.clock.Advance(5 * time.Minute)
	p.want(client, StateActive, allFeatures...)
}

func TestAKeySetThatGoesBackIsRefusedAcrossRestarts(t *testing.T) {
	p := newPlugin(t)
	p.server.keySetVersion = 5
	_, end := p.start()
	end()
	p.server.with(func() { p.vendor.tokenKey, p.server.keySetVersion = newECKey(t), 4 })
	client, _ := p.start()
	p.want(client, StateOffline, "api_logging", "console_logging")
	if status := client.Status(); status.Reason != ReasonKeySetRolledBack {
		t.Errorf("the reason is %q: %s", status.Reason, status.Detail)
	}
}

func TestAnOlderKeySetCertificateIsRefused(t *testing.T) {
	p := newPlugin(t)
	older := p.vendor.keySet
	now := p.clock.True()
	p.vendor.keySet = p.vendor.newSigner(purposeKeySet, now.Add(-time.Hour), now.Add(30*24*time.Hour))
	client, _ := p.start()
	p.server.with(func() { p.vendor.keySet, p.vendor.tokenKey, p.server.keySetVersion = older, newECKey(t), 9 })
	p.clock.Advance(5 * time.Minute)
	p.want(client, StateLate, allFeatures...)
	if status := client.Status(); status.Reason != ReasonKeySetRolledBack {
		t.Errorf("the reason is %q: %s", status.Reason, status.Detail)
	}
}

func TestALeaseThatIsNotBelievedIsLeftOut(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	p.server.with(func() { p.vendor.leaseKey = newECKey(t) })
	p.clock.Advance(5 * time.Minute)
	p.want(client, StateActive, allFeatures...)
	if !client.Status().OfflineUntil.IsZero() || !strings.Contains(p.log.String(), "offline lease is not believed") {
		t.Error("a lease by an unlisted key was kept or not told")
	}
}

func TestAStateFileThatWasTamperedWithIsIgnored(t *testing.T) {
	statePath := func(p *plugin) string {
		return filepath.Join(p.settings.StateDir, testPlugin+"-"+testBuildID+".state")
	}
	cases := map[string]func(*plugin){
		"a flipped byte": func(p *plugin) {
			contents, _ := os.ReadFile(statePath(p))
			contents[len(contents)/2] ^= 1
			_ = os.WriteFile(statePath(p), contents, 0o600)
		},
		"a flipped tag": func(p *plugin) {
			contents, _ := os.ReadFile(statePath(p))
			contents[0] ^= 1
			_ = os.WriteFile(statePath(p), contents, 0o600)
		},
		"cut short":            func(p *plugin) { _ = os.Truncate(statePath(p), 70) },
		"empty":                func(p *plugin) { _ = os.Truncate(statePath(p), 0) },
		"from another machine": func(p *plugin) { p.settings.Fingerprint = strings.Repeat("cd", 32) },
		"from another build":   func(p *plugin) { p.vendor.secret = randomBytes(p.t, 32) },
		"a folder": func(p *plugin) {
			_ = os.Remove(statePath(p))
			_ = os.Mkdir(statePath(p), 0o700)
		},
	}
	for name, tamper := range cases {
		t.Run(name, func(t *testing.T) {
			p := newPlugin(t)
			_, end := p.start()
			end()
			tamper(p)
			p.server.with(func() { p.server.before = away })
			client, _ := p.start()
			p.want(client, StateDegraded)
			if !strings.Contains(p.log.String(), string(ReasonStateForeign)) {
				t.Error("nothing was said of it")
			}
			p.server.with(func() { p.server.before = nil })
			p.clock.Advance(5 * time.Minute)
			p.want(client, StateActive, allFeatures...)
		})
	}
}

func TestTheStateFileIsPrivateAndHoldsNoSecret(t *testing.T) {
	p := newPlugin(t)
	_, end := p.start()
	end()
	entries, err := os.ReadDir(p.settings.StateDir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", entries, err)
	}
	info, _ := entries[0].Info()
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %v", info.Mode())
	}
	contents, _ := os.ReadFile(filepath.Join(p.settings.StateDir, entries[0].Name()))
	for _, secret := range []string{testAPIKey, string(p.vendor.secret), "at+jwt"} {
		if strings.Contains(string(contents), secret) {
			t.Error("a secret stands in the state file")
		}
	}
}

func TestAnUnwritableStateDirectoryStopsNothing(t *testing.T) {
	p := newPlugin(t)
	p.settings.StateDir = filepath.Join(p.settings.PackageDir, "plugin", "no-folder")
	client, _ := p.start()
	p.want(client, StateActive, allFeatures...)
	if !strings.Contains(p.log.String(), "state file cannot be") {
		t.Error("nothing was said of it")
	}
}

func TestARotatedKeyOpensTheSecretByItsSlot(t *testing.T) {
	t.Run("asked of the server, kept for an outage", func(t *testing.T) {
		p := newPlugin(t)
		p.settings.APIKey = otherTestKey
		p.server.apiKeys = map[string]bool{otherTestKey: true}
		client, end := p.start()
		p.want(client, StateActive, allFeatures...)
		end()
		p.server.Close()
		client, _ = p.start()
		p.want(client, StateOffline, "api_logging", "console_logging")
	})
	t.Run("from the file beside the package", func(t *testing.T) {
		p := newPlugin(t)
		p.settings.APIKey = otherTestKey
		p.server.apiKeys = map[string]bool{otherTestKey: true}
		p.writeSlots(p.vendor.keySlotsText(p.clock.True(), testAPIKey, otherTestKey) + "\n")
		client, _ := p.start()
		p.want(client, StateActive, allFeatures...)
		if p.server.paths()[0] != authenticatePath {
			t.Errorf("asked %v first", p.server.paths())
		}
	})
	t.Run("a file of another authority does not help", func(t *testing.T) {
		p := newPlugin(t)
		p.settings.APIKey = otherTestKey
		p.writeSlots(newVendor(t, p.clock.True()).keySlotsText(p.clock.True(), otherTestKey))
		p.server.before = away
		client, _ := p.start()
		p.want(client, StateDegraded)
		if !strings.Contains(p.log.String(), string(ReasonCertificateForeign)) {
			t.Error("nothing was said of it")
		}
	})
	t.Run("a key without a slot", func(t *testing.T) {
		p := newPlugin(t)
		p.settings.APIKey = otherTestKey
		client, _ := p.start()
		p.want(client, StateDegraded)
		if status := client.Status(); status.Reason != ReasonKeySlotMissing {
			t.Errorf("the status is %+v", status)
		}
		p.server.with(func() { p.server.apiKeys[otherTestKey] = true }) // the slots are issued anew
		p.clock.Advance(5 * time.Minute)
		p.want(client, StateActive, allFeatures...)
	})
	t.Run("a key that the server refuses", func(t *testing.T) {
		p := newPlugin(t)
		p.settings.APIKey = otherTestKey
		p.server.before = func(writer http.ResponseWriter, _ *http.Request, _ []byte) bool {
			problemTo(writer, http.StatusUnauthorized, "API_KEY_REVOKED")
			return true
		}
		client, _ := p.start()
		p.want(client, StateRevoked)
	})
}

func (p *plugin) writeSlots(text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.settings.PackageDir, "plugin.keyslots"), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func TestWithoutAUsableKeyNothingIsAsked(t *testing.T) {
	for key, want := range map[string]Reason{
		"": ReasonAPIKeyMissing, "a b": ReasonAPIKeyMalformed, "a\nX-Other: b": ReasonAPIKeyMalformed,
		strings.Repeat("k", 300): ReasonAPIKeyMalformed,
	} {
		p := newPlugin(t)
		p.settings.APIKey = key
		client, _ := p.start()
		p.want(client, StateDegraded)
		if client.Status().Reason != want || len(p.server.paths()) != 0 {
			t.Errorf("%+v after %v", client.Status(), p.server.paths())
		}
	}
}

func TestAProofForAnotherAuthorityIsMended(t *testing.T) {
	p := newPlugin(t)
	p.server.hostOfProof = "licence.example.test" // reached by another name than its public one
	client, _ := p.start()
	p.want(client, StateActive, allFeatures...)
	p.server.forget()
	p.clock.Advance(5 * time.Minute)
	if asked := p.server.asked(); asked != 1 {
		t.Errorf("asked %d times: what worked was not remembered", asked)
	}
}

func TestAReplayedProofIsTriedAgain(t *testing.T) {
	p := newPlugin(t)
	denials := 1
	p.server.before = func(writer http.ResponseWriter, _ *http.Request, _ []byte) bool {
		denials--
		if denials == 0 {
			problemTo(writer, http.StatusForbidden, "PROOF_REPLAYED")
		}
		return denials == 0
	}
	client, _ := p.start()
	p.want(client, StateActive, allFeatures...)
}

func TestTheServersTimeIsReadInItsForms(t *testing.T) {
	date := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		`"2026-03-01T13:00:00Z"`: date.Add(time.Hour), `1772370000`: date.Add(time.Hour), `null`: date, `"?"`: date, ``: date,
	} {
		if got := (&reply{date: date}).serverTime(problem{ServerTime: []byte(text)}); !got.Equal(want) {
			t.Errorf("%s is %v", text, got)
		}
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

func TestValidateObeysTheVerdict(t *testing.T) {
	verdict := func(valid bool, code string) func(http.ResponseWriter, *http.Request) {
		return func(writer http.ResponseWriter, _ *http.Request) {
			jsonTo(writer, map[string]any{"valid": valid, "code": code, "features_active": code == "VALID"})
		}
	}
	cases := map[string]struct {
		answer  func(http.ResponseWriter, *http.Request)
		state   State
		askedBy int
	}{
		"valid":                {verdict(true, "VALID"), StateActive, 0},
		"entitlements changed": {verdict(true, "ENTITLEMENTS_CHANGED"), StateActive, 1},
		"subscription expired": {verdict(false, "SUBSCRIPTION_EXPIRED"), StateDegraded, 0},
		"token revoked":        {verdict(false, "TOKEN_REVOKED"), StateRevoked, 0},
		"token expired":        {verdict(false, "TOKEN_EXPIRED"), StateActive, 1},
		"an unknown code":      {verdict(false, "SOMETHING_NEW"), StateActive, 0},
		"a portal's page": {func(writer http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(writer, "<html>")
		}, StateActive, 0},
		"a problem": {func(writer http.ResponseWriter, _ *http.Request) {
			problemTo(writer, http.StatusForbidden, "INSTALLATION_QUARANTINED")
		}, StateRevoked, 0},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			p := newPlugin(t)
			client, _ := p.start()
			p.server.forget()
			p.server.with(func() { p.server.replace[validatePath] = test.answer })
			status, err := client.Validate(context.Background())
			if status.State != test.state || p.server.asked() != test.askedBy {
				t.Errorf("%s (%v), asked %d times", status.State, err, p.server.asked())
			}
		})
	}
}

func TestDeactivateGivesThePlaceBack(t *testing.T) {
	p := newPlugin(t)
	client, end := p.start()
	if err := client.Deactivate(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.want(client, StateDegraded)
	if client.Status().Reason != ReasonDeactivated {
		t.Errorf("the status is %+v", client.Status())
	}
	p.server.forget()
	p.clock.Advance(time.Hour)
	if p.server.asked() != 0 {
		t.Error("it asked after it gave its place back")
	}
	if _, err := client.Refresh(context.Background()); ReasonOf(err) != ReasonDeactivated {
		t.Errorf("Refresh: %v", err)
	}
	end()
	p.server.Close()
	client, _ = p.start()
	p.want(client, StateDegraded)
}

func TestDeactivateThatFailsKeepsTheTokenButNotTheLease(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	p.server.with(func() { p.server.before = away })
	if err := client.Deactivate(context.Background()); ReasonOf(err) != ReasonServerBusy {
		t.Errorf("Deactivate: %v", err)
	}
	if !client.Status().OfflineUntil.IsZero() {
		t.Error("the lease was kept")
	}
	p.want(client, StateActive, allFeatures...)
}

func TestATokenThatForbidsThePluginGrantsNothing(t *testing.T) {
	p := newPlugin(t)
	p.server.change = func(claims map[string]any) {
		claims["plugin_permissions"] = map[string]any{testPlugin: map[string]any{"allowed": false}}
	}
	client, _ := p.start()
	p.want(client, StateActive)
}

func TestPlainHTTPToAnotherMachineIsWarnedOf(t *testing.T) {
	for address, exposed := range map[string]bool{
		"http://licence.example.test": true, "http://10.0.0.7:8000": true, "http://127.0.0.1:8000": false,
		"http://[::1]:8000": false, "http://localhost:1": false, "https://licence.example.test": false,
		"http://localhost.example.test": true,
	} {
		transport, err := newTransport(address, nil, "test")
		if err != nil || transport.isExposed() != exposed {
			t.Errorf("%s: %v, %v", address, transport, err)
		}
	}
	p := newPlugin(t)
	own := p.settings
	own.ServerURL = "http://licence.example.test"
	if _, err := newAgent(own, p.vendor.build(), nil); err != nil || !strings.Contains(p.log.String(), "plain HTTP") {
		t.Errorf("no warning: %v", err)
	}
}

func TestServerURLsThatAreNone(t *testing.T) {
	for _, address := range []string{"", "licence.example.test", "ftp://x", "http://", "https://u:p@x", "https://x/?a=b", "https://x#f"} {
		_, err := newTransport(address, nil, "test")
		wantReason(t, err, ReasonOptionsInvalid)
	}
}

func TestCredentialsDoNotFollowARedirect(t *testing.T) {
	p := newPlugin(t)
	var reached sync.Map
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		reached.Store(request.URL.Path, request.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	p.server.before = func(writer http.ResponseWriter, request *http.Request, _ []byte) bool {
		http.Redirect(writer, request, elsewhere.URL+request.URL.Path, http.StatusTemporaryRedirect)
		return true
	}
	p.settings.HTTPClient = &http.Client{}
	client, _ := p.start()
	p.want(client, StateDegraded)
	reached.Range(func(path, _ any) bool {
		t.Errorf("%v was followed", path)
		return true
	})
	if p.settings.HTTPClient.CheckRedirect != nil {
		t.Error("the host's own client was changed")
	}
}

func TestNoSecretIsLogged(t *testing.T) {
	p := newPlugin(t)
	client, _ := p.start()
	for _, before := range []func(http.ResponseWriter, *http.Request, []byte) bool{
		away, denying(403, "TIER_TOO_LOW"), denying(403, "BUILD_UNKNOWN"), denying(429, "RATE_LIMITED"), nil,
	} {
		p.server.with(func() { p.server.before = before })
		_, _ = client.Refresh(context.Background())
	}
	text := p.log.String()
	if text == "" {
		t.Fatal("nothing was logged")
	}
	var secrets []string
	p.server.with(func() {
		for _, request := range p.server.seen {
			secrets = append(secrets, request.credential)
		}
	})
	for _, secret := range append(secrets, testAPIKey, string(p.vendor.secret), fmt.Sprintf("%x", p.vendor.secret)) {
		if secret != "" && strings.Contains(text, secret) {
			t.Error("a secret was logged")
		}
	}
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
