package main

import (
	"net"
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

// connection is one HTTP/1.1 connection; it is made when first needed and again after an error.
type connection struct {
	address  string
	from     *net.TCPAddr
	socket   net.Conn
	received received
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
		c.socket, c.received = socket, received{}
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
	for {
		a, isWhole, err := c.received.parse()
		if isWhole || err != nil {
			return a.answer, a.isLast, err
		}
		n, err := c.socket.Read(c.received.room())
		if err != nil {
			return answer{}, false, err
		}
		c.received.add(n)
	}
}
