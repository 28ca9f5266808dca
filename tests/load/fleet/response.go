package main

import (
	"bytes"
	"errors"
	"strconv"
	"time"
)

var (
	endOfHead     = []byte("\r\n\r\n")
	contentLength = []byte("content-length:")
	retryAfter    = []byte("retry-after:")
	connectionIs  = []byte("connection:")
	yes           = []byte(`"valid":true,"code":"VALID"`)
)

// received is what has come of one response so far.
type received struct {
	buffer []byte
	filled int
	whole  int // how long the response is; 0 while its head is not here
	head   response
}

// response is an answer, and whether the server closes the connection after it.
type response struct {
	answer
	isLast bool
}

// room is where to read the next bytes to; there is always some.
func (r *received) room() []byte {
	if r.filled == len(r.buffer) {
		r.buffer = append(r.buffer, make([]byte, max(4096, len(r.buffer)))...)
	}
	return r.buffer[r.filled:]
}

func (r *received) add(n int) { r.filled += n }

// parse tells whether the response is whole; then the next one may come.
func (r *received) parse() (response, bool, error) {
	seen := r.buffer[:r.filled]
	if r.whole == 0 {
		end := bytes.Index(seen, endOfHead)
		if end < 0 {
			return response{}, false, nil
		}
		length, err := r.parseHead(seen[:end+2])
		if err != nil {
			return response{}, false, err
		}
		r.whole = end + len(endOfHead) + length
	}
	if r.filled < r.whole {
		return response{}, false, nil
	}
	if r.filled > r.whole {
		return response{}, false, errors.New("more than one response")
	}
	r.head.isYes = bytes.Contains(seen, yes)
	r.filled, r.whole = 0, 0
	return r.head, true, nil
}

// parseHead reads the status line and the headers, each with its line's end, and returns the body's length.
func (r *received) parseHead(head []byte) (int, error) {
	r.head = response{}
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return 0, errors.New("not an HTTP response")
	}
	var err error
	if r.head.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, err
	}
	length := -1
	for len(rest) > 0 && err == nil {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		switch {
		case hasName(line, contentLength):
			length, err = strconv.Atoi(valueOf(line, contentLength))
		case hasName(line, retryAfter):
			var seconds int
			seconds, err = strconv.Atoi(valueOf(line, retryAfter))
			r.head.hasRetryAfter, r.head.retryAfter = true, time.Duration(seconds)*time.Second
		case hasName(line, connectionIs):
			r.head.isLast = valueOf(line, connectionIs) == "close"
		}
	}
	if err == nil && length < 0 {
		err = errors.New("a response without a length")
	}
	return length, err
}

func hasName(line, name []byte) bool {
	return len(line) >= len(name) && bytes.EqualFold(line[:len(name)], name)
}

func valueOf(line, name []byte) string { return string(bytes.TrimSpace(line[len(name):])) }
