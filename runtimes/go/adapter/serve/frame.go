package serve

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errProtocol is wrapped by every error about what Flint sent.
var errProtocol = errors.New("protocol error")

type frameType byte

const (
	typeHello frameType = iota + 1
	typeLoad
	typeReady
	typeFailed
	typeRequest
	typeData
	typeWindow
	typeLog
	typeResponse
	typeCancel
	typePing
	typePong
	typeDrain
)

const (
	flagEnd       byte = 1
	flagAbandoned byte = 4 // on the answer to a cancel: the function's goroutine goes on
)

const (
	headerSize    = 10
	maxPayload    = 1 << 20
	maxPiece      = 256 << 10
	initialWindow = 1 << 20
	maxBody       = 20 << 20
)

type header struct {
	length int
	kind   frameType
	flags  byte
	id     uint32
}

func parseHeader(b []byte) (header, error) {
	h := header{
		length: int(binary.BigEndian.Uint32(b)),
		kind:   frameType(b[4]),
		flags:  b[5],
		id:     binary.BigEndian.Uint32(b[6:]),
	}
	if h.length > maxPayload {
		return h, fmt.Errorf("%w: payload of %d bytes", errProtocol, h.length)
	}
	if h.kind < typeHello || h.kind > typeDrain {
		return h, fmt.Errorf("%w: frame of type %d", errProtocol, h.kind)
	}
	return h, nil
}

func appendHeader(b []byte, kind frameType, flags byte, id uint32, length int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(length)) // at most maxPayload
	b = append(b, byte(kind), flags)
	return binary.BigEndian.AppendUint32(b, id)
}

func appendFrame(b []byte, kind frameType, flags byte, id uint32, payload []byte) []byte {
	return append(appendHeader(b, kind, flags, id, len(payload)), payload...)
}

func appendLog(b []byte, id uint32, stream byte, text string) []byte {
	b = appendHeader(b, typeLog, 0, id, 1+len(text))
	return append(append(b, stream), text...)
}

func appendResponse(b []byte, flags byte, id uint32, head, body []byte) []byte {
	b = appendHeader(b, typeResponse, flags, id, 4+len(head)+len(body))
	b = binary.BigEndian.AppendUint32(b, uint32(len(head))) // at most maxPayload
	b = append(b, head...)
	return append(b, body...)
}

func splitHead(payload []byte) (head, body []byte, err error) {
	if len(payload) < 4 {
		return nil, nil, fmt.Errorf("%w: no head", errProtocol)
	}
	n := int(binary.BigEndian.Uint32(payload))
	if n > len(payload)-4 {
		return nil, nil, fmt.Errorf("%w: head of %d bytes in a payload of %d", errProtocol, n, len(payload))
	}
	return payload[4 : 4+n], payload[4+n:], nil
}
