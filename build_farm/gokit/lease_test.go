package keywright

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

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
