package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	maximumLineBytes = 1 << 20
	maximumBatch     = 100
)

var errLineTooLong = fmt.Errorf("it is longer than %d bytes", maximumLineBytes)

// lockedWriter lets several goroutines write whole lines.
type lockedWriter struct {
	mutex  sync.Mutex
	writer io.Writer
}

func (w *lockedWriter) Write(text []byte) (int, error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.writer.Write(text)
}

// readLines calls each for every line, with its number from 1 and without its end, or with an error and no line when
// it is too long: the rest of such a line is skipped, never held in memory. line is only valid during the call.
func readLines(input io.Reader, each func(number int, line []byte, err error)) error {
	reader := bufio.NewReaderSize(input, 64<<10)
	for number := 1; ; number++ {
		line, err := readLine(reader)
		if err != nil && !errors.Is(err, errLineTooLong) {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		each(number, line, err)
	}
}

// readLine gives io.EOF only when nothing was left: a last line without its end is a line.
func readLine(reader *bufio.Reader) ([]byte, error) {
	var line []byte
	isTooLong := false
	for {
		part, err := reader.ReadSlice('\n')
		if len(line)+len(part) > maximumLineBytes {
			isTooLong, line = true, nil
		} else if !isTooLong {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err
		case isTooLong:
			return nil, errLineTooLong
		case errors.Is(err, io.EOF) && len(line) == 0:
			return nil, io.EOF
		}
		return bytes.TrimRight(line, "\r\n"), nil
	}
}

// message is one JSON-RPC 2.0 request, notification or response.
type message struct {
	kind   string
	method string
	id     json.RawMessage
	raw    json.RawMessage
}

// parseMessages reads a line: one message, or a batch of them (JSON-RPC 2.0, section 6).
func parseMessages(line []byte) ([]message, error) {
	line = bytes.TrimSpace(line)
	if !json.Valid(line) {
		return nil, errors.New("it is not JSON")
	}
	if line[0] != '[' {
		parsed, err := parseMessage(line)
		return []message{parsed}, err
	}
	var batch []json.RawMessage
	if err := json.Unmarshal(line, &batch); err != nil || len(batch) == 0 || len(batch) > maximumBatch {
		return nil, fmt.Errorf("a batch has 1 to %d messages", maximumBatch)
	}
	var messages []message
	for _, raw := range batch {
		parsed, err := parseMessage(raw)
		if err != nil {
			return nil, err
		}
		messages = append(messages, parsed)
	}
	return messages, nil
}

func parseMessage(raw []byte) (message, error) {
	var fields struct {
		Version *string         `json:"jsonrpc"`
		Method  *string         `json:"method"`
		ID      json.RawMessage `json:"id"`
		Result  json.RawMessage `json:"result"`
		Error   json.RawMessage `json:"error"`
	}
	if json.Unmarshal(raw, &fields) != nil || fields.Version == nil || *fields.Version != "2.0" {
		return message{}, errors.New("it is not a JSON-RPC 2.0 message")
	}
	parsed := message{id: fields.ID, raw: bytes.Clone(raw)}
	switch {
	case fields.Method != nil && len(fields.ID) > 0:
		parsed.kind, parsed.method = "request", *fields.Method
	case fields.Method != nil:
		parsed.kind, parsed.method = "notification", *fields.Method
	case len(fields.Error) > 0 && len(fields.ID) > 0:
		parsed.kind = "error"
	case len(fields.Result) > 0 && len(fields.ID) > 0:
		parsed.kind = "result"
	default:
		return message{}, errors.New("it is neither a request nor a response")
	}
	return parsed, nil
}

// entry is the console's line: JSON, so that nothing in a message can move the cursor or forge a line.
func (m message) entry(now time.Time, number int) []byte {
	text, err := json.Marshal(struct {
		Time   string          `json:"time"`
		Line   int             `json:"line"`
		Kind   string          `json:"kind"`
		Method string          `json:"method,omitempty"`
		ID     json.RawMessage `json:"id,omitempty"`
		Bytes  int             `json:"bytes"`
	}{now.Format(time.RFC3339Nano), number, m.kind, m.method, m.id, len(m.raw)})
	if err != nil { // every field came out of a JSON reader
		return nil
	}
	return append(text, '\n')
}
