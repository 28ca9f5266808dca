package keywright

// Code is one of the server's answers. Codes are public contract and never renamed (DESIGN section 5).
type Code string

// Codes that the kit tells apart by name.
const (
	CodeProofInvalid        Code = "PROOF_INVALID"
	CodeProofReplayed       Code = "PROOF_REPLAYED"
	CodeEntitlementsChanged Code = "ENTITLEMENTS_CHANGED"
	CodeQuotaExceeded       Code = "QUOTA_EXCEEDED"
	CodeValid               Code = "VALID"
)

// effect is what a code from the server does to the client.
type effect int

const (
	// effectNone: not a "no". Unknown codes, RATE_LIMITED and everything that is not in the table.
	effectNone effect = iota
	// effectDegrade: no, for a reason that a person can mend on the server; the kit keeps asking.
	effectDegrade
	// effectRevoke: no, because something was withdrawn; the kit asks again only rarely.
	effectRevoke
	// effectReauthenticate: the token is over, which says nothing about the customer: ask with the API key.
	effectReauthenticate
)

// effects is the whole table; docs/gokit.md prints it.
var effects = map[Code]effect{
	"API_KEY_INVALID":            effectDegrade,
	"API_KEY_EXPIRED":            effectDegrade,
	"SCOPE_MISSING":              effectDegrade,
	"IP_NOT_ALLOWED":             effectDegrade,
	"LOCKDOWN":                   effectDegrade,
	"CUSTOMER_MISMATCH":          effectDegrade,
	"CUSTOMER_SUSPENDED":         effectDegrade,
	"SUBSCRIPTION_NONE":          effectDegrade,
	"SUBSCRIPTION_EXPIRED":       effectDegrade,
	"SUBSCRIPTION_PAUSED":        effectDegrade,
	"PLUGIN_UNKNOWN":             effectDegrade,
	"BUILD_EXPIRED":              effectDegrade,
	"VERSION_BLOCKED":            effectDegrade,
	"TIER_TOO_LOW":               effectDegrade,
	"PROOF_REQUIRED":             effectDegrade,
	CodeProofInvalid:             effectDegrade,
	CodeProofReplayed:            effectDegrade,
	"INSTALLATION_LIMIT_REACHED": effectDegrade,

	"API_KEY_REVOKED":          effectRevoke,
	"TOKEN_REVOKED":            effectRevoke,
	"PLUGIN_QUARANTINED":       effectRevoke,
	"BUILD_UNKNOWN":            effectRevoke,
	"BUILD_QUARANTINED":        effectRevoke,
	"INSTALLATION_QUARANTINED": effectRevoke,

	"TOKEN_INVALID":        effectReauthenticate,
	"TOKEN_EXPIRED":        effectReauthenticate,
	"REAUTHENTICATION_DUE": effectReauthenticate,
	"PLUGIN_MISMATCH":      effectReauthenticate,
}
