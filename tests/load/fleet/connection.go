package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"time"
)

const answerTimeout = 30 * time.Second

// answer is what the fleet looks at of a response.
type answer struct {
	status        int
	hasRetryAfter bool
	retryAfter    time.Duration
	isYes         bool // a validate that found the token as good as when it was minted
}

var (
	contentLength = []byte("content-length:")
	retryAfter    = []byte("retry-after:")
	connectionIs  = []byte("connection:")
	yes           = []byte(`"valid":true,"code":"VALID"`)
)

// connection is one HTTP/1.1 connection; it is made when first needed and again after an error.
type connection struct {
	address string
	from    *net.TCPAddr
	socket  net.Conn
	reader  *bufio.Reader
	body    []byte
}

func (c *connection) ask(request []byte) (answer, error) {
	if c.socket == nil {
		dialer := net.Dialer{Timeout: answerTimeout}
		if c.from != nil {
			dialer.LocalAddr = c.from
		}
		socket, err := dialer.Dial("tcp", c.address)
		if err != nil {
			return answer{}, err
		}
		c.socket, c.reader = socket, bufio.NewReaderSize(socket, 8192)
	}
	a, isLast, err := c.exchange(request)
	if err != nil || isLast {
		c.close()
	}
	return a, err
}

func (c *connection) exchange(request []byte) (answer, bool, error) {
	if err := c.socket.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return answer{}, false, err
	}
	if _, err := c.socket.Write(request); err != nil {
		return answer{}, false, err
	}
	return c.read()
}

func (c *connection) close() {
	if c.socket != nil {
		c.socket.Close()
		c.socket = nil
	}
}

// read reads one response with a Content-Length, which is all that the server under test sends.
func (c *connection) read() (answer, bool, error) {
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return answer{}, false, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return answer{}, false, errors.New("not an HTTP response")
	}
	var a answer
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return answer{}, false, err
	}
	length, isLast := -1, false
	for {
		if line, err = c.reader.ReadSlice('\n'); err != nil {
			return answer{}, false, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		switch {
		case hasName(line, contentLength):
			length, err = strconv.Atoi(valueOf(line, contentLength))
		case hasName(line, retryAfter):
			var seconds int
			seconds, err = strconv.Atoi(valueOf(line, retryAfter))
			a.hasRetryAfter, a.retryAfter = true, time.Duration(seconds)*time.Second
		case hasName(line, connectionIs):
			isLast = valueOf(line, connectionIs) == "close"
		}
		if err != nil {
			return answer{}, false, err
		}
	}
	if length < 0 {
		return answer{}, false, errors.New("a response without a length")
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	body := c.body[:length]
	if _, err = io.ReadFull(c.reader, body); err != nil {
		return answer{}, false, err
	}
	a.isYes = bytes.Contains(body, yes)
	return a, isLast, nil
}

func hasName(line, name []byte) bool {
	return len(line) >= len(name) && bytes.EqualFold(line[:len(name)], name)
}

func valueOf(line, name []byte) string { return string(bytes.TrimSpace(line[len(name):])) }
