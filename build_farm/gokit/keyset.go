package keywright

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"time"
)

const (
	keySetType          = "keywright-keyset/v1"
	maximumKeySetDays   = 7
	maximumKeySetCert   = 90 * 24 * time.Hour
	maximumKeySetPeriod = maximumKeySetDays * 24 * time.Hour
)

// verifySignedDocument gives the payload of a JWS that carries its certificate, and that certificate, if the
// pinned authority issued it for the purpose. It says nothing about time.
func verifySignedDocument(parsed *jws, typ string, wanted purpose, build *build) ([]byte, *x509.Certificate, error) {
	text, ok := parsed.certificateText(typ)
	if !ok {
		return nil, nil, refuse(ReasonCertificateInvalid, "the header is not that of a %s", typ)
	}
	certificate, err := certificateFromX5C(text)
	if err != nil {
		return nil, nil, err
	}
	if err := verifyCertificate(certificate, build.authority, wanted); err != nil {
		return nil, nil, err
	}
	key, isECDSA := certificate.PublicKey.(*ecdsa.PublicKey)
	if !isECDSA {
		return nil, nil, refuse(ReasonCertificateInvalid, "the %s signer's key is not EC P-256", wanted)
	}
	payload, valid := parsed.verifiedPayload(key)
	if !valid {
		return nil, nil, refuse(ReasonCertificateInvalid, "the %s signature is wrong", wanted)
	}
	return payload, certificate, nil
}

// keySet is a signed key set whose signer, form and issuer were checked. Whether it is valid now, validAt says.
type keySet struct {
	text        string
	version     int64
	issuedAt    time.Time
	expiresAt   time.Time
	certificate *x509.Certificate
	keys        []publicKey
}

type publicKey struct {
	id      string
	purpose string // "token" or "lease"
	key     *ecdsa.PublicKey
}

type keySetPayload struct {
	Type      string       `json:"_type"`
	Issuer    string       `json:"iss"`
	Version   int64        `json:"version"`
	IssuedAt  int64        `json:"issued_at"`
	ExpiresAt int64        `json:"expires_at"`
	Keys      []jsonWebKey `json:"keys"`
}

type jsonWebKey struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	Y         string `json:"y"`
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	Use       string `json:"use"`
	Purpose   string `json:"purpose"`
}

// openKeySet reads the signed key set of DESIGN section 6: everything but the clock and what was seen before.
func openKeySet(text string, build *build) (*keySet, error) {
	parsed, err := parseJWS(text)
	if err != nil {
		return nil, refuse(ReasonKeySetInvalid, "the key set is no compact JWS: %v", err)
	}
	raw, certificate, err := verifySignedDocument(parsed, "keyset+jws", purposeKeySet, build)
	if err != nil {
		return nil, err
	}
	if certificate.NotAfter.Sub(certificate.NotBefore) > maximumKeySetCert {
		return nil, refuse(ReasonCertificateInvalid, "the key-set certificate lives longer than 90 days")
	}
	var payload keySetPayload
	if err := decodeSigned(raw, &payload); err != nil {
		return nil, refuse(ReasonKeySetInvalid, "the key set: %v", err)
	}
	set := &keySet{
		text: text, version: payload.Version, certificate: certificate,
		issuedAt: unixTime(payload.IssuedAt), expiresAt: unixTime(payload.ExpiresAt),
	}
	if payload.Type != keySetType || payload.Issuer != build.Issuer {
		return nil, refuse(ReasonKeySetInvalid, "the key set is of another type or issuer")
	}
	if set.expiresAt.Sub(set.issuedAt) > maximumKeySetPeriod {
		return nil, refuse(ReasonKeySetInvalid, "the key set lives longer than %d days", maximumKeySetDays)
	}
	for _, member := range payload.Keys {
		key, err := member.publicKey()
		if err != nil {
			return nil, refuse(ReasonKeySetInvalid, "a key of the key set: %v", err)
		}
		set.keys = append(set.keys, key)
	}
	return set, nil
}

func (k jsonWebKey) publicKey() (publicKey, error) {
	if k.Type != "EC" || k.Curve != "P-256" || k.Algorithm != "ES256" || k.Use != "sig" {
		return publicKey{}, fmt.Errorf("not an ES256 signing key")
	}
	if k.Purpose != "token" && k.Purpose != "lease" {
		return publicKey{}, fmt.Errorf("unknown purpose %q", k.Purpose)
	}
	x, errX := canonicalBase64URL(k.X)
	y, errY := canonicalBase64URL(k.Y)
	if errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
		return publicKey{}, fmt.Errorf("coordinates are not 32 bytes of base64url")
	}
	point := append(append([]byte{4}, x...), y...)
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return publicKey{}, fmt.Errorf("not a point of P-256")
	}
	// RFC 7638: the members in this order, without white space. A kid that is not the thumbprint names another key.
	thumbprint := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, k.X, k.Y))
	if base64.RawURLEncoding.EncodeToString(thumbprint[:]) != k.ID {
		return publicKey{}, fmt.Errorf("kid is not the RFC 7638 thumbprint")
	}
	return publicKey{id: k.ID, purpose: k.Purpose, key: key}, nil
}

// seenKeySet is the newest that was ever believed: a key set never goes back.
type seenKeySet struct {
	Version           int64 `json:"version"`
	CertificateIssued int64 `json:"certificate_issued"`
}

func (s *keySet) seen() seenKeySet {
	return seenKeySet{Version: s.version, CertificateIssued: s.certificate.NotBefore.Unix()}
}

func (s seenKeySet) newest(other seenKeySet) seenKeySet {
	return seenKeySet{
		Version:           max(s.Version, other.Version),
		CertificateIssued: max(s.CertificateIssued, other.CertificateIssued),
	}
}

// checkNotOlder refuses a replayed key set: one that lists keys since withdrawn, or by a certificate since replaced.
func (s *keySet) checkNotOlder(seen seenKeySet) error {
	if s.version < seen.Version {
		return refuse(ReasonKeySetRolledBack, "key set version %d after version %d was seen", s.version, seen.Version)
	}
	if s.certificate.NotBefore.Unix() < seen.CertificateIssued {
		return refuse(ReasonKeySetRolledBack, "the key-set certificate is older than the newest seen")
	}
	return nil
}

// validAt says whether the set and its certificate are valid at the instant.
func (s *keySet) validAt(instant time.Time) error {
	if err := checkCertificateTime(s.certificate, instant, purposeKeySet); err != nil {
		return err
	}
	if !instant.Before(s.expiresAt) {
		return refuse(ReasonKeySetExpired, "the key set expired at %s", s.expiresAt.UTC().Format(time.RFC3339))
	}
	return nil
}

// openWithKey gives the payload of a JWS whose header is exactly the one we write for typ and for one of the
// set's keys of the purpose, and whose signature that key made.
func (s *keySet) openWithKey(parsed *jws, typ, keyPurpose string) ([]byte, error) {
	for _, candidate := range s.keys {
		header := fmt.Sprintf(`{"alg":"ES256","kid":"%s","typ":"%s"}`, candidate.id, typ)
		if candidate.purpose != keyPurpose || parsed.unverifiedHeader != header {
			continue
		}
		payload, ok := parsed.verifiedPayload(candidate.key)
		if !ok {
			return nil, refuse(ReasonTokenInvalid, "the signature is wrong")
		}
		return payload, nil
	}
	return nil, refuse(ReasonTokenKeyUnknown, "no %s key of the signed key set is named in the header", keyPurpose)
}

func unixTime(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
