package keywright

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"
)

const (
	keySetPath       = "/.well-known/keywright-keys"
	authenticatePath = "/api/plugins/authenticate"
	refreshPath      = "/api/plugins/refresh"
	validatePath     = "/api/plugins/validate"
	deactivatePath   = "/api/plugins/deactivate"
	usagePath        = "/api/plugins/usage"

	// A key set is signed anew daily; asking twice a day hears of a withdrawn key within twelve hours.
	keySetPeriod = 12 * time.Hour
	// Three tries at one question: as it is, with the server's time, with the public authority.
	proofTries    = 3
	proofSkew     = 30 * time.Second
	detailsLength = 200
)

// agent asks the server and holds what it said. It belongs to one goroutine at a time.
type agent struct {
	settings
	build     *build
	transport *transport
	signature []byte // plugin.sig

	secret    []byte // nil until opened
	stateFile *stateFile

	keySet        *keySet
	keySetAsked   time.Duration // monotonic
	seen          seenKeySet
	timeline      timeline
	proofOffset   time.Duration // what the server's clock is ahead of ours, by its own unsigned word
	authorities   []string      // of the server as reached, and as its public URL; the one that works is first
	retryAfter    time.Duration
	token         *token
	lease         *lease
	effect        effect
	code          Code
	reason        Reason
	detail        string
	isDeactivated bool
}

// no is the server's refusal by a code that is known. It is an answer, and an error only to Go.
type no struct {
	code   Code
	detail string
}

func (n *no) Error() string { return string(n.code) + ": " + n.detail }

// answer is the 200 of authenticate and refresh. Only the signed texts in it are believed; next_refresh is a wish.
type answer struct {
	Success      bool    `json:"success"`
	Token        string  `json:"token"`
	NextRefresh  string  `json:"next_refresh"`
	OfflineLease *string `json:"offline_lease"`
}

func newAgent(own settings, build *build, signature []byte) (*agent, error) {
	userAgent := "keywright-gokit/1 " + safeName(build.PluginName) + "/" + strings.ReplaceAll(build.PluginVersion, "\n", "")
	transport, err := newTransport(own.ServerURL, own.HTTPClient, userAgent)
	if err != nil {
		return nil, err
	}
	a := &agent{settings: own, build: build, transport: transport, signature: signature}
	a.authorities = []string{authorityOf(transport.base)}
	if public, err := url.Parse(build.ServerURL); err == nil && public.Host != "" {
		if authority := authorityOf(public); authority != a.authorities[0] {
			a.authorities = append(a.authorities, authority)
		}
	}
	if transport.isExposed() {
		own.Logger.Warn("the licence server is reached over plain HTTP: API key and tokens can be read on the way",
			"host", transport.base.Host)
	}
	return a, nil
}

// snapshot is what readers see of the agent now.
func (a *agent) snapshot() *snapshot {
	return &snapshot{
		build: a.build, clock: a.Clock, timeline: a.timeline, token: a.token, lease: a.lease,
		effect: a.effect, code: a.code, reason: a.reason, detail: a.detail,
	}
}

// ask does whatever is due: open the secret, then refresh, or authenticate where refresh cannot be. It gives the time
// to wait when the answer was yes, and sets the agent's state in every case.
func (a *agent) ask(ctx context.Context) (time.Duration, error) {
	a.retryAfter = 0
	wait, err := a.exchange(ctx)
	if needsAuthentication(err) {
		// A verdict on a token, where the API key was shown: nothing that we know how to read.
		err = refuse(ReasonNotAnAnswer, "the server answered an API key with a token's code")
	}
	if refused := new(no); errors.As(err, &refused) {
		a.hearNo(refused)
		return 0, err
	}
	if err != nil && ctx.Err() != nil {
		return 0, err // the plugin ends; that says nothing about the server
	}
	if err != nil {
		a.hearNothing(err)
		return 0, err
	}
	a.effect, a.code, a.reason, a.detail = effectNone, "", "", ""
	return wait, nil
}

func (a *agent) exchange(ctx context.Context) (time.Duration, error) {
	if err := a.openSecret(ctx); err != nil {
		return 0, err
	}
	if a.canRefresh() {
		wait, err := a.refresh(ctx)
		if !needsAuthentication(err) {
			return wait, err
		}
	}
	return a.authenticate(ctx)
}

func (a *agent) canRefresh() bool {
	now := a.timeline.now(a.Clock)
	return a.token != nil && a.effect == effectNone && now.Before(a.token.expiresAt) &&
		now.Before(a.token.authTime.Add(reauthenticationPeriod))
}

func needsAuthentication(err error) bool {
	var refused *no
	return errors.As(err, &refused) && effects[refused.code] == effectReauthenticate
}

// hearNo takes everything away, on disk first in case the process ends between the two.
func (a *agent) hearNo(refused *no) {
	a.token, a.lease = nil, nil
	a.effect, a.code, a.reason, a.detail = effects[refused.code], refused.code, "", refused.detail
	if err := a.save(); err != nil && a.stateFile.remove() != nil {
		a.Logger.Warn("the lease could not be taken out of the state file", "error", err)
	}
}

// hearNothing takes nothing away: a no that was said before still stands, a yes holds until its end.
func (a *agent) hearNothing(err error) {
	a.reason = ReasonOf(err)
	if a.reason == "" {
		a.reason = ReasonUnreachable
	}
	a.detail = clip(err.Error())
	a.Logger.Warn("no believable answer from the licence server", "reason", string(a.reason), "detail", a.detail)
	// Saved for its time: a clock set back between two starts then gains no more than the last pause.
	if err := a.save(); err != nil {
		a.Logger.Warn("the state file cannot be written", "error", err)
	}
}

func (a *agent) save() error {
	if a.stateFile == nil {
		return nil
	}
	state := savedState{Seen: a.seen, Time: unixOrZero(a.timeline.certain(a.Clock))}
	if a.keySet != nil {
		state.KeySet = a.keySet.text
	}
	if a.lease != nil {
		state.Lease = a.lease.text
	}
	return a.stateFile.save(state)
}

// restore takes up what an earlier process left: the time, the newest key set, and the lease if it can be verified.
func (a *agent) restore() {
	state, err := a.stateFile.load()
	if err != nil {
		a.Logger.Warn("the state file is ignored", "reason", string(ReasonOf(err)), "detail", err.Error())
		return
	}
	a.seen = state.Seen
	if state.Time > 0 {
		a.timeline = restored(unixTime(state.Time), a.Clock)
	}
	if state.KeySet == "" {
		return
	}
	set, err := openKeySet(state.KeySet, a.build)
	if err == nil {
		err = set.checkNotOlder(state.Seen)
	}
	if err != nil {
		a.Logger.Warn("the saved key set is ignored", "reason", string(ReasonOf(err)))
		return
	}
	a.keySet, a.keySetAsked = set, a.Clock.Monotonic()-keySetPeriod
	if state.Lease == "" {
		return
	}
	if a.lease, err = openLease(state.Lease, set, a.build); err != nil {
		a.Logger.Warn("the saved lease is ignored", "reason", string(ReasonOf(err)))
	}
}

// takeUp makes a believed token, and the lease that came with it, the truth.
func (a *agent) takeUp(believed *token, leaseText *string) {
	a.token, a.lease = believed, nil
	a.timeline = a.timeline.told(believed.issuedAt, a.Clock)
	a.proofOffset = 0
	// Only a set that vouched for a token at a time that is certain counts as seen.
	a.seen = a.seen.newest(a.keySet.seen())
	if leaseText != nil && *leaseText != "" {
		offered, err := openLease(*leaseText, a.keySet, a.build)
		if err == nil && offered.installationID != believed.installationID {
			err = refuse(ReasonLeaseInvalid, "the lease is another installation's")
		}
		if err == nil {
			a.lease = offered
		} else {
			a.Logger.Warn("the offline lease is not believed", "reason", string(ReasonOf(err)), "detail", err.Error())
		}
	}
	if err := a.save(); err != nil {
		a.Logger.Warn("the state file cannot be written: a restart in an outage will have no lease", "error", err)
	}
}

// untilRefresh is how long to wait: what the server wishes, within bounds, or our own shorter interval.
//
// next_refresh is not signed. Whoever changes it can hold a plugin back a little, never longer than its token lives.
func (a *agent) untilRefresh(nextRefresh string) time.Duration {
	wait := a.around(a.interval())
	if wish, err := time.Parse(time.RFC3339, nextRefresh); err == nil && a.RefreshInterval == 0 {
		wait = min(max(wish.Sub(a.token.issuedAt), standardInterval/2), standardInterval*6/5)
	}
	return max(min(wait, a.token.expiresAt.Sub(a.timeline.now(a.Clock))), shortestInterval)
}

// clip keeps what others wrote short and on one line before it is shown or logged.
func clip(text string) string {
	text = strings.Map(func(character rune) rune {
		if character < ' ' || character == 0x7f {
			return ' '
		}
		return character
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > detailsLength {
		text = strings.ToValidUTF8(text[:detailsLength], "")
	}
	return text
}
