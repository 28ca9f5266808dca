package keywright

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"runtime"
	"time"
)

// authenticate asks with the API key.
func (a *agent) authenticate(ctx context.Context) (time.Duration, error) {
	hostname, _ := os.Hostname()
	return a.obtain(ctx, authenticatePath, a.APIKey, map[string]any{
		"plugin_name":      a.build.PluginName,
		"plugin_version":   a.build.PluginVersion,
		"plugin_signature": base64.StdEncoding.EncodeToString(a.signature),
		"customer_id":      a.build.CustomerID,
		"installation": map[string]string{
			"fingerprint": a.Fingerprint, "hostname": hostname, "os": runtime.GOOS, "arch": runtime.GOARCH,
		},
	})
}

// refresh asks with the token.
func (a *agent) refresh(ctx context.Context) (time.Duration, error) {
	return a.obtain(ctx, refreshPath, a.token.text, map[string]any{})
}

// obtain asks for a token that answers a fresh nonce, and takes it up.
func (a *agent) obtain(ctx context.Context, path, credential string, fields map[string]any) (time.Duration, error) {
	nonce, err := randomText()
	if err != nil {
		return 0, err
	}
	fields["nonce"] = nonce
	reply, err := a.post(ctx, path, credential, fields)
	if err != nil {
		return 0, err
	}
	var given answer
	if !reply.isJSON(&given) || !given.Success || given.Token == "" {
		return 0, a.read(reply)
	}
	believed, err := a.believe(ctx, given.Token, nonce)
	if err != nil {
		return 0, err
	}
	a.takeUp(believed, given.OfflineLease)
	return a.untilRefresh(given.NextRefresh), nil
}

// read turns a reply that is not the expected 200 into a no, or into the reason why it is no answer.
//
// Only 401, 403 and 404 with a problem document whose code is known are a "no".
func (a *agent) read(reply *reply) error {
	a.retryAfter = max(a.retryAfter, reply.retryAfter)
	switch reply.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		found, ok := reply.problemOf()
		if ok && effects[found.Code] != effectNone {
			return &no{code: found.Code, detail: clip(found.Detail)}
		}
	case http.StatusTooManyRequests:
		return refuse(ReasonServerBusy, "the server asks to come later")
	}
	if reply.status >= http.StatusInternalServerError {
		return refuse(ReasonServerBusy, "the server answered with status %d", reply.status)
	}
	return refuse(ReasonNotAnAnswer, "status %d with %q is no answer of a licence server", reply.status, reply.mediaType)
}

// post sends a question with its proof. A proof that is refused for its time or authority is tried again with others.
func (a *agent) post(ctx context.Context, path, credential string, fields map[string]any) (*reply, error) {
	body, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		reply, err := a.postOnce(ctx, path, credential, body)
		if err != nil || try == proofTries || !a.canMendProof(reply) {
			return reply, err
		}
	}
}

func (a *agent) postOnce(ctx context.Context, path, credential string, body []byte) (*reply, error) {
	request, err := a.transport.newRequest(ctx, http.MethodPost, path, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+credential)
	unixSeconds := a.timeline.now(a.Clock).Add(a.proofOffset).Unix()
	if err := addProof(request, a.secret, a.authorities[0], credential, body, unixSeconds); err != nil {
		return nil, err
	}
	return a.transport.do(request)
}

// canMendProof says whether another proof may be better, having changed what made this one bad.
//
// The server's time is not signed: it shapes the timestamp of proofs and nothing else.
func (a *agent) canMendProof(reply *reply) bool {
	found, ok := reply.problemOf()
	if !ok {
		return false
	}
	switch found.Code {
	case CodeProofReplayed: // a proxy that sends twice; the next try has a nonce of its own
		return true
	case CodeProofInvalid:
		ours := a.timeline.now(a.Clock).Add(a.proofOffset)
		if theirs := reply.serverTime(found); !theirs.IsZero() && theirs.Sub(ours).Abs() > proofSkew {
			a.proofOffset += theirs.Sub(ours)
			return true
		}
		if len(a.authorities) > 1 {
			a.authorities[0], a.authorities[1] = a.authorities[1], a.authorities[0]
			return true
		}
	}
	return false
}

// believe verifies a token, with a newer key set where the one at hand is old or does not do.
func (a *agent) believe(ctx context.Context, text, nonce string) (*token, error) {
	var unfetched error
	isDue := a.keySet == nil || a.Clock.Monotonic()-a.keySetAsked >= keySetPeriod
	if isDue {
		unfetched = a.fetchKeySet(ctx)
	}
	if a.keySet == nil {
		return nil, unfetched
	}
	believed, err := openToken(text, nonce, a.keySet, a.build, a.timeline.certain(a.Clock))
	if err != nil && !isDue && mayNeedKeySet(err) {
		if unfetched = a.fetchKeySet(ctx); unfetched == nil {
			believed, err = openToken(text, nonce, a.keySet, a.build, a.timeline.certain(a.Clock))
		}
	}
	if err != nil && unfetched != nil {
		return nil, unfetched
	}
	return believed, err
}

func mayNeedKeySet(err error) bool {
	switch ReasonOf(err) {
	case ReasonTokenKeyUnknown, ReasonKeySetExpired, ReasonCertificateLapsed:
		return true
	}
	return false
}

// fetchKeySet replaces the key set by the server's, if that is signed by the authority and not older.
func (a *agent) fetchKeySet(ctx context.Context) error {
	text, err := a.fetchJOSE(ctx, keySetPath, "")
	if err != nil {
		return err
	}
	set, err := openKeySet(text, a.build)
	if err != nil {
		return err
	}
	if err := set.checkNotOlder(a.seen); err != nil {
		return err
	}
	a.keySet, a.keySetAsked = set, a.Clock.Monotonic()
	return nil
}

// fetchJOSE gets a compact JWS. credential may be empty.
func (a *agent) fetchJOSE(ctx context.Context, path, credential string) (string, error) {
	request, err := a.transport.newRequest(ctx, http.MethodGet, path, nil)
	if err != nil {
		return "", err
	}
	if credential != "" {
		request.Header.Set("Authorization", "Bearer "+credential)
	}
	reply, err := a.transport.do(request)
	if err != nil {
		return "", err
	}
	if reply.status != http.StatusOK || reply.mediaType != "application/jose" {
		if credential == "" && reply.status < http.StatusInternalServerError {
			// A public document refuses nobody: whatever this is, it is no verdict.
			return "", refuse(ReasonNotAnAnswer, "status %d with %q", reply.status, reply.mediaType)
		}
		return "", a.read(reply)
	}
	return string(reply.body), nil
}
