package keywright

import (
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var packageNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func verifyWritten(v *vendor, directory string) error {
	_, err := verifyPackage(filepath.Join(directory, "plugin"), directory, v.build())
	return err
}

func TestAWholePackageIsBelieved(t *testing.T) {
	v := newVendor(t, packageNow)
	directory := v.newPackage().write()
	verified, err := verifyPackage(filepath.Join(directory, "plugin"), directory, v.build())
	if err != nil {
		t.Fatal(err)
	}
	signature, _ := os.ReadFile(filepath.Join(directory, "plugin.sig"))
	if string(verified.signature) != string(signature) || verified.manifest.Tier != "Pro" {
		t.Error("the verified package is not the one that was written")
	}
}

func TestAPackageWithoutProvenanceCertificateIsBelieved(t *testing.T) {
	v := newVendor(t, packageNow)
	made := v.newPackage()
	made.certificates = []*x509.Certificate{v.binary, v.manifest.certificate, v.root}
	if err := verifyWritten(v, made.write()); err != nil {
		t.Error(err)
	}
}

// One byte in every file after the other is flipped, all along it: none of these packages may be believed.
func TestAnyFlippedByteIsRefused(t *testing.T) {
	v := newVendor(t, packageNow)
	directory := v.newPackage().write()
	entries, err := os.ReadDir(directory)
	if err != nil || len(entries) != 8 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	build := v.build()
	for _, entry := range entries {
		t.Run(entry.Name(), func(t *testing.T) {
			path := filepath.Join(directory, entry.Name())
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			stride := max(1, len(whole)/200)
			for offset := 0; offset < len(whole); offset += stride {
				changed := append([]byte{}, whole...)
				changed[offset] ^= 1
				if err := os.WriteFile(path, changed, 0o600); err != nil {
					t.Fatal(err)
				}
				_, err := verifyPackage(filepath.Join(directory, "plugin"), directory, build)
				if ReasonOf(err) == "" {
					t.Fatalf("byte %d flipped: %v", offset, err)
				}
			}
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
	if err := verifyWritten(v, directory); err != nil {
		t.Errorf("put right again: %v", err)
	}
}

func TestAChangedPackageIsRefusedWithItsReason(t *testing.T) {
	flip := func(name string) func(*testing.T, *vendor, string) {
		return func(t *testing.T, _ *vendor, directory string) {
			path := filepath.Join(directory, name)
			contents, _ := os.ReadFile(path)
			contents[len(contents)/2] ^= 1
			_ = os.WriteFile(path, contents, 0o600)
		}
	}
	remove := func(name string) func(*testing.T, *vendor, string) {
		return func(_ *testing.T, _ *vendor, directory string) { _ = os.Remove(filepath.Join(directory, name)) }
	}
	write := func(name, contents string) func(*testing.T, *vendor, string) {
		return func(_ *testing.T, _ *vendor, directory string) {
			_ = os.WriteFile(filepath.Join(directory, name), []byte(contents), 0o600)
		}
	}
	cases := map[string]struct {
		change func(*testing.T, *vendor, string)
		want   Reason
	}{
		"binary changed":        {flip("plugin"), ReasonBinaryChanged},
		"signature changed":     {flip("plugin.sig"), ReasonBinarySignature},
		"manifest changed":      {flip("plugin.manifest"), ReasonManifestSignature},
		"manifest signature":    {flip("plugin.manifest.sig"), ReasonManifestSignature},
		"checksum changed":      {flip("plugin.sha256"), ReasonPackageFileChanged},
		"provenance changed":    {flip("plugin.provenance.json"), ReasonPackageFileChanged},
		"bill changed":          {flip("plugin.sbom.json"), ReasonPackageFileChanged},
		"bill missing":          {remove("plugin.sbom.json"), ReasonPackageFileMissing},
		"manifest missing":      {remove("plugin.manifest"), ReasonPackageFileMissing},
		"certificates missing":  {remove("plugin.crt"), ReasonPackageFileMissing},
		"text before the chain": {write("plugin.crt", "hello\n"), ReasonCertificateInvalid},
		"manifest is a folder": {func(_ *testing.T, _ *vendor, directory string) {
			_ = os.Remove(filepath.Join(directory, "plugin.manifest"))
			_ = os.Mkdir(filepath.Join(directory, "plugin.manifest"), 0o700)
		}, ReasonPackageFileUnreadable},
		"file too large": {func(_ *testing.T, _ *vendor, directory string) {
			_ = os.Truncate(filepath.Join(directory, "plugin.sbom.json"), maximumPackageFileBytes+1)
		}, ReasonPackageFileUnreadable},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t, packageNow)
			directory := v.newPackage().write()
			test.change(t, v, directory)
			wantReason(t, verifyWritten(v, directory), test.want)
		})
	}
}

// Here everything is signed, by someone or for something it must not be.
func TestAWronglySignedPackageIsRefusedWithItsReason(t *testing.T) {
	hour := time.Hour
	cases := map[string]struct {
		change func(*vendor, *testPackage)
		want   Reason
	}{
		"binary signed by another key": {func(_ *vendor, p *testPackage) { p.binaryKey = rsaKeys()[1] }, ReasonBinarySignature},
		"manifest signed by another key": {func(v *vendor, p *testPackage) { p.manifestKey = newECKey(v.t) },
			ReasonManifestSignature},
		"re-signed under another authority": {func(v *vendor, p *testPackage) {
			other := newVendor(v.t, v.now).newPackage()
			p.certificates, p.manifestKey = other.certificates, other.manifestKey
		}, ReasonCertificateForeign},
		"root swapped alone": {func(v *vendor, p *testPackage) {
			p.certificates[3] = newVendor(v.t, v.now).root
		}, ReasonCertificateForeign},
		"binary certificate lapsed at signing": {func(v *vendor, p *testPackage) {
			p.certificates[0] = v.issue(purposeBinary, &v.binaryKey.PublicKey, v.now.Add(-9*hour), v.now.Add(-hour))
		}, ReasonCertificateLapsed},
		"binary certificate not yet valid at signing": {func(v *vendor, p *testPackage) {
			p.certificates[0] = v.issue(purposeBinary, &v.binaryKey.PublicKey, v.now.Add(hour), v.now.Add(9*hour))
		}, ReasonCertificateLapsed},
		"manifest certificate lapsed at signing": {func(v *vendor, p *testPackage) {
			p.certificates[1] = v.issue(purposeManifest, &v.manifest.key.PublicKey, v.now.Add(-9*hour), v.now.Add(-hour))
		}, ReasonCertificateLapsed},
		"a retired key's certificate": {func(v *vendor, p *testPackage) {
			p.binaryKey = rsaKeys()[1]
			p.certificates[0] = v.issue(purposeBinary, &p.binaryKey.PublicKey, v.now.Add(-99*hour), v.now.Add(-hour))
		}, ReasonCertificateLapsed},
		"manifest signed by a key-slot signer": {func(v *vendor, p *testPackage) {
			p.certificates[1], p.manifestKey = v.keySlots.certificate, v.keySlots.key
		}, ReasonCertificatePurpose},
		"two purposes": {func(v *vendor, p *testPackage) {
			template := *v.manifest.certificate
			template.ExtraExtensions = append(template.ExtraExtensions,
				usageExtension(v.t, true, purposeManifest, purposeBinary))
			p.certificates[1] = v.sign(&template, &v.manifest.key.PublicKey)
		}, ReasonCertificatePurpose},
		"purpose not critical": {func(v *vendor, p *testPackage) {
			template := *v.manifest.certificate
			template.ExtraExtensions = append(template.ExtraExtensions, usageExtension(v.t, false, purposeManifest))
			p.certificates[1] = v.sign(&template, &v.manifest.key.PublicKey)
		}, ReasonCertificatePurpose},
		"the authority itself as signer": {func(v *vendor, p *testPackage) {
			p.certificates[1], p.manifestKey = v.root, v.rootKey
		}, ReasonCertificateInvalid},
		"RSA key too short": {func(v *vendor, p *testPackage) {
			p.binaryKey = rsaKeys()[2]
			p.certificates[0] = v.issue(purposeBinary, &p.binaryKey.PublicKey, v.now.Add(-hour), v.now.Add(hour))
		}, ReasonCertificateInvalid},
		"certificates in another order": {func(_ *vendor, p *testPackage) {
			p.certificates[0], p.certificates[1] = p.certificates[1], p.certificates[0]
		}, ReasonCertificatePurpose},
		"no chain at all": {func(_ *vendor, p *testPackage) { p.certificates = p.certificates[3:] }, ReasonCertificateInvalid},
		"another type": {func(_ *vendor, p *testPackage) { p.manifest["_type"] = "keywright-keyset/v1" },
			ReasonManifestInvalid},
		"signing time unreadable": {func(_ *vendor, p *testPackage) { p.manifest["signed_at"] = "yesterday" },
			ReasonManifestInvalid},
		"another customer": {func(_ *vendor, p *testPackage) { p.manifest["customer_id"] = "cust_999" },
			ReasonManifestMismatch},
		"another plugin":  {func(_ *vendor, p *testPackage) { p.manifest["name"] = "other" }, ReasonManifestMismatch},
		"another version": {func(_ *vendor, p *testPackage) { p.manifest["version"] = "2.1.1" }, ReasonManifestMismatch},
		"another target":  {func(_ *vendor, p *testPackage) { p.manifest["target"] = "plan9/mips" }, ReasonManifestMismatch},
		"another build":   {func(_ *vendor, p *testPackage) { p.manifest["build_id"] = "bld_0" }, ReasonManifestMismatch},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t, packageNow)
			made := v.newPackage()
			test.change(v, made)
			wantReason(t, verifyWritten(v, made.write()), test.want)
		})
	}
}

