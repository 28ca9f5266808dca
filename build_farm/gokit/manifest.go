package keywright

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"time"
)

const manifestType = "keywright-manifest/v1"

// Manifest is a package's plugin.manifest: the seed's fields and what Keywright adds.
//
// Hash is lower-case hex of SHA-256 over the binary. Files names every other file of the package but the
// manifest and its signature, and the binary as "plugin" or "plugin.exe". Times are RFC 3339 in UTC.
type Manifest struct {
	Type               string                  `json:"_type"`
	Name               string                  `json:"name"`
	Version            string                  `json:"version"`
	Target             string                  `json:"target"`
	CustomerID         string                  `json:"customer_id"`
	Tier               string                  `json:"tier"`
	BuildID            string                  `json:"build_id"`
	BuildTime          string                  `json:"build_time"`
	SignedAt           string                  `json:"signed_at"`
	Hash               string                  `json:"hash"`
	SignatureAlgorithm string                  `json:"signature_algorithm"`
	Features           []string                `json:"features"`
	Permissions        json.RawMessage         `json:"permissions"`
	Resources          json.RawMessage         `json:"resources"`
	Files              map[string]ManifestFile `json:"files"`
}

// ManifestFile is one file of a package: lower-case hex SHA-256, and bytes.
type ManifestFile struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// openManifest gives the manifest if the manifest signer signed exactly these bytes. The signature is checked
// before anything is parsed.
func openManifest(contents, signature []byte, signer *x509.Certificate) (*Manifest, error) {
	key, ok := signer.PublicKey.(*ecdsa.PublicKey)
	digest := sha256.Sum256(contents)
	if !ok || !ecdsa.VerifyASN1(key, digest[:], signature) {
		return nil, refuse(ReasonManifestSignature, "plugin.manifest.sig does not sign plugin.manifest")
	}
	var manifest Manifest
	if err := decodeSigned(contents, &manifest); err != nil {
		return nil, refuse(ReasonManifestInvalid, "plugin.manifest: %v", err)
	}
	if manifest.Type != manifestType || manifest.SignatureAlgorithm != "SHA256-RSA" {
		return nil, refuse(ReasonManifestInvalid, "plugin.manifest is not a %s of SHA256-RSA", manifestType)
	}
	return &manifest, nil
}

// signingTime is the instant at which the certificates must have been valid.
func (m *Manifest) signingTime() (time.Time, error) {
	instant, err := time.Parse(time.RFC3339, m.SignedAt)
	if err != nil {
		return time.Time{}, refuse(ReasonManifestInvalid, "signed_at is not an RFC 3339 time")
	}
	return instant, nil
}

// checkBuild refuses the manifest of another build: both could be signed, yet not belong together.
func (m *Manifest) checkBuild(build *build) error {
	pairs := []struct{ field, manifest, embedded string }{
		{"customer_id", m.CustomerID, build.CustomerID},
		{"name", m.Name, build.PluginName},
		{"version", m.Version, build.PluginVersion},
		{"target", m.Target, build.Target},
		{"build_id", m.BuildID, build.BuildID},
	}
	for _, pair := range pairs {
		if pair.manifest != pair.embedded {
			return refuse(ReasonManifestMismatch, "%s is %q in the manifest and %q in the binary",
				pair.field, pair.manifest, pair.embedded)
		}
	}
	return nil
}
