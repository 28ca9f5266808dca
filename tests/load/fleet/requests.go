package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync/atomic"
)

// prepared are complete HTTP/1.1 requests by kind. The file holds, for each: the length of the kind (1 byte), the
// kind, the length of the request (4 bytes, big-endian), the request.
type prepared struct {
	kinds  []string
	byKind map[string][][]byte
}

func readRequests(path string) (*prepared, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &prepared{byKind: map[string][][]byte{}}
	for len(data) > 0 {
		kindLength := int(data[0])
		if len(data) < 5+kindLength {
			return nil, errors.New("the file of requests ends in the middle of one")
		}
		kind := string(data[1 : 1+kindLength])
		length := int(binary.BigEndian.Uint32(data[1+kindLength:]))
		data = data[5+kindLength:]
		if len(data) < length {
			return nil, errors.New("the file of requests ends in the middle of one")
		}
		if _, known := p.byKind[kind]; !known {
			p.kinds = append(p.kinds, kind)
		}
		p.byKind[kind] = append(p.byKind[kind], data[:length])
		data = data[length:]
	}
	if len(p.kinds) == 0 {
		return nil, errors.New("the file of requests is empty")
	}
	return p, nil
}

// picker hands out requests: kinds by their weights, the requests of a kind in turn, so that every one is used before
// one comes again.
type picker struct {
	kinds  []kindPicker
	weight int
}

type kindPicker struct {
	name     string
	requests [][]byte
	upTo     int
	next     *atomic.Uint64
}

func newPicker(p *prepared, mix map[string]int) (*picker, error) {
	found := &picker{}
	for _, kind := range p.kinds {
		weight := len(p.byKind[kind])
		if len(mix) > 0 {
			weight = mix[kind]
		}
		if weight == 0 {
			continue
		}
		found.weight += weight
		found.kinds = append(found.kinds, kindPicker{kind, p.byKind[kind], found.weight, &atomic.Uint64{}})
	}
	for kind, weight := range mix {
		if weight > 0 && !slices.Contains(p.kinds, kind) {
			return nil, fmt.Errorf("no request is of the kind %q", kind)
		}
	}
	if found.weight == 0 {
		return nil, errors.New("the mix leaves no request")
	}
	return found, nil
}

func (p *picker) pick() (string, []byte) {
	at := 0
	if len(p.kinds) > 1 {
		drawn := rand.IntN(p.weight)
		for drawn >= p.kinds[at].upTo {
			at++
		}
	}
	kind := &p.kinds[at]
	number := kind.next.Add(1) - 1
	return kind.name, kind.requests[number%uint64(len(kind.requests))]
}
