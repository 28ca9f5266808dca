package keywright

import (
	"errors"
	"fmt"
)

// Reason says, in one stable word, why this package did not believe something.
//
// Reasons are the kit's own; a Code is the server's.
type Reason string

// Reasons for refusing to start: the package or the build is not what its vendor signed.
const (
	ReasonEmbeddedInvalid       Reason = "EMBEDDED_INVALID"
	ReasonOptionsInvalid        Reason = "OPTIONS_INVALID"
	ReasonPackageFileMissing    Reason = "PACKAGE_FILE_MISSING"
	ReasonPackageFileUnreadable Reason = "PACKAGE_FILE_UNREADABLE"
	ReasonPackageFileChanged    Reason = "PACKAGE_FILE_CHANGED"
	ReasonPackageFileUnlisted   Reason = "PACKAGE_FILE_UNLISTED"
	ReasonManifestSignature     Reason = "MANIFEST_SIGNATURE_INVALID"
	ReasonManifestInvalid       Reason = "MANIFEST_INVALID"
	ReasonManifestMismatch      Reason = "MANIFEST_MISMATCH"
	ReasonBinaryChanged         Reason = "BINARY_CHANGED"
	ReasonBinarySignature       Reason = "BINARY_SIGNATURE_INVALID"
)

// Reasons for not believing a certificate.
const (
	ReasonCertificateInvalid Reason = "CERTIFICATE_INVALID"
	ReasonCertificateForeign Reason = "CERTIFICATE_FOREIGN"
	ReasonCertificatePurpose Reason = "CERTIFICATE_PURPOSE"
	ReasonCertificateLapsed  Reason = "CERTIFICATE_LAPSED"
)

// Reasons for having no secret yet.
const (
	ReasonAPIKeyMissing     Reason = "API_KEY_MISSING"
	ReasonAPIKeyMalformed   Reason = "API_KEY_MALFORMED"
	ReasonKeySlotMissing    Reason = "KEY_SLOT_MISSING"
	ReasonKeySlotsInvalid   Reason = "KEY_SLOTS_INVALID"
	ReasonSecretUnopened    Reason = "SECRET_UNOPENED"
	ReasonRandomUnavailable Reason = "RANDOM_UNAVAILABLE"
)

// Reasons for having no answer, or for not believing one.
const (
	ReasonNotAsked         Reason = "NOT_ASKED_YET"
	ReasonUnreachable      Reason = "UNREACHABLE"
	ReasonNotAnAnswer      Reason = "NOT_AN_ANSWER"
	ReasonServerBusy       Reason = "SERVER_BUSY"
	ReasonKeySetInvalid    Reason = "KEY_SET_INVALID"
	ReasonKeySetExpired    Reason = "KEY_SET_EXPIRED"
	ReasonKeySetRolledBack Reason = "KEY_SET_ROLLED_BACK"
	ReasonTokenInvalid     Reason = "TOKEN_NOT_BELIEVED"
	ReasonTokenType        Reason = "TOKEN_OF_ANOTHER_TYPE"
	ReasonTokenKeyUnknown  Reason = "TOKEN_KEY_UNKNOWN"
	ReasonTokenForeign     Reason = "TOKEN_FOR_ANOTHER"
	ReasonTokenStale       Reason = "TOKEN_STALE"
	ReasonLeaseInvalid     Reason = "LEASE_NOT_BELIEVED"
	ReasonStateForeign     Reason = "STATE_NOT_BELIEVED"
	ReasonNoToken          Reason = "NO_TOKEN"
	ReasonDeactivated      Reason = "DEACTIVATED"
)

// Refusal is the error of everything this package does not believe. Detail never holds a secret.
type Refusal struct {
	Reason Reason
	Detail string
}

func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Detail }

func refuse(reason Reason, format string, arguments ...any) *Refusal {
	return &Refusal{Reason: reason, Detail: fmt.Sprintf(format, arguments...)}
}

// ReasonOf gives the reason inside err, or "" when err is no Refusal.
func ReasonOf(err error) Reason {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal.Reason
	}
	return ""
}
