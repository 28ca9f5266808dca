package keywright

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

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

func TestATokensCodeInAnswerToAKeyIsNoAnswer(t *testing.T) {
	p := newPlugin(t)
	p.settings.APIKey = otherTestKey
	p.server.before = func(writer http.ResponseWriter, _ *http.Request, _ []byte) bool {
		problemTo(writer, http.StatusUnauthorized, "TOKEN_EXPIRED")
		return true
	}
	client, _ := p.start()
	p.want(client, StateDegraded)
	if status := client.Status(); status.Reason != ReasonNotAnAnswer || status.Code != "" {
		t.Errorf("the status is %+v", status)
	}
}
