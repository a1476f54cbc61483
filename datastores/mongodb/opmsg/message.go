// Package opmsg speaks MongoDB's wire protocol as far as a guest needs it: one command at a time by OP_MSG, and logging in by
// SCRAM-SHA-256 (RFC 5802, RFC 7677). MongoDB's driver would be a third of a guest's binary; see docs/adr/0055.
package opmsg

import (
	"encoding/binary"
	"fmt"
	"io"

	"go.mongodb.org/mongo-driver/v2/bson"
)

const (
	opMsg      = 2013
	headerSize = 16
	// MaxMessage is the most that a server takes, maxMessageSizeBytes in MongoDB's documents.
	MaxMessage = 48000000

	kindBody     = 0
	kindSequence = 1

	flagChecksum   = 1 << 0
	flagMoreToCome = 1 << 1
)

// Header is the beginning of every message.
type Header struct {
	Length, ID, ResponseTo, Op int32
}

// ReadMessage reads one message of any kind: its header and what follows that.
func ReadMessage(r io.Reader) (h Header, rest []byte, err error) {
	var b [headerSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return h, nil, err
	}
	for i, field := range []*int32{&h.Length, &h.ID, &h.ResponseTo, &h.Op} {
		*field = int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
	if h.Length < headerSize || h.Length > MaxMessage {
		return h, nil, fmt.Errorf("a message of %d bytes is none", h.Length)
	}
	rest = make([]byte, h.Length-headerSize)
	_, err = io.ReadFull(r, rest)
	return h, rest, err
}

// WriteMessage writes one message of any kind.
func WriteMessage(w io.Writer, h Header, rest []byte) error {
	b := make([]byte, headerSize, headerSize+len(rest))
	h.Length = int32(headerSize + len(rest))
	for i, field := range []int32{h.Length, h.ID, h.ResponseTo, h.Op} {
		binary.LittleEndian.PutUint32(b[4*i:], uint32(field))
	}
	_, err := w.Write(append(b, rest...))
	return err
}

// WriteBody writes an OP_MSG with one document.
func WriteBody(w io.Writer, id, responseTo int32, body []byte) error {
	return WriteMessage(w, Header{ID: id, ResponseTo: responseTo, Op: opMsg}, append(make([]byte, 5, 5+len(body)), body...))
}

// ParseBody returns the command or reply in an OP_MSG, with the documents of its sequences as arrays. silent: no reply is wanted.
func ParseBody(h Header, rest []byte) (body bson.D, silent bool, err error) {
	if h.Op != opMsg || len(rest) < 5 {
		return nil, false, fmt.Errorf("a message with operation %d is no OP_MSG", h.Op)
	}
	flags := binary.LittleEndian.Uint32(rest)
	rest = rest[4:]
	if flags&flagChecksum != 0 && len(rest) >= 4 {
		rest = rest[:len(rest)-4]
	}
	var sequences bson.D
	for len(rest) > 0 {
		kind, part, after, err := section(rest)
		if err != nil {
			return nil, false, err
		}
		if kind == kindBody {
			err = bson.Unmarshal(part, &body)
		} else {
			var e bson.E
			e, err = sequence(part)
			sequences = append(sequences, e)
		}
		if err != nil {
			return nil, false, err
		}
		rest = after
	}
	return append(body, sequences...), flags&flagMoreToCome != 0, nil
}

// section cuts the first section off.
func section(b []byte) (kind byte, part, rest []byte, err error) {
	if len(b) < 5 {
		return 0, nil, nil, fmt.Errorf("a section of %d bytes is none", len(b))
	}
	size := int(int32(binary.LittleEndian.Uint32(b[1:])))
	if size < 4 || size > len(b)-1 || b[0] > kindSequence {
		return 0, nil, nil, fmt.Errorf("a section of kind %d with %d bytes is none", b[0], size)
	}
	return b[0], b[1 : 1+size], b[1+size:], nil
}

// sequence reads a section of kind 1: its size, a name that ends with 0, documents.
func sequence(b []byte) (bson.E, error) {
	b = b[4:]
	for i, c := range b {
		if c != 0 {
			continue
		}
		name, documents := string(b[:i]), bson.A{}
		for b = b[i+1:]; len(b) > 0; {
			if len(b) < 5 {
				return bson.E{}, fmt.Errorf("the sequence %q is cut", name)
			}
			size := int(int32(binary.LittleEndian.Uint32(b)))
			if size < 5 || size > len(b) {
				return bson.E{}, fmt.Errorf("the sequence %q is cut", name)
			}
			var d bson.D
			if err := bson.Unmarshal(b[:size], &d); err != nil {
				return bson.E{}, err
			}
			documents, b = append(documents, d), b[size:]
		}
		return bson.E{Key: name, Value: documents}, nil
	}
	return bson.E{}, fmt.Errorf("a sequence has no name")
}
