// Package frame is the codec of the worker protocol, as docs/protocol.md describes it.
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Type is the kind of a frame.
type Type uint8

// The types.
const (
	Hello Type = iota + 1
	Load
	Ready
	Failed
	Request
	Data
	Window
	Log
	Response
	Cancel
	Ping
	Pong
	Drain
)

// Flags of a frame.
const (
	End     uint8 = 1 << 0 // the body of this direction is complete
	Dropped uint8 = 1 << 1 // on Log: older output was thrown away before this
	// Abandoned is set on a Response that answers Cancel: the work could not be stopped and goes on.
	Abandoned uint8 = 1 << 2
)

// Sizes, in bytes.
const (
	HeaderSize    = 10
	MaxPayload    = 1 << 20
	MaxBodyPiece  = 256 << 10
	InitialWindow = 1 << 20
)

// ErrMalformed is wrapped by every error about the bytes themselves.
var ErrMalformed = errors.New("malformed frame")

// Header is what precedes a payload.
type Header struct {
	Length int
	Type   Type
	Flags  uint8
	ID     uint32
}

// AppendHeader appends the header of a frame with n bytes of payload.
func AppendHeader(b []byte, t Type, flags uint8, id uint32, n int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(n)) // payloads are bounded by MaxPayload
	b = append(b, byte(t), flags)
	return binary.BigEndian.AppendUint32(b, id)
}

// Append appends a whole frame.
func Append(b []byte, t Type, flags uint8, id uint32, payload []byte) []byte {
	return append(AppendHeader(b, t, flags, id, len(payload)), payload...)
}

// AppendWithHead appends a frame whose payload is a head and the first bytes of a body.
func AppendWithHead(b []byte, t Type, flags uint8, id uint32, head, body []byte) []byte {
	b = AppendHeader(b, t, flags, id, 4+len(head)+len(body))
	b = binary.BigEndian.AppendUint32(b, uint32(len(head))) // bounded by MaxPayload
	b = append(b, head...)
	return append(b, body...)
}

// ParseHeader reads a header from the first HeaderSize bytes of b.
func ParseHeader(b []byte) (Header, error) {
	h := Header{
		Length: int(binary.BigEndian.Uint32(b)),
		Type:   Type(b[4]),
		Flags:  b[5],
		ID:     binary.BigEndian.Uint32(b[6:]),
	}
	if h.Length > MaxPayload {
		return h, fmt.Errorf("%w: payload of %d bytes", ErrMalformed, h.Length)
	}
	if h.Type < Hello || h.Type > Drain {
		return h, fmt.Errorf("%w: type %d", ErrMalformed, h.Type)
	}
	return h, nil
}

// SplitHead splits a payload that starts with a head.
func SplitHead(payload []byte) (head, body []byte, err error) {
	if len(payload) < 4 {
		return nil, nil, fmt.Errorf("%w: no head", ErrMalformed)
	}
	n := int(binary.BigEndian.Uint32(payload))
	if n > len(payload)-4 {
		return nil, nil, fmt.Errorf("%w: head of %d bytes in a payload of %d", ErrMalformed, n, len(payload))
	}
	return payload[4 : 4+n], payload[4+n:], nil
}

// Read reads one frame from r. The payload is in buf when it fits there, else in new memory.
func Read(r io.Reader, buf []byte) (Header, []byte, error) {
	var raw [HeaderSize]byte
	if _, err := io.ReadFull(r, raw[:]); err != nil {
		return Header{}, nil, err
	}
	h, err := ParseHeader(raw[:])
	if err != nil {
		return h, nil, err
	}
	if h.Length > cap(buf) {
		buf = make([]byte, h.Length)
	}
	buf = buf[:h.Length]
	if _, err := io.ReadFull(r, buf); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return h, nil, err
	}
	return h, buf, nil
}
