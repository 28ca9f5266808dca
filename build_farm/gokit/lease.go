package keywright

import "time"

// lease is an offline lease that was believed: each feature until its own end, nothing after offlineUntil.
type lease struct {
	text           string
	installationID string
	issuedAt       time.Time
	offlineUntil   time.Time
	features       map[string]time.Time
}

type leaseClaims struct {
	Issuer       string           `json:"iss"`
	Audience     string           `json:"aud"`
	Subject      string           `json:"sub"`
	ClientID     string           `json:"client_id"`
	CustomerID   string           `json:"customer_id"`
	Plugin       string           `json:"plugin"`
	Version      string           `json:"ver"`
	BuildID      *string          `json:"bld"`
	IssuedAt     *int64           `json:"iat"`
	NotBefore    *int64           `json:"nbf"`
	ExpiresAt    *int64           `json:"exp"`
	OfflineUntil *int64           `json:"offline_until"`
	Features     map[string]int64 `json:"features"`
}

// openLease believes an offline lease signed by a lease key of the set.
//
// The set must have been valid when the lease was issued, not now: a lease may outlive the key set it came with,
// because an outage keeps us from a newer one.
func openLease(text string, set *keySet, build *build) (*lease, error) {
	parsed, err := parseJWS(text)
	if err != nil {
		return nil, refuse(ReasonLeaseInvalid, "the lease is no compact JWS: %v", err)
	}
	if err := wrongType(parsed, leaseType); err != nil {
		return nil, err
	}
	payload, err := set.openWithKey(parsed, leaseType, "lease")
	if err != nil {
		return nil, err
	}
	var claims leaseClaims
	if err := decodeSigned(payload, &claims); err != nil {
		return nil, refuse(ReasonLeaseInvalid, "the lease: %v", err)
	}
	if err := claims.check(build); err != nil {
		return nil, err
	}
	if err := set.validAt(unixTime(*claims.IssuedAt)); err != nil {
		return nil, err
	}
	return claims.lease(text), nil
}

func (c *leaseClaims) check(build *build) error {
	if c.IssuedAt == nil || c.NotBefore == nil || c.ExpiresAt == nil || c.OfflineUntil == nil || c.Features == nil {
		return refuse(ReasonLeaseInvalid, "a claim is missing from the lease")
	}
	if *c.OfflineUntil != *c.ExpiresAt || *c.IssuedAt >= *c.ExpiresAt || c.Subject == "" {
		return refuse(ReasonLeaseInvalid, "the lease's claims disagree")
	}
	pairs := []struct{ claim, got, wanted string }{
		{"iss", c.Issuer, build.Issuer},
		{"aud", c.Audience, "lease"},
		{"client_id", c.ClientID, build.CustomerID},
		{"customer_id", c.CustomerID, build.CustomerID},
		{"plugin", c.Plugin, build.PluginName},
		{"ver", c.Version, build.PluginVersion},
	}
	for _, pair := range pairs {
		if pair.got != pair.wanted {
			return refuse(ReasonLeaseInvalid, "%s is %q and not %q", pair.claim, pair.got, pair.wanted)
		}
	}
	if c.BuildID != nil && *c.BuildID != build.BuildID {
		return refuse(ReasonLeaseInvalid, "bld names another build")
	}
	return nil
}

func (c *leaseClaims) lease(text string) *lease {
	features := make(map[string]time.Time, len(c.Features))
	for code, until := range c.Features {
		features[code] = unixTime(min(until, *c.OfflineUntil))
	}
	return &lease{
		text: text, installationID: c.Subject, features: features,
		issuedAt: unixTime(*c.IssuedAt), offlineUntil: unixTime(*c.OfflineUntil),
	}
}

// allows says whether the feature may be used offline at the instant. The end itself belongs to the "after".
func (l *lease) allows(code string, now time.Time) bool {
	until, ok := l.features[code]
	return ok && now.Before(until)
}

// isAlive says whether anything of the lease can still be used.
func (l *lease) isAlive(now time.Time) bool { return now.Before(l.offlineUntil) }
