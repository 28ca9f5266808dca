package keywright

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Each code does what docs/gokit.md says of it, at the first question and at a later one.
func TestEachCodeHasItsEffect(t *testing.T) {
	for code, meaning := range effects {
		if meaning == effectReauthenticate {
			continue
		}
		t.Run(string(code), func(t *testing.T) {
			p := newPlugin(t)
			client, _ := p.start()
			p.server.with(func() { p.server.before = denying(http.StatusForbidden, string(code)) })
			p.clock.Advance(5 * time.Minute)
			want := map[effect]State{effectDegrade: StateDegraded, effectRevoke: StateRevoked}[meaning]
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
	for code, meaning := range effects {
		if meaning != effectReauthenticate {
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
