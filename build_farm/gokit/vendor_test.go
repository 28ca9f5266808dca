package keywright

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

const (
	testAPIKey     = "km_test_0123456789abcdefghijklmnopqrst1a2b3c"
	testIssuer     = "https://licence.example.test"
	testPlugin     = "api-logger"
	testVersion    = "2.1.0"
	testCustomer   = "cust_123"
	testBuildID    = "bld_7f3a"
	otherTestKey   = "km_test_zyxwvutsrqponmlkjihgfedcba98769z8y7x"
	yearOfValidity = 365 * 24 * time.Hour
)

// rsaKeys are made once: they are slow, and no test changes one.
var rsaKeys = sync.OnceValue(func() [3]*rsa.PrivateKey {
	var keys [3]*rsa.PrivateKey
	for index, bits := range []int{3072, 3072, 2048} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		keys[index] = key
	}
	return keys
})

// vendor is a PluginAuthority with its signers: everything that the server side has and a plugin must not need.
type vendor struct {
	t          *testing.T
	now        time.Time
	rootKey    *ecdsa.PrivateKey
	root       *x509.Certificate
	binaryKey  *rsa.PrivateKey
	binary     *x509.Certificate
	manifest   signer
	keySet     signer
	keySlots   signer
	provenance signer
	tokenKey   *ecdsa.PrivateKey
	leaseKey   *ecdsa.PrivateKey
	secret     []byte
}

type signer struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

func newVendor(t *testing.T, now time.Time) *vendor {
	t.Helper()
	v := &vendor{t: t, now: now, rootKey: newECKey(t), binaryKey: rsaKeys()[0], secret: randomBytes(t, 32)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "PluginAuthority"},
		NotBefore: now.Add(-yearOfValidity), NotAfter: now.Add(10 * yearOfValidity),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	v.root = v.sign(template, &v.rootKey.PublicKey)
	month := 30 * 24 * time.Hour
	v.binary = v.issue(purposeBinary, &v.binaryKey.PublicKey, now.Add(-month), now.Add(yearOfValidity))
	v.manifest = v.newSigner(purposeManifest, now.Add(-month), now.Add(yearOfValidity))
	v.provenance = v.newSigner(purposeProvenance, now.Add(-month), now.Add(yearOfValidity))
	v.keySet = v.newSigner(purposeKeySet, now.Add(-month), now.Add(2*month))
	v.keySlots = v.newSigner(purposeKeySlots, now.Add(-month), now.Add(yearOfValidity))
	v.tokenKey, v.leaseKey = newECKey(t), newECKey(t)
	return v
}

func newECKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func randomBytes(t *testing.T, count int) []byte {
	t.Helper()
	raw := make([]byte, count)
	if _, err := rand.Read(raw); err != nil {
		t.Fatal(err)
	}
	return raw
}

func (v *vendor) sign(template *x509.Certificate, key any) *x509.Certificate {
	v.t.Helper()
	parent := v.root
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, v.rootKey)
	if err != nil {
		v.t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		v.t.Fatal(err)
	}
	return certificate
}

func usageExtension(t *testing.T, critical bool, purposes ...purpose) pkix.Extension {
	t.Helper()
	var usages []asn1.ObjectIdentifier
	for _, wanted := range purposes {
		usages = append(usages, wanted.oid())
	}
	der, err := asn1.Marshal(usages)
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: extendedKeyUsage, Critical: critical, Value: der}
}

func (v *vendor) issue(wanted purpose, key any, from, until time.Time) *x509.Certificate {
	v.t.Helper()
	return v.sign(&x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(randomBytes(v.t, 12)), NotBefore: from, NotAfter: until,
		Subject:  pkix.Name{CommonName: fmt.Sprintf("Keywright %s signer", wanted)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtraExtensions: []pkix.Extension{usageExtension(v.t, true, wanted)},
	}, key)
}

func (v *vendor) newSigner(wanted purpose, from, until time.Time) signer {
	v.t.Helper()
	key := newECKey(v.t)
	return signer{key: key, certificate: v.issue(wanted, &key.PublicKey, from, until)}
}

