package keywright

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"
)

// State is where a plugin stands with its server.
type State string

// The states of DESIGN section 8.
const (
	// StateActive: the last question was answered with a yes that still holds.
	StateActive State = "active"
	// StateLate: the server did not answer lately, the last token still holds.
	StateLate State = "late"
	// StateOffline: no token holds any more; the offline lease does.
	StateOffline State = "offline"
	// StateDegraded: the server said no for a reason that can be mended, or there is nothing left to stand on.
	StateDegraded State = "degraded"
	// StateRevoked: something was revoked or quarantined.
	StateRevoked State = "revoked"
)

// Status is what a plugin can be told, and tell its user, about its licence.
type Status struct {
	State State
	// Code is the server's answer that led to degraded or revoked; empty when it did not say no.
	Code Code
	// Reason says why there is no believable answer; empty when there is one.
	Reason Reason
	// Detail is a sentence for people. It holds no secret.
	Detail         string
	CustomerID     string
	Tier           string
	InstallationID string
	// Features are those that HasFeature says yes to, sorted.
	Features []string
	// TokenExpiresAt and OfflineUntil are zero when there is no token or lease.
	TokenExpiresAt time.Time
	OfflineUntil   time.Time
	// QuotaExceeded: the server counted more usage today than the tier allows.
	QuotaExceeded bool
}

// differs says whether a listener should hear of it: a renewed token alone is no news.
func (s Status) differs(other Status) bool {
	return s.State != other.State || s.Code != other.Code || s.Reason != other.Reason || s.Tier != other.Tier ||
		s.InstallationID != other.InstallationID || s.QuotaExceeded != other.QuotaExceeded ||
		!slices.Equal(s.Features, other.Features)
}

// RateLimit is the customer's allowance for the plugin's own work; 0 is "none set".
type RateLimit struct {
	RequestsPerMinute int64
	EventsPerDay      int64
}

// Value is a feature as this customer has it, with the value its tier or an override gives.
type Value struct {
	Granted bool
	raw     json.RawMessage
}

// Int gives a numeric value, or fallback when the feature is not granted or has none.
func (v Value) Int(fallback int64) int64 {
	var number int64
	if !v.Granted || len(v.raw) == 0 || bytes.Equal(v.raw, []byte("null")) || json.Unmarshal(v.raw, &number) != nil {
		return fallback
	}
	return number
}

// Text gives a text value, or fallback when the feature is not granted or has none.
func (v Value) Text(fallback string) string {
	var text string
	if !v.Granted || len(v.raw) == 0 || bytes.Equal(v.raw, []byte("null")) || json.Unmarshal(v.raw, &text) != nil {
		return fallback
	}
	return text
}

// snapshot is all that readers see: made by the loop, never changed after.
type snapshot struct {
	build    *build
	clock    Clock
	timeline timeline
	token    *token // also after it expired: its permissions are the last known
	lease    *lease
	effect   effect // of code, the server's last no
	code     Code
	reason   Reason
	detail   string
	quota    bool
}

func (s *snapshot) state(now time.Time) State {
	switch {
	case s.effect == effectRevoke:
		return StateRevoked
	case s.effect == effectDegrade:
		return StateDegraded
	case s.hasToken(now) && s.reason == "":
		return StateActive
	case s.hasToken(now):
		return StateLate
	case s.hasLease(now):
		return StateOffline
	default:
		return StateDegraded
	}
}

func (s *snapshot) hasToken(now time.Time) bool {
	return s.effect == effectNone && s.token != nil && now.Before(s.token.expiresAt)
}

func (s *snapshot) hasLease(now time.Time) bool {
	return s.effect == effectNone && s.lease != nil && s.lease.isAlive(now)
}

func (s *snapshot) allows(code string, now time.Time) bool {
	switch {
	case s.hasToken(now):
		return s.token.features[code] && !s.token.isForbidden
	case s.hasLease(now):
		return s.lease.allows(code, now)
	default:
		return false
	}
}

func (s *snapshot) features(now time.Time) []string {
	var codes []string
	switch {
	case s.hasToken(now):
		for code := range s.token.features {
			codes = append(codes, code)
		}
	case s.hasLease(now):
		for code := range s.lease.features {
			codes = append(codes, code)
		}
	}
	codes = slices.DeleteFunc(codes, func(code string) bool { return !s.allows(code, now) })
	slices.Sort(codes)
	return codes
}

// nextEnd is the next instant at which something that holds now runs out by itself; zero when nothing will.
func (s *snapshot) nextEnd(now time.Time) time.Time {
	if s.hasToken(now) {
		return s.token.expiresAt
	}
	if !s.hasLease(now) {
		return time.Time{}
	}
	next := s.lease.offlineUntil
	for _, until := range s.lease.features {
		if until.After(now) && until.Before(next) {
			next = until
		}
	}
	return next
}

func (s *snapshot) status() Status {
	now := s.timeline.now(s.clock)
	status := Status{
		State: s.state(now), Code: s.code, Reason: s.reason, Detail: s.detail, CustomerID: s.build.CustomerID,
		Features: s.features(now), QuotaExceeded: s.quota,
	}
	if s.token != nil {
		status.Tier, status.InstallationID = s.token.tier, s.token.installationID
		status.TokenExpiresAt = s.token.expiresAt
	}
	if s.lease != nil {
		status.OfflineUntil = s.lease.offlineUntil
		if s.token == nil {
			status.InstallationID = s.lease.installationID
		}
	}
	return status
}
