package keywright

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maximumResponseBytes = 1 << 20
	requestTimeout       = 15 * time.Second
	maximumRetryAfter    = time.Hour
)

// transport carries requests to the one server and brings back bounded answers. It decides nothing.
type transport struct {
	base      *url.URL
	client    *http.Client
	userAgent string
}

// reply is a complete HTTP response.
type reply struct {
	status     int
	mediaType  string
	body       []byte
	retryAfter time.Duration
	date       time.Time
}

func newTransport(serverURL string, client *http.Client, userAgent string) (*transport, error) {
	base, err := url.Parse(strings.TrimRight(serverURL, "/"))
	if err != nil || base.Host == "" || (base.Scheme != "https" && base.Scheme != "http") {
		return nil, refuse(ReasonOptionsInvalid, "the server URL is not http(s)://host")
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, refuse(ReasonOptionsInvalid, "the server URL must not hold a user, query or fragment")
	}
	return &transport{base: base, client: ownClient(client), userAgent: userAgent}, nil
}

// ownClient copies the host's client, so that what is set here stays here.
func ownClient(client *http.Client) *http.Client {
	var own http.Client
	if client != nil {
		own = *client
	}
	if own.Transport == nil {
		// Not http.DefaultTransport, which the host may have replaced by anything.
		standard := &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 2,
			IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: requestTimeout,
		}
		standard.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		standard.ResponseHeaderTimeout = requestTimeout
		own.Transport = standard
	}
	if own.Timeout == 0 {
		own.Timeout = requestTimeout
	}
	// No redirect is followed, to any host: a credential goes only where it was told to go, and a redirect is
	// what a captive portal answers. Cookies are nobody's business here.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	own.Jar = nil
	return &own
}

// isExposed says whether credentials would cross a network in clear text.
func (t *transport) isExposed() bool {
	if t.base.Scheme == "https" || t.base.Hostname() == "localhost" {
		return false
	}
	address := net.ParseIP(t.base.Hostname())
	return address == nil || !address.IsLoopback()
}

func (t *transport) newRequest(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, method, t.base.String()+path, bytes.NewReader(body))
	if err != nil {
		return nil, refuse(ReasonOptionsInvalid, "the server URL does not make a request")
	}
	request.Header.Set("User-Agent", t.userAgent)
	request.Header.Set("Accept", "application/json, application/problem+json, application/jose")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, nil
}

// do gives the whole response, or a Refusal UNREACHABLE.
func (t *transport) do(request *http.Request) (*reply, error) {
	response, err := t.client.Do(request)
	if err != nil {
		return nil, refuse(ReasonUnreachable, "%v", withoutURL(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maximumResponseBytes+1))
	if err != nil {
		return nil, refuse(ReasonUnreachable, "the answer broke off")
	}
	if len(body) > maximumResponseBytes {
		return nil, refuse(ReasonNotAnAnswer, "the answer is longer than %d bytes", maximumResponseBytes)
	}
	mediaType, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	date, _ := http.ParseTime(response.Header.Get("Date"))
	return &reply{
		status: response.StatusCode, mediaType: mediaType, body: body, date: date,
		retryAfter: parseRetryAfter(response.Header.Get("Retry-After"), date),
	}, nil
}

// withoutURL keeps the cause of a failed request and leaves out where it went.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// parseRetryAfter reads both forms of RFC 9110 section 10.2.3, the date against the server's own Date.
func parseRetryAfter(text string, date time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if until, err := http.ParseTime(text); err == nil && !date.IsZero() {
		wait = until.Sub(date)
	}
	return min(max(wait, 0), maximumRetryAfter)
}

// problem is an RFC 9457 problem document of the server.
type problem struct {
	Code       Code            `json:"code"`
	Detail     string          `json:"detail"`
	ServerTime json.RawMessage `json:"server_time"`
}

// problemOf gives the problem document that a reply is, if it is one with a code.
func (r *reply) problemOf() (problem, bool) {
	var found problem
	if r.mediaType != "application/problem+json" || json.Unmarshal(r.body, &found) != nil {
		return problem{}, false
	}
	return found, found.Code != ""
}

// serverTime is when the server says it is, in the problem document or else in Date; zero when it does not.
// It is not signed, so it only ever shapes the timestamp of the next proof.
func (r *reply) serverTime(found problem) time.Time {
	var text string
	if json.Unmarshal(found.ServerTime, &text) == nil {
		if instant, err := time.Parse(time.RFC3339, text); err == nil {
			return instant
		}
	}
	var seconds int64
	if json.Unmarshal(found.ServerTime, &seconds) == nil && seconds > 0 {
		return unixTime(seconds)
	}
	return r.date
}

// isJSON says whether the reply is a 200 with a JSON body, read into value.
func (r *reply) isJSON(value any) bool {
	return r.status == http.StatusOK && r.mediaType == "application/json" && json.Unmarshal(r.body, value) == nil
}
