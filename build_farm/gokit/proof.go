package keywright

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// proofText is what the request proof signs (DESIGN section 5): lines joined by a single newline.
//
// authority is that of the server's public URL, target the path with the query, credential the API key or token.
func proofText(method, authority, target, timestamp, nonce, credential string, body []byte) string {
	credentialHash := sha256.Sum256([]byte(credential))
	bodyHash := sha256.Sum256(body)
	return strings.Join([]string{
		"keywright-proof-v1", method, authority, target, timestamp, nonce,
		hex.EncodeToString(credentialHash[:]), hex.EncodeToString(bodyHash[:]),
	}, "\n")
}

// addProof shows that the request comes from this build, once.
func addProof(request *http.Request, secret []byte, authority, credential string, body []byte, unixSeconds int64) error {
	nonce, err := randomText()
	if err != nil {
		return err
	}
	timestamp := strconv.FormatInt(unixSeconds, 10)
	text := proofText(request.Method, authority, request.URL.RequestURI(), timestamp, nonce, credential, body)
	request.Header.Set("X-Keywright-Timestamp", timestamp)
	request.Header.Set("X-Keywright-Nonce", nonce)
	request.Header.Set("X-Keywright-Proof", "v1="+hex.EncodeToString(hmacSHA256(secret, text)))
	return nil
}

// authorityOf is host and port as a Host header has them: lower case, without the scheme's own port.
func authorityOf(address *url.URL) string {
	host := strings.ToLower(address.Host)
	if address.Scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}
