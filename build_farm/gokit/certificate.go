package keywright

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"time"
)

// purpose is what a certificate may sign for: the last number of its one extended key usage.
type purpose int

const (
	purposeBinary purpose = iota + 1
	purposeManifest
	purposeKeySet
	purposeKeySlots
	purposePolicy
	purposeProvenance
)

func (p purpose) oid() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 75, 1, int(p)}
}

func (p purpose) String() string {
	names := [...]string{"", "binary", "manifest", "keyset", "keyslots", "policy", "provenance"}
	return names[p]
}

var extendedKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}

// verifyCertificate checks everything about a certificate that does not depend on time.
//
// The rules: signed with ECDSA and SHA-256 by the pinned authority itself (no intermediates), not a CA,
// no critical extension that went unread, and exactly one extended key usage, critical, which is the purpose.
// Without the last rule a key-slot signer could sign binaries.
func verifyCertificate(certificate *x509.Certificate, authority *ecdsa.PublicKey, wanted purpose) error {
	if certificate.SignatureAlgorithm != x509.ECDSAWithSHA256 {
		return refuse(ReasonCertificateForeign, "the %s certificate is not signed with ECDSA and SHA-256", wanted)
	}
	digest := sha256.Sum256(certificate.RawTBSCertificate)
	if !ecdsa.VerifyASN1(authority, digest[:], certificate.Signature) {
		return refuse(ReasonCertificateForeign, "the %s certificate was not issued by the pinned PluginAuthority", wanted)
	}
	if certificate.IsCA || len(certificate.UnhandledCriticalExtensions) > 0 {
		return refuse(ReasonCertificateInvalid, "the %s certificate is a CA or has an unknown critical extension", wanted)
	}
	if !hasOnlyPurpose(certificate, wanted) {
		return refuse(ReasonCertificatePurpose, "the certificate does not have the one critical purpose %s", wanted)
	}
	return nil
}

func hasOnlyPurpose(certificate *x509.Certificate, wanted purpose) bool {
	if len(certificate.ExtKeyUsage) != 0 || len(certificate.UnknownExtKeyUsage) != 1 {
		return false
	}
	if !certificate.UnknownExtKeyUsage[0].Equal(wanted.oid()) {
		return false
	}
	for _, extension := range certificate.Extensions {
		if extension.Id.Equal(extendedKeyUsage) {
			return extension.Critical
		}
	}
	return false
}

// checkCertificateTime refuses a certificate that was not valid at the instant.
func checkCertificateTime(certificate *x509.Certificate, instant time.Time, wanted purpose) error {
	if instant.Before(certificate.NotBefore) || instant.After(certificate.NotAfter) {
		return refuse(ReasonCertificateLapsed, "the %s certificate was not valid at %s", wanted,
			instant.UTC().Format(time.RFC3339))
	}
	return nil
}

// certificateFromX5C reads one certificate from the base64 DER of an x5c member, in its canonical form only.
func certificateFromX5C(encoded string) (*x509.Certificate, error) {
	der, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || base64.StdEncoding.EncodeToString(der) != encoded {
		return nil, refuse(ReasonCertificateInvalid, "x5c is not canonical base64")
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, refuse(ReasonCertificateInvalid, "x5c is not a certificate")
	}
	return certificate, nil
}

// chain is a package's plugin.crt, read: the two signers that a plugin needs.
type chain struct {
	binary   *x509.Certificate
	manifest *x509.Certificate
}

// parseChain reads plugin.crt: binary signer, manifest signer, perhaps the provenance signer, then PluginAuthority.
//
// The file must be exactly the PEM blocks, without headers or text around them: PEM readers skip what they do
// not know, and a byte that is skipped is a byte that can be changed unseen.
func parseChain(contents []byte, authority *ecdsa.PublicKey) (*chain, error) {
	certificates, err := certificatesFromPEM(contents)
	if err != nil {
		return nil, err
	}
	if len(certificates) != 3 && len(certificates) != 4 {
		return nil, refuse(ReasonCertificateInvalid, "plugin.crt holds %d certificates, not 3 or 4", len(certificates))
	}
	purposes := []purpose{purposeBinary, purposeManifest, purposeProvenance}
	signers, root := certificates[:len(certificates)-1], certificates[len(certificates)-1]
	for index, certificate := range signers {
		if err := verifyCertificate(certificate, authority, purposes[index]); err != nil {
			return nil, err
		}
	}
	if key, ok := root.PublicKey.(*ecdsa.PublicKey); !ok || !key.Equal(authority) {
		return nil, refuse(ReasonCertificateForeign, "plugin.crt ends in another authority than the pinned one")
	}
	return &chain{binary: signers[0], manifest: signers[1]}, nil
}

func certificatesFromPEM(contents []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	var canonical bytes.Buffer
	for rest := contents; len(rest) > 0 && len(certificates) < 8; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			return nil, refuse(ReasonCertificateInvalid, "plugin.crt holds something that is no certificate")
		}
		certificates = append(certificates, certificate)
		// Writing to a bytes.Buffer cannot fail.
		_ = pem.Encode(&canonical, &pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes})
	}
	if !bytes.Equal(canonical.Bytes(), contents) {
		return nil, refuse(ReasonCertificateInvalid, "plugin.crt is not plain PEM certificates one after the other")
	}
	return certificates, nil
}
