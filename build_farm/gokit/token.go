package keywright

import (
	"encoding/json"
	"strings"
	"time"
)

const (
	tokenType = "at+jwt"
	leaseType = "lease+jwt"

	// A token lives 15 minutes by default; one that claims more than a day is not one of ours.
	maximumTokenLifetime = 24 * time.Hour
	// REAUTHENTICATION_DUE comes 24 hours after auth_time: the kit does not wait for it.
	reauthenticationPeriod = 24 * time.Hour
)

// Permissions is what a token says about one plugin. Allowed is false for a plugin the token does not name.
type Permissions struct {
	Allowed   bool
	RateLimit int64 // requests per minute of the plugin's own work; 0 when the token sets none
	Quota     int64 // events per day; 0 when the token sets none
	// Raw is the whole object as it was signed, with whatever else the permission manifest put there.
	Raw json.RawMessage
}

// token is a plugin token that was believed.
type token struct {
	text           string
	installationID string
	tier           string
	mode           string
	issuedAt       time.Time
	expiresAt      time.Time
	authTime       time.Time
	features       map[string]bool
	values         map[string]json.RawMessage
	permissions    Permissions // of this plugin
	isForbidden    bool        // the token says in so many words that this plugin may not run
}

// tokenClaims are the claims of DESIGN section 6. A pointer tells a missing claim from a zero one.
type tokenClaims struct {
	Issuer      string                     `json:"iss"`
	Audience    string                     `json:"aud"`
	Subject     string                     `json:"sub"`
	ClientID    string                     `json:"client_id"`
	IssuedAt    *int64                     `json:"iat"`
	NotBefore   *int64                     `json:"nbf"`
	ExpiresAt   *int64                     `json:"exp"`
	ID          string                     `json:"jti"`
	AuthTime    *int64                     `json:"auth_time"`
	CustomerID  string                     `json:"customer_id"`
	Tier        string                     `json:"subscription_tier"`
	Features    *[]string                  `json:"authorized_features"`
	Permissions map[string]json.RawMessage `json:"plugin_permissions"`
	Version     string                     `json:"ver"`
	BuildID     *string                    `json:"bld"`
	KeyID       string                     `json:"key"`
	Mode        string                     `json:"mode"`
	Nonce       *string                    `json:"nonce"`
}

// unverifiedTokenType tells only which error to give: a lease offered as a token has a reason of its own.
func wrongType(parsed *jws, wanted string) error {
	if strings.HasSuffix(parsed.unverifiedHeader, `,"typ":"`+wanted+`"}`) {
		return nil
	}
	return refuse(ReasonTokenType, "the header is not that of a %s", wanted)
}

// openToken believes a plugin token that answers our nonce.
//
// floor is the latest instant that is certain: the newest signed time plus the monotonic clock since. The wall
// clock has no say: a token that echoes a nonce made a moment ago shows what time it is now, so a wall clock that
// runs ahead locks nobody out. The key set must have been valid at that time.
func openToken(text, nonce string, set *keySet, build *build, floor time.Time) (*token, error) {
	parsed, err := parseJWS(text)
	if err != nil {
		return nil, refuse(ReasonTokenInvalid, "the token is no compact JWS: %v", err)
	}
	if err := wrongType(parsed, tokenType); err != nil {
		return nil, err
	}
	payload, err := set.openWithKey(parsed, tokenType, "token")
	if err != nil {
		return nil, err
	}
	var claims tokenClaims
	if err := decodeSigned(payload, &claims); err != nil {
		return nil, refuse(ReasonTokenInvalid, "the token: %v", err)
	}
	if err := claims.checkComplete(); err != nil {
		return nil, err
	}
	if err := claims.checkForUs(nonce, build); err != nil {
		return nil, err
	}
	if err := claims.checkTimes(floor); err != nil {
		return nil, err
	}
	if err := set.validAt(unixTime(*claims.IssuedAt)); err != nil {
		return nil, err
	}
	return claims.token(text, build.PluginName), nil
}

func (c *tokenClaims) checkComplete() error {
	if c.IssuedAt == nil || c.NotBefore == nil || c.ExpiresAt == nil || c.AuthTime == nil || c.Features == nil {
		return refuse(ReasonTokenInvalid, "a claim is missing from the token")
	}
	if c.Subject == "" || c.ID == "" || c.Tier == "" || c.KeyID == "" || c.Mode == "" || c.Permissions == nil {
		return refuse(ReasonTokenInvalid, "a claim is missing from the token")
	}
	return nil
}

func (c *tokenClaims) checkForUs(nonce string, build *build) error {
	pairs := []struct{ claim, got, wanted string }{
		{"iss", c.Issuer, build.Issuer},
		{"aud", c.Audience, build.PluginName},
		{"client_id", c.ClientID, build.CustomerID},
		{"customer_id", c.CustomerID, build.CustomerID},
		{"ver", c.Version, build.PluginVersion},
	}
	for _, pair := range pairs {
		if pair.got != pair.wanted {
			return refuse(ReasonTokenForeign, "%s is %q and not %q", pair.claim, pair.got, pair.wanted)
		}
	}
	// Null is for plugins that accept unsigned callers; a build that is named must be this one.
	if c.BuildID != nil && *c.BuildID != build.BuildID {
		return refuse(ReasonTokenForeign, "bld names another build")
	}
	if c.Nonce == nil || *c.Nonce != nonce {
		return refuse(ReasonTokenStale, "the token does not answer our nonce")
	}
	return nil
}

func (c *tokenClaims) checkTimes(floor time.Time) error {
	issuedAt, expiresAt := unixTime(*c.IssuedAt), unixTime(*c.ExpiresAt)
	if !issuedAt.Before(expiresAt) || expiresAt.Sub(issuedAt) > maximumTokenLifetime {
		return refuse(ReasonTokenInvalid, "iat and exp are not those of a plugin token")
	}
	if *c.NotBefore > *c.IssuedAt || *c.AuthTime > *c.IssuedAt {
		return refuse(ReasonTokenInvalid, "nbf or auth_time is after iat")
	}
	if !floor.Before(expiresAt) {
		return refuse(ReasonTokenStale, "the token had expired at %s", expiresAt.Format(time.RFC3339))
	}
	return nil
}

func (c *tokenClaims) token(text, pluginName string) *token {
	features := make(map[string]bool, len(*c.Features))
	for _, code := range *c.Features {
		features[code] = true
	}
	// Typed values, where the server signs them, stand in the plugin's permissions; other members are the host's.
	var own struct {
		Values map[string]json.RawMessage `json:"feature_values"`
	}
	raw, isNamed := c.Permissions[pluginName]
	_ = json.Unmarshal(raw, &own)
	permissions := readPermissions(raw)
	return &token{
		text: text, installationID: c.Subject, tier: c.Tier, mode: c.Mode,
		issuedAt: unixTime(*c.IssuedAt), expiresAt: unixTime(*c.ExpiresAt), authTime: unixTime(*c.AuthTime),
		features: features, values: own.Values,
		permissions: permissions, isForbidden: isNamed && !permissions.Allowed,
	}
}

// readPermissions reads the short form of one plugin's permissions; nil gives none.
func readPermissions(raw json.RawMessage) Permissions {
	var short struct {
		Allowed   bool  `json:"allowed"`
		RateLimit int64 `json:"rate_limit"` // null leaves it 0
		Quota     int64 `json:"quota"`
	}
	if json.Unmarshal(raw, &short) != nil {
		return Permissions{Raw: raw}
	}
	return Permissions{Allowed: short.Allowed, RateLimit: short.RateLimit, Quota: short.Quota, Raw: raw}
}
