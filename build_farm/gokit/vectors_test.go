package keywright

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The frozen vectors are written and read by the server's own tests too: neither side can drift alone.
func readVector(t *testing.T, name string, into any) {
	t.Helper()
	contents, err := os.ReadFile(filepath.Join("..", "..", "tests", "vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(contents, into); err != nil {
		t.Fatal(err)
	}
}

func vectorBuild(t *testing.T) *build {
	t.Helper()
	var vector struct {
		Authority string `json:"authority_public_key"`
		Issuer    string `json:"issuer"`
	}
	readVector(t, "key-set.json", &vector)
	authority, err := parseAuthority(vector.Authority)
	if err != nil {
		t.Fatal(err)
	}
	return &build{authority: authority, Embedded: Embedded{
		CustomerID: "cust_123", PluginName: "api-logger", PluginVersion: "2.1.0", Target: "linux/amd64",
		BuildID: "bld_0123456789", Issuer: vector.Issuer,
	}}
}

func TestVectorOfTheBuildSlot(t *testing.T) {
	var vector struct {
		APIKey  string `json:"api_key"`
		SlotKey string `json:"slot_key"`
		Secret  string `json:"secret"`
		Slot    string `json:"slot"`
	}
	readVector(t, "build-slot.json", &vector)
	build := vectorBuild(t)
	key, err := slotKey(vector.APIKey, build.BuildID)
	if err != nil || hex.EncodeToString(key) != vector.SlotKey {
		t.Errorf("the slot key is %x, %v", key, err)
	}
	secret, err := openSecret(vector.APIKey, vector.Slot, build)
	if err != nil || hex.EncodeToString(secret) != vector.Secret {
		t.Errorf("the secret is %x, %v", secret, err)
	}
}

func TestVectorOfKeySetTokenAndLease(t *testing.T) {
	var keys struct {
		KeySet   string `json:"key_set"`
		IssuedAt int64  `json:"issued_at"`
		Version  int64  `json:"version"`
	}
	var tokens struct {
		Token  string `json:"token"`
		Lease  string `json:"lease"`
		Claims struct {
			Nonce string `json:"nonce"`
		} `json:"token_claims"`
	}
	readVector(t, "key-set.json", &keys)
	readVector(t, "tokens.json", &tokens)
	build := vectorBuild(t)
	set, err := openKeySet(keys.KeySet, build)
	if err != nil || set.version != keys.Version {
		t.Fatalf("the key set: %v", err)
	}
	believed, err := openToken(tokens.Token, tokens.Claims.Nonce, set, build, unixTime(keys.IssuedAt))
	if err != nil || !believed.features["api_logging"] || believed.permissions.Quota != 1000000 {
		t.Errorf("the token: %+v, %v", believed, err)
	}
	offered, err := openLease(tokens.Lease, set, build)
	if err != nil || !offered.allows("api_logging", unixTime(keys.IssuedAt)) {
		t.Errorf("the lease: %+v, %v", offered, err)
	}
	if _, err := openToken(tokens.Lease, "", set, build, unixTime(0)); ReasonOf(err) != ReasonTokenType {
		t.Errorf("the lease as a token: %v", err)
	}
}

func TestVectorOfTheRequestProof(t *testing.T) {
	var vector struct {
		Cases []struct {
			Name, Method, Authority, Target, Nonce, Credential, Body, Text, Proof string
			PublicURL                                                             string `json:"public_url"`
			SecretHex                                                             string `json:"secret_hex"`
			Timestamp                                                             int64
		}
	}
	readVector(t, "request-proof.json", &vector)
	if len(vector.Cases) == 0 {
		t.Fatal("no cases")
	}
	for _, test := range vector.Cases {
		t.Run(test.Name, func(t *testing.T) {
			public, err := url.Parse(test.PublicURL)
			if err != nil || authorityOf(public) != test.Authority {
				t.Errorf("the authority is %q, %v", authorityOf(public), err)
			}
			text := proofText(test.Method, authorityOf(public), test.Target, strconv.FormatInt(test.Timestamp, 10),
				test.Nonce, test.Credential, []byte(test.Body))
			secret, _ := hex.DecodeString(test.SecretHex)
			if got := "v1=" + hex.EncodeToString(hmacSHA256(secret, text)); text != test.Text || got != test.Proof {
				t.Errorf("the text is %q and the proof %s", text, got)
			}
		})
	}
}

func TestAProofHasAFreshNonceOfItsForm(t *testing.T) {
	seen := map[string]bool{}
	for range 3 {
		request, err := http.NewRequest(http.MethodGet, "https://licensing.example.com/a?b=c", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := addProof(request, []byte("secret"), "licensing.example.com", "key", nil, 1); err != nil {
			t.Fatal(err)
		}
		nonce := request.Header.Get("X-Keywright-Nonce")
		if raw, err := base64.RawURLEncoding.DecodeString(nonce); err != nil || len(raw) != 16 || seen[nonce] {
			t.Errorf("the nonce is %q", nonce)
		}
		seen[nonce] = true
		if !strings.HasPrefix(request.Header.Get("X-Keywright-Proof"), "v1=") {
			t.Error("no proof")
		}
	}
}

func base64Text(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }
