package keywright

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// licenceServer is a Keywright server as far as a kit can see: it checks proofs, signs for real, and can be told to
// say no, to be away, or to be somebody else.
type licenceServer struct {
	*httptest.Server
	t      *testing.T
	vendor *vendor
	now    func() time.Time

	mutex         sync.Mutex
	apiKeys       map[string]bool
	features      []string
	leaseFeatures map[string]time.Duration // from the instant of the answer; nil: no lease
	leaseFor      time.Duration
	tokenFor      time.Duration
	keySetVersion int64
	requireProof  bool
	hostOfProof   string                                                // "" means: as it was reached
	before        func(http.ResponseWriter, *http.Request, []byte) bool // true: it has answered
	change        func(claims map[string]any)                           // the token's claims, before they are signed
	replace       map[string]func(http.ResponseWriter, *http.Request)   // by path
	seen          []seenRequest
	nonces        map[string]bool
	authTime      time.Time
	batches       map[string][]UsageEvent
}

type seenRequest struct {
	path, credential string
	body             map[string]any
}

func newLicenceServer(t *testing.T, v *vendor, now func() time.Time) *licenceServer {
	t.Helper()
	s := &licenceServer{
		t: t, vendor: v, now: now, apiKeys: map[string]bool{testAPIKey: true},
		features:      []string{"console_logging", "api_logging", "batch_processing"},
		leaseFeatures: map[string]time.Duration{"console_logging": 72 * time.Hour, "api_logging": 24 * time.Hour},
		leaseFor:      72 * time.Hour, tokenFor: 15 * time.Minute, keySetVersion: 1, requireProof: true,
		replace: map[string]func(http.ResponseWriter, *http.Request){}, nonces: map[string]bool{},
		batches: map[string][]UsageEvent{},
	}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Server.Close)
	return s
}

// with changes the server's mind, while it may be answering.
func (s *licenceServer) with(change func()) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	change()
}

func (s *licenceServer) paths() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var paths []string
	for _, request := range s.seen {
		paths = append(paths, request.path)
	}
	return paths
}

func (s *licenceServer) forget() { s.with(func() { s.seen = nil }) }

// asked counts questions for a licence: authenticate and refresh.
func (s *licenceServer) asked() int {
	count := 0
	for _, path := range s.paths() {
		if path == authenticatePath || path == refreshPath {
			count++
		}
	}
	return count
}

func (s *licenceServer) serve(writer http.ResponseWriter, request *http.Request) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	raw, _ := io.ReadAll(request.Body)
	var body map[string]any
	_ = json.Unmarshal(raw, &body)
	credential := strings.TrimPrefix(request.Header.Get("Authorization"), "Bearer ")
	s.seen = append(s.seen, seenRequest{path: request.URL.Path, credential: credential, body: body})
	writer.Header().Set("Date", s.now().Format(http.TimeFormat))
	if replacement := s.replace[request.URL.Path]; replacement != nil {
		replacement(writer, request)
		return
	}
	if s.before != nil && s.before(writer, request, raw) {
		return
	}
	if request.Method == http.MethodPost {
		if code := s.checkProof(request, credential, raw); code != "" {
			problemTo(writer, http.StatusForbidden, code)
			return
		}
	}
	s.route(writer, request, credential, body, raw)
}

func (s *licenceServer) route(
	writer http.ResponseWriter, request *http.Request, credential string, body map[string]any, raw []byte,
) {
	now := s.now()
	switch request.URL.Path {
	case keySetPath:
		writer.Header().Set("Content-Type", "application/jose")
		_, _ = io.WriteString(writer, s.vendor.keySetText(now, s.keySetVersion))
	case "/api/registry/builds/" + testBuildID + "/keys":
		var keys []string
		for key := range s.apiKeys {
			keys = append(keys, key)
		}
		writer.Header().Set("Content-Type", "application/jose")
		_, _ = io.WriteString(writer, s.vendor.keySlotsText(now, keys...))
	case authenticatePath:
		if !s.apiKeys[credential] {
			problemTo(writer, http.StatusUnauthorized, "API_KEY_INVALID")
			return
		}
		s.authTime = now
		s.grant(writer, body["nonce"])
	case refreshPath:
		s.grant(writer, body["nonce"])
	case validatePath:
		jsonTo(writer, map[string]any{"valid": true, "code": "VALID", "features_active": true})
	case deactivatePath:
		jsonTo(writer, map[string]any{"success": true})
	case usagePath:
		var sent batch
		_ = json.Unmarshal(raw, &sent)
		if _, known := s.batches[sent.ID]; !known {
			s.batches[sent.ID] = sent.Events
		}
		jsonTo(writer, map[string]any{"success": true})
	default:
		http.NotFound(writer, request)
	}
}

func (s *licenceServer) grant(writer http.ResponseWriter, nonce any) {
	now := s.now()
	claims := s.vendor.tokenClaims(now, nonce, s.features)
	claims["exp"] = now.Add(s.tokenFor).Unix()
	claims["auth_time"] = s.authTime.Unix()
	if s.change != nil {
		s.change(claims)
	}
	body := map[string]any{
		"success": true, "token_type": "Bearer", "next_refresh": now.Add(5 * time.Minute).Format(time.RFC3339),
		"token":         signJWS(s.t, s.vendor.tokenKey, kidHeader(s.t, "at+jwt", s.vendor.tokenKey), claims),
		"offline_lease": nil,
	}
	if s.leaseFeatures != nil {
		ends := map[string]time.Time{}
		for code, lasts := range s.leaseFeatures {
			ends[code] = now.Add(lasts)
		}
		body["offline_lease"] = signJWS(s.t, s.vendor.leaseKey, kidHeader(s.t, "lease+jwt", s.vendor.leaseKey),
			s.vendor.leaseClaims(now, ends, now.Add(s.leaseFor)))
	}
	jsonTo(writer, body)
}

// checkProof holds the proof against DESIGN section 5, with arithmetic of its own.
func (s *licenceServer) checkProof(request *http.Request, credential string, body []byte) string {
	if !s.requireProof {
		return ""
	}
	host := s.hostOfProof
	if host == "" {
		host = request.Host
	}
	timestamp, nonce := request.Header.Get("X-Keywright-Timestamp"), request.Header.Get("X-Keywright-Nonce")
	text := proofText(request.Method, host, request.URL.RequestURI(), timestamp, nonce, credential, body)
	if request.Header.Get("X-Keywright-Proof") != "v1="+hex.EncodeToString(hmacSHA256(s.vendor.secret, text)) {
		return "PROOF_INVALID"
	}
	var seconds int64
	_, _ = fmt.Sscan(timestamp, &seconds)
	if s.now().Sub(unixTime(seconds)).Abs() > time.Minute {
		return "PROOF_INVALID"
	}
	if s.nonces[nonce] {
		return "PROOF_REPLAYED"
	}
	s.nonces[nonce] = true
	return ""
}

func jsonTo(writer http.ResponseWriter, body any) {
	writer.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(writer).Encode(body)
}

func problemTo(writer http.ResponseWriter, status int, code string) {
	writer.Header().Set("Content-Type", "application/problem+json")
	writer.WriteHeader(status)
	_ = json.NewEncoder(writer).Encode(map[string]any{
		"type": "about:blank", "title": "No", "status": status, "code": code, "detail": "said " + code, "success": false,
	})
}

// denying answers every question for a licence with one problem document.
func denying(status int, code string) func(http.ResponseWriter, *http.Request, []byte) bool {
	return func(writer http.ResponseWriter, request *http.Request, _ []byte) bool {
		if request.URL.Path != authenticatePath && request.URL.Path != refreshPath {
			return false
		}
		problemTo(writer, status, code)
		return true
	}
}

// away answers everything as a network does that has something in the way.
func away(writer http.ResponseWriter, _ *http.Request, _ []byte) bool {
	writer.WriteHeader(http.StatusBadGateway)
	return true
}

// plugin is everything that one running plugin has around it.
type plugin struct {
	t        *testing.T
	clock    *fakeClock
	vendor   *vendor
	server   *licenceServer
	settings settings
	log      *syncBuffer
	cancels  []func()
}

type syncBuffer struct {
	mutex  sync.Mutex
	buffer bytes.Buffer
}

func (b *syncBuffer) Write(text []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.Write(text)
}

func (b *syncBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.String()
}

func newPlugin(t *testing.T) *plugin {
	t.Helper()
	clock := newFakeClock()
	v := newVendor(t, clock.True())
	directory := v.newPackage().write()
	log := &syncBuffer{}
	p := &plugin{t: t, clock: clock, vendor: v, server: newLicenceServer(t, v, clock.True), log: log}
	p.settings = settings{
		executable: directory + "/plugin",
		jitter:     func() float64 { return 0.5 }, // the middle: exactly the interval, exactly the backoff
		patience:   time.Minute,                   // tests wait for the answer itself
		Options: Options{
			APIKey: testAPIKey, ServerURL: p.server.URL, StateDir: t.TempDir(), PackageDir: directory, Clock: clock,
			Logger:      slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Fingerprint: strings.Repeat("ab", 32),
		},
	}
	return p
}

// start runs the plugin; it ends with the test, or by the cancel that it gives.
func (p *plugin) start() (*Client, func()) {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	client, err := start(ctx, p.settings, p.vendor.build())
	if err != nil {
		cancel()
		p.t.Fatal(err)
	}
	var once sync.Once
	end := func() {
		once.Do(func() {
			cancel()
			<-client.finished
		})
	}
	p.t.Cleanup(end)
	return client, end
}

func (p *plugin) want(client *Client, state State, features ...string) {
	p.t.Helper()
	status := client.Status()
	if status.State != state || fmt.Sprint(status.Features) != fmt.Sprint(features) {
		p.t.Errorf("%s with %v (%s %s: %s), want %s with %v", status.State, status.Features, status.Code,
			status.Reason, status.Detail, state, features)
	}
	for _, feature := range features {
		if !client.HasFeature(feature) {
			p.t.Errorf("HasFeature(%q) is false, Status lists it", feature)
		}
	}
}
