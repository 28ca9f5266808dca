package keywright

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"strings"
)

// maximumJWSBytes bounds every signed text; the largest, a key set, is a few KiB.
const maximumJWSBytes = 256 << 10

// jws is a compact JWS, taken apart and not yet believed.
type jws struct {
	unverifiedHeader  string
	unverifiedPayload []byte
	signed            []byte
	signature         []byte
}

// parseJWS takes a compact JWS (RFC 7515) apart, in its one canonical form.
func parseJWS(text string) (*jws, error) {
	if len(text) > maximumJWSBytes {
		return nil, errors.New("too long")
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, errors.New("not three parts")
	}
	var decoded [3][]byte
	for index, part := range parts {
		raw, err := canonicalBase64URL(part)
		if err != nil {
			return nil, err
		}
		decoded[index] = raw
	}
	return &jws{
		unverifiedHeader:  string(decoded[0]),
		unverifiedPayload: decoded[1],
		signed:            []byte(parts[0] + "." + parts[1]),
		signature:         decoded[2],
	}, nil
}

// canonicalBase64URL refuses what Go's decoder forgives: line breaks, padding and stray final bits.
func canonicalBase64URL(text string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || base64.RawURLEncoding.EncodeToString(raw) != text {
		return nil, errors.New("not canonical base64url")
	}
	return raw, nil
}

// verifiedPayload gives the payload if key made the ES256 signature (RFC 7518 section 3.4: r ‖ s, 32 bytes each).
func (j *jws) verifiedPayload(key *ecdsa.PublicKey) ([]byte, bool) {
	if len(j.signature) != 64 || key.Curve != elliptic.P256() {
		return nil, false
	}
	r := new(big.Int).SetBytes(j.signature[:32])
	s := new(big.Int).SetBytes(j.signature[32:])
	digest := sha256.Sum256(j.signed)
	if !ecdsa.Verify(key, digest[:], r, s) {
		return nil, false
	}
	return j.unverifiedPayload, true
}

// certificateText gives the x5c member of a header that must be exactly the one we write for typ.
func (j *jws) certificateText(typ string) (string, bool) {
	rest, hasStart := strings.CutPrefix(j.unverifiedHeader, `{"alg":"ES256","typ":"`+typ+`","x5c":["`)
	text, hasEnd := strings.CutSuffix(rest, `"]}`)
	return text, hasStart && hasEnd
}

// decodeSigned reads a verified JSON object into value, refusing duplicate members and anything after it.
//
// Duplicates are refused although the text is signed: two readers of one signed text must never see two things.
func decodeSigned(raw []byte, value any) error {
	if err := checkMembers(json.NewDecoder(bytes.NewReader(raw)), 0); err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if err := decoder.Decode(value); err != nil {
		return errors.New("not the expected JSON")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON")
	}
	return nil
}

// checkMembers walks one JSON value; names are compared without regard to case, because encoding/json matches so.
func checkMembers(decoder *json.Decoder, depth int) error {
	if depth > 32 {
		return errors.New("nested too deeply")
	}
	token, err := decoder.Token()
	if err != nil {
		return errors.New("not JSON")
	}
	delimiter, isDelimiter := token.(json.Delim)
	if !isDelimiter {
		return nil
	}
	seen := map[string]bool{}
	for decoder.More() {
		if delimiter == '{' {
			if err := checkMemberName(decoder, seen); err != nil {
				return err
			}
		}
		if err := checkMembers(decoder, depth+1); err != nil {
			return err
		}
	}
	if _, err := decoder.Token(); err != nil {
		return errors.New("not JSON")
	}
	return nil
}

func checkMemberName(decoder *json.Decoder, seen map[string]bool) error {
	token, err := decoder.Token()
	name, isString := token.(string)
	if err != nil || !isString {
		return errors.New("not JSON")
	}
	if folded := strings.ToLower(name); seen[folded] {
		return errors.New("a member stands twice")
	} else {
		seen[folded] = true
	}
	return nil
}