func TestManifestsSwappedBetweenTwoCustomersAreRefused(t *testing.T) {
	v := newVendor(t, packageNow)
	ours, theirs := v.newPackage(), v.newPackage()
	theirs.manifest["customer_id"] = "enterprise_456"
	theirs.manifest["build_id"] = "bld_0"
	directory, other := ours.write(), theirs.write()
	for _, name := range []string{"plugin.manifest", "plugin.manifest.sig"} {
		contents, err := os.ReadFile(filepath.Join(other, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(directory, name), contents, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantReason(t, verifyWritten(v, directory), ReasonManifestMismatch)
}

func TestAFileThatTheManifestDoesNotListIsRefused(t *testing.T) {
	v := newVendor(t, packageNow)
	made := v.newPackage()
	directory := made.write()
	delete(made.manifest["files"].(map[string]any), "plugin.sbom.json")
	contents, signature := remadeManifest(t, made)
	_ = os.WriteFile(filepath.Join(directory, "plugin.manifest"), contents, 0o600)
	_ = os.WriteFile(filepath.Join(directory, "plugin.manifest.sig"), signature, 0o600)
	wantReason(t, verifyWritten(v, directory), ReasonPackageFileUnlisted)
}

func remadeManifest(t *testing.T, made *testPackage) (contents, signature []byte) {
	t.Helper()
	contents = mustJSON(t, made.manifest)
	return contents, signASN1(t, made.manifestKey, contents)
}

func TestACertificateThatLapsedAfterSigningKillsNothing(t *testing.T) {
	// verifyPackage has no clock at all: only the stated signing time counts.
	v := newVendor(t, time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC))
	if err := verifyWritten(v, v.newPackage().write()); err != nil {
		t.Error(err)
	}
}

func TestPEMHeadersAreRefused(t *testing.T) {
	v := newVendor(t, packageNow)
	contents := pem.EncodeToMemory(&pem.Block{
		Type: "CERTIFICATE", Headers: map[string]string{"Note": "x"}, Bytes: v.binary.Raw,
	})
	_, err := parseChain(contents, &v.rootKey.PublicKey)
	wantReason(t, err, ReasonCertificateInvalid)
}

func TestAnUnknownCriticalExtensionIsRefused(t *testing.T) {
	v := newVendor(t, packageNow)
	template := *v.manifest.certificate
	unknown := usageExtension(t, true, purposeManifest)
	unknown.Id = []int{1, 2, 3, 4}
	template.SerialNumber = big.NewInt(99)
	template.ExtraExtensions = append(template.ExtraExtensions, usageExtension(t, true, purposeManifest), unknown)
	certificate := v.sign(&template, &v.manifest.key.PublicKey)
	wantReason(t, verifyCertificate(certificate, &v.rootKey.PublicKey, purposeManifest), ReasonCertificateInvalid)
}