func (v *vendor) authorityText() string {
	der, err := x509.MarshalPKIXPublicKey(&v.rootKey.PublicKey)
	if err != nil {
		v.t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// seal makes an "encrypted:" text as the build farm does.
func (v *vendor) seal(apiKey string) string {
	v.t.Helper()
	root, _ := hkdf.Key(sha256.New, []byte(apiKey), nil, "keywright/key-root/v1", 32)
	key, _ := hkdf.Key(sha256.New, root, nil, "keywright/build-slot/v1\x00"+testBuildID, 32)
	block, err := aes.NewCipher(key)
	if err != nil {
		v.t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		v.t.Fatal(err)
	}
	nonce := randomBytes(v.t, 12)
	associated := testCustomer + "\x00" + testPlugin + "\x00" + testVersion + "\x00" + runtime.GOOS + "/" + runtime.GOARCH
	return "encrypted:" + base64.StdEncoding.EncodeToString(aead.Seal(nonce, nonce, v.secret, []byte(associated)))
}

func (v *vendor) embedded() Embedded {
	return Embedded{
		CustomerID: testCustomer, CustomerName: "Acme Corp", APIKeyHash: apiKeyHash(testAPIKey),
		SecretKey: v.seal(testAPIKey), TargetTier: "Pro", AuthorizedFeatures: "console_logging,api_logging",
		BuildTimestamp: "1772366400", BuildHost: "build-farm", BuildVersion: "1.0.0", BuildID: testBuildID,
		PluginName: testPlugin, PluginVersion: testVersion, Target: runtime.GOOS + "/" + runtime.GOARCH,
		AuthorityPublicKey: v.authorityText(), Issuer: testIssuer, ServerURL: testIssuer,
	}
}

func (v *vendor) build() *build {
	v.t.Helper()
	made, err := newBuild(v.embedded())
	if err != nil {
		v.t.Fatal(err)
	}
	return made
}

// testPackage is a package as the farm would write it, to be changed before it is written.
type testPackage struct {
	vendor       *vendor
	binary       []byte
	manifest     map[string]any
	binaryKey    *rsa.PrivateKey
	certificates []*x509.Certificate
	manifestKey  *ecdsa.PrivateKey
	extra        map[string][]byte // written after all is signed
}

func (v *vendor) newPackage() *testPackage {
	instant := v.now.UTC().Format(time.RFC3339)
	return &testPackage{
		vendor: v, binary: randomBytes(v.t, 4096), binaryKey: v.binaryKey, manifestKey: v.manifest.key,
		certificates: []*x509.Certificate{v.binary, v.manifest.certificate, v.provenance.certificate, v.root},
		manifest: map[string]any{
			"_type": "keywright-manifest/v1", "name": testPlugin, "version": testVersion,
			"target": runtime.GOOS + "/" + runtime.GOARCH, "customer_id": testCustomer, "tier": "Pro",
			"build_id": testBuildID, "build_time": instant, "signed_at": instant,
			"signature_algorithm": "SHA256-RSA", "features": []string{"console_logging", "api_logging"},
			"permissions": []any{}, "resources": map[string]any{"timeout_seconds": 30},
		},
		extra: map[string][]byte{},
	}
}

// write gives the folder that the package stands in.
func (p *testPackage) write() string {
	t := p.vendor.t
	t.Helper()
	digest := sha256.Sum256(p.binary)
	signature, err := rsa.SignPKCS1v15(nil, p.binaryKey, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"plugin":                 p.binary,
		"plugin.sha256":          fmt.Appendf(nil, "%x  plugin\n", digest),
		"plugin.sig":             signature,
		"plugin.crt":             certificatesPEM(p.certificates),
		"plugin.provenance.json": []byte(`{"payloadType":"application/vnd.in-toto+json"}`),
		"plugin.sbom.json":       []byte(`{"bomFormat":"CycloneDX"}`),
	}
	listed := map[string]any{}
	for name, contents := range files {
		listed[name] = map[string]any{"sha256": fmt.Sprintf("%x", sha256.Sum256(contents)), "size": len(contents)}
	}
	if runtime.GOOS == "windows" {
		listed["plugin.exe"] = listed["plugin"]
		delete(listed, "plugin")
	}
	p.manifest["hash"], p.manifest["files"] = hex.EncodeToString(digest[:]), listed
	files["plugin.manifest"], err = json.MarshalIndent(p.manifest, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	files["plugin.manifest.sig"] = signASN1(t, p.manifestKey, files["plugin.manifest"])
	directory := t.TempDir()
	for name, contents := range p.extra {
		files[name] = contents
	}
	for name, contents := range files {
		if err := os.WriteFile(filepath.Join(directory, name), contents, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return directory
}

func certificatesPEM(certificates []*x509.Certificate) []byte {
	var buffer bytes.Buffer
	for _, certificate := range certificates {
		_ = pem.Encode(&buffer, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
	}
	return buffer.Bytes()
}

func signASN1(t *testing.T, key *ecdsa.PrivateKey, contents []byte) []byte {
	t.Helper()
	digest := sha256.Sum256(contents)
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// signJWS makes a compact JWS with exactly this header.
func signJWS(t *testing.T, key *ecdsa.PrivateKey, header string, payload any) string {
	t.Helper()
	body, isRaw := payload.([]byte)
	if !isRaw {
		var err error
		if body, err = json.Marshal(payload); err != nil {
			t.Fatal(err)
		}
	}
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(body)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func jwkOf(t *testing.T, key *ecdsa.PrivateKey, keyPurpose string) map[string]any {
	t.Helper()
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	x, y := base64.RawURLEncoding.EncodeToString(point[1:33]), base64.RawURLEncoding.EncodeToString(point[33:])
	return map[string]any{
		"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kidOf(t, key), "alg": "ES256", "use": "sig",
		"purpose": keyPurpose,
	}
}

func kidOf(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`,
		base64.RawURLEncoding.EncodeToString(point[1:33]), base64.RawURLEncoding.EncodeToString(point[33:]))
	digest := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(digest[:])
}

func x5cHeader(typ string, certificate *x509.Certificate) string {
	return fmt.Sprintf(`{"alg":"ES256","typ":"%s","x5c":["%s"]}`, typ,
		base64.StdEncoding.EncodeToString(certificate.Raw))
}

func kidHeader(t *testing.T, typ string, key *ecdsa.PrivateKey) string {
	t.Helper()
	return fmt.Sprintf(`{"alg":"ES256","kid":"%s","typ":"%s"}`, kidOf(t, key), typ)
}

func (v *vendor) keySetPayload(now time.Time, version int64) map[string]any {
	return map[string]any{
		"_type": "keywright-keyset/v1", "iss": testIssuer, "version": version,
		"issued_at": now.Unix(), "expires_at": now.Add(7 * 24 * time.Hour).Unix(),
		"keys": []any{jwkOf(v.t, v.tokenKey, "token"), jwkOf(v.t, v.leaseKey, "lease")},
	}
}

func (v *vendor) keySetText(now time.Time, version int64) string {
	return signJWS(v.t, v.keySet.key, x5cHeader("keyset+jws", v.keySet.certificate), v.keySetPayload(now, version))
}

func (v *vendor) tokenClaims(now time.Time, nonce any, features []string) map[string]any {
	return map[string]any{
		"iss": testIssuer, "aud": testPlugin, "sub": "ins_1", "client_id": testCustomer, "iat": now.Unix(),
		"nbf": now.Unix(), "exp": now.Add(15 * time.Minute).Unix(), "jti": "tok_1", "auth_time": now.Unix(),
		"customer_id": testCustomer, "subscription_tier": "Pro", "authorized_features": features,
		"plugin_permissions": map[string]any{testPlugin: map[string]any{
			"allowed": true, "rate_limit": 1000, "quota": 1000000,
			"feature_values": map[string]any{"batch_processing": 25, "region": "eu"},
		}},
		"ver": testVersion, "bld": testBuildID, "key": "key_1", "mode": "live", "nonce": nonce, "gen": []int{0, 0, 0},
	}
}

func (v *vendor) leaseClaims(now time.Time, features map[string]time.Time, until time.Time) map[string]any {
	ends := map[string]int64{}
	for code, end := range features {
		ends[code] = end.Unix()
	}
	return map[string]any{
		"iss": testIssuer, "aud": "lease", "sub": "ins_1", "client_id": testCustomer, "customer_id": testCustomer,
		"plugin": testPlugin, "ver": testVersion, "bld": testBuildID, "key": "key_1", "mode": "live",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": until.Unix(), "jti": "lea_1", "features": ends,
		"offline_until": until.Unix(),
	}
}

func (v *vendor) keySlotsText(now time.Time, apiKeys ...string) string {
	slots := []any{}
	for _, apiKey := range apiKeys {
		slots = append(slots, map[string]any{"key_hash": apiKeyHash(apiKey), "secret": v.seal(apiKey)})
	}
	return signJWS(v.t, v.keySlots.key, x5cHeader("keyslots+jws", v.keySlots.certificate), map[string]any{
		"_type": "keywright-keyslots/v1", "build_id": testBuildID, "customer_id": testCustomer, "version": 2,
		"issued_at": now.Unix(), "slots": slots,
	})
}

// wantReason fails the test unless err is a refusal for exactly this reason.
func wantReason(t *testing.T, err error, wanted Reason) {
	t.Helper()
	if got := ReasonOf(err); got != wanted {
		t.Errorf("refused with %q (%v), want %q", got, err, wanted)
	}
}
