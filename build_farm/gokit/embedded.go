package keywright

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"regexp"
	"runtime"
	"strings"
	"sync"
)

// Embedded is what the build farm compiled into this one binary, in customer_auth.go.
//
// APIKeyHash is "sha256:" + lower-case hex of SHA-256 over the API key. SecretKey is "encrypted:" + base64
// of nonce(12) ‖ AES-256-GCM ciphertext and tag of the build secret. AuthorizedFeatures is comma separated and
// informs only: what a plugin may do is what the server's token says. BuildTimestamp is Unix seconds as text.
// AuthorityPublicKey is the PluginAuthority key, a PKIX SubjectPublicKeyInfo in standard base64.
// Source: seeds/plugin-authentication.md, "Build-Time Security".
type Embedded struct {
	CustomerID         string
	CustomerName       string
	APIKeyHash         string
	SecretKey          string
	TargetTier         string
	AuthorizedFeatures string
	BuildTimestamp     string
	BuildHost          string
	BuildVersion       string
	BuildID            string
	PluginName         string
	PluginVersion      string
	Target             string
	AuthorityPublicKey string
	Issuer             string
	ServerURL          string
}

// build is Embedded after its fields were checked.
type build struct {
	Embedded
	authority *ecdsa.PublicKey
}

var embedded struct {
	sync.Mutex
	values Embedded
	calls  int
}

// Embed hands the constants of customer_auth.go to this package; the generated init calls it, once.
func Embed(values Embedded) {
	embedded.Lock()
	defer embedded.Unlock()
	embedded.values = values
	embedded.calls++
}

func embeddedBuild() (*build, error) {
	embedded.Lock()
	defer embedded.Unlock()
	switch embedded.calls {
	case 0:
		return nil, refuse(ReasonEmbeddedInvalid, "this binary was not made by a build farm: nothing was embedded")
	case 1:
		return newBuild(embedded.values)
	default:
		// A second Embed would let linked-in code replace the pinned authority.
		return nil, refuse(ReasonEmbeddedInvalid, "Embed was called %d times", embedded.calls)
	}
}

var hashPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func newBuild(values Embedded) (*build, error) {
	required := map[string]string{
		"CustomerID": values.CustomerID, "SecretKey": values.SecretKey, "BuildID": values.BuildID,
		"PluginName": values.PluginName, "PluginVersion": values.PluginVersion, "Issuer": values.Issuer,
	}
	for name, value := range required {
		// NUL separates the fields of the associated data; a field that held one could pass for two.
		if value == "" || strings.ContainsRune(value, 0) {
			return nil, refuse(ReasonEmbeddedInvalid, "%s is empty or holds a NUL", name)
		}
	}
	if !hashPattern.MatchString(values.APIKeyHash) {
		return nil, refuse(ReasonEmbeddedInvalid, "APIKeyHash is not sha256: and 64 hex digits")
	}
	if running := runtime.GOOS + "/" + runtime.GOARCH; values.Target != running {
		return nil, refuse(ReasonEmbeddedInvalid, "Target is %q but this is %q", values.Target, running)
	}
	authority, err := parseAuthority(values.AuthorityPublicKey)
	if err != nil {
		return nil, err
	}
	return &build{Embedded: values, authority: authority}, nil
}

func parseAuthority(encoded string) (*ecdsa.PublicKey, error) {
	der, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, refuse(ReasonEmbeddedInvalid, "AuthorityPublicKey is not base64")
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, refuse(ReasonEmbeddedInvalid, "AuthorityPublicKey is not a PKIX public key")
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, refuse(ReasonEmbeddedInvalid, "AuthorityPublicKey is not an EC P-256 key")
	}
	return key, nil
}
