package keywright

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

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
