package keywright

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

const (
	secretBytes = 32
	nonceBytes  = 12

	keyRootInfo  = "keywright/key-root/v1"
	slotInfo     = "keywright/build-slot/v1"
	stateMACInfo = "keywright/state/v1"
)

// apiKeyHash is the name of an API key in EmbeddedAPIKeyHash and in key slots.
func apiKeyHash(apiKey string) string {
	digest := sha256.Sum256([]byte(apiKey))
	return "sha256:" + hex.EncodeToString(digest[:])
}

// slotKey derives the key of one build's slot for one API key. Source: DESIGN sections 4 and 8, RFC 5869.
func slotKey(apiKey, buildID string) ([]byte, error) {
	root, err := hkdf.Key(sha256.New, []byte(apiKey), nil, keyRootInfo, secretBytes)
	if err != nil {
		return nil, err
	}
	return hkdf.Key(sha256.New, root, nil, slotInfo+"\x00"+buildID, secretBytes)
}

// openSecret decrypts the build secret (32 bytes) from an "encrypted:" text with the API key it is for.
//
// Customer, plugin, version and target are associated data: a secret moved into another build does not open.
func openSecret(apiKey, sealed string, build *build) ([]byte, error) {
	encoded, marked := strings.CutPrefix(sealed, "encrypted:")
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !marked || err != nil || len(raw) <= nonceBytes {
		return nil, refuse(ReasonSecretUnopened, "the embedded secret is not in its format")
	}
	aead, err := slotCipher(apiKey, build.BuildID)
	if err != nil {
		return nil, refuse(ReasonSecretUnopened, "the slot key cannot be derived")
	}
	associated := strings.Join([]string{build.CustomerID, build.PluginName, build.PluginVersion, build.Target}, "\x00")
	secret, err := aead.Open(nil, raw[:nonceBytes], raw[nonceBytes:], []byte(associated))
	if err != nil || len(secret) != secretBytes {
		return nil, refuse(ReasonSecretUnopened, "the embedded secret does not belong to this build and API key")
	}
	return secret, nil
}

func slotCipher(apiKey, buildID string) (cipher.AEAD, error) {
	key, err := slotKey(apiKey, buildID)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// keySlots is the payload of plugin.keyslots: the build secret, sealed once for each API key of the customer.
type keySlots struct {
	Type       string `json:"_type"`
	BuildID    string `json:"build_id"`
	CustomerID string `json:"customer_id"`
	Version    int64  `json:"version"`
	IssuedAt   int64  `json:"issued_at"`
	Slots      []struct {
		KeyHash string `json:"key_hash"`
		Secret  string `json:"secret"`
	} `json:"slots"`
}

// openKeySlots believes a key-slot file if a key-slot signer under the pinned authority signed it for this build.
// The certificate must have been valid when the file was issued; a later lapse kills nothing.
func openKeySlots(text string, build *build) (*keySlots, error) {
	parsed, err := parseJWS(strings.TrimSpace(text))
	if err != nil {
		return nil, refuse(ReasonKeySlotsInvalid, "the key slots are no compact JWS: %v", err)
	}
	payload, certificate, err := verifySignedDocument(parsed, "keyslots+jws", purposeKeySlots, build)
	if err != nil {
		return nil, err
	}
	var slots keySlots
	if err := decodeSigned(payload, &slots); err != nil {
		return nil, refuse(ReasonKeySlotsInvalid, "the key slots: %v", err)
	}
	if slots.Type != "keywright-keyslots/v1" {
		return nil, refuse(ReasonKeySlotsInvalid, "the key slots are of another type")
	}
	if slots.BuildID != build.BuildID || slots.CustomerID != build.CustomerID {
		return nil, refuse(ReasonKeySlotsInvalid, "the key slots are another build's")
	}
	return &slots, checkCertificateTime(certificate, unixTime(slots.IssuedAt), purposeKeySlots)
}

// secretFromSlots opens the slot of the API key.
func secretFromSlots(apiKey, text string, build *build) ([]byte, error) {
	slots, err := openKeySlots(text, build)
	if err != nil {
		return nil, err
	}
	wanted := apiKeyHash(apiKey)
	for _, slot := range slots.Slots {
		if subtle.ConstantTimeCompare([]byte(slot.KeyHash), []byte(wanted)) == 1 {
			return openSecret(apiKey, slot.Secret, build)
		}
	}
	return nil, refuse(ReasonKeySlotMissing, "no slot of this build is for this API key")
}

// stateMACKey derives the key that authenticates the state file, so that the secret itself signs requests only.
func stateMACKey(secret []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, secret, nil, stateMACInfo, secretBytes)
}

func hmacSHA256(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// randomText gives 128 random bits as 22 characters of A-Za-z0-9_-.
func randomText() (string, error) {
	var raw [16]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", refuse(ReasonRandomUnavailable, "no random numbers")
	}
	return base64.RawURLEncoding.EncodeToString(raw[:]), nil
}

// checkAPIKey refuses what cannot be a header value. It does not judge the key: only the server can.
func checkAPIKey(apiKey string) error {
	if apiKey == "" {
		return refuse(ReasonAPIKeyMissing, "no API key: set KM_API_KEY")
	}
	if len(apiKey) > 256 {
		return refuse(ReasonAPIKeyMalformed, "the API key is too long")
	}
	for _, character := range []byte(apiKey) {
		if character <= ' ' || character > '~' {
			return refuse(ReasonAPIKeyMalformed, "the API key holds a character that no key has")
		}
	}
	return nil
}
