package vectors

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"flint/internal/frame"
)

var typeNames = []string{"", "hello", "load", "ready", "failed", "request", "data", "window", "log", "response", "cancel", "ping", "pong", "drain"}

// Type returns the type of a frame by the name that docs/protocol.md gives it.
func Type(name string) frame.Type {
	return frame.Type(slices.Index(typeNames, name)) // a small index
}

// peer is Flint's side of a conversation.
type peer struct {
	t        *testing.T
	l        *Worker
	conn     *net.UnixConn
	r        *bufio.Reader
	wait     func() error
	output   *bytes.Buffer // what the worker prints
	stray    []byte        // its log of no request
	held     []byte
	manual   bool
	calls    map[uint32]*exchange
	control  map[string][][]byte // hello, ready, pong: payloads not expected yet
	inFlight int
	exited   bool
}

// exchange is one request as Flint sees it.
type exchange struct {
	answered, ended bool
	head            struct {
		Status  int
		Headers map[string]any
	}
	body      []byte
	texts     [2][]byte
	window    int // what the adapter may still send
	given     int // what the adapter has given for the request's body
	mySending int // what may still be sent of the request's body
}

func (p *peer) write(b []byte, chop int) {
	p.t.Helper()
	b = append(p.held, b...)
	p.held = nil
	if chop == 0 {
		chop = len(b)
	}
	_ = p.conn.SetDeadline(time.Now().Add(patience))
	for piece := range slices.Chunk(b, max(chop, 1)) {
		if _, err := p.conn.Write(piece); err != nil {
			p.t.Fatalf("write: %v", err)
		}
	}
}

func (p *peer) send(s *sending) {
	p.t.Helper()
	var flags uint8
	if s.End && !s.Stream {
		flags = frame.End
	}
	kind := Type(s.Type)
	var out []byte
	switch kind {
	case frame.Load:
		load := map[string]any{"code": p.l.Code, "entrypoint": p.l.Entrypoint, "env": s.Env}
		if s.Entrypoint != "" {
			load["entrypoint"] = p.fill(s.Entrypoint)
		}
		if p.l.Compiled || s.Env == nil {
			load["env"] = map[string]string{}
		}
		out = frame.Append(nil, kind, 0, 0, encode(p.t, load))
	case frame.Request:
		body := s.Body
		if s.Stream {
			body = nil
		}
		out = frame.AppendWithHead(nil, kind, flags, s.ID, s.head(p.t), body)
		p.calls[s.ID] = &exchange{window: frame.InitialWindow, mySending: frame.InitialWindow - len(body)}
		p.inFlight++
	case frame.Window:
		p.calls[s.ID].window += int(s.Bytes)
		out = frame.Append(nil, kind, 0, s.ID, binary.BigEndian.AppendUint32(nil, s.Bytes))
	case frame.Data:
		p.calls[s.ID].mySending -= len(s.Body)
		fallthrough
	default:
		out = frame.Append(nil, kind, flags, s.ID, s.Body)
	}
	if s.Hold {
		p.held = append(p.held, out...)
		return
	}
	p.write(out, s.Chop)
	if s.Stream {
		p.stream(s)
	}
}

// stream sends a body in pieces, waiting for the windows that the adapter gives.
func (p *peer) stream(s *sending) {
	p.t.Helper()
	x := p.calls[s.ID]
	for body := []byte(s.Body); ; {
		for x.mySending == 0 {
			p.read()
		}
		n := min(len(body), x.mySending, frame.MaxBodyPiece)
		var flags uint8
		if n == len(body) {
			flags = frame.End
		}
		p.write(frame.Append(nil, frame.Data, flags, s.ID, body[:n]), 0)
		x.mySending -= n
		if body = body[n:]; flags == frame.End {
			return
		}
	}
}

func (p *peer) fill(s string) string {
	return strings.ReplaceAll(s, "{ext}", strings.TrimPrefix(filepath.Ext(p.l.Entrypoint), "."))
}

// requestHead has the fields in the order of docs/protocol.md.
type requestHead struct {
	Method      string         `json:"method"`
	Scheme      string         `json:"scheme"`
	Host        string         `json:"host"`
	Port        int            `json:"port"`
	Path        string         `json:"path"`
	QueryString string         `json:"queryString"`
	URL         string         `json:"url"`
	Headers     map[string]any `json:"headers"`
	Logging     bool           `json:"logging"`
}

func (s *sending) head(t *testing.T) []byte {
	t.Helper()
	h := requestHead{Method: "GET", Scheme: "https", Host: "a.example", Port: 443, Path: "/", QueryString: s.Query, URL: "https://a.example/", Logging: true}
	if s.Query != "" {
		h.URL += "?" + s.Query
	}
	if err := json.Unmarshal(encode(t, s.Head), &h); err != nil {
		t.Fatal(err)
	}
	h.Headers = map[string]any{"x-action": s.Action}
	maps.Copy(h.Headers, s.Headers)
	return encode(t, h)
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// read takes one frame and holds the adapter to the rules that every frame must follow.
func (p *peer) read() {
	p.t.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	h, payload, err := frame.Read(p.r, nil)
	if err != nil {
		p.t.Fatalf("read: %v", err)
	}
	p.take(h, payload)
}

func (p *peer) take(h frame.Header, payload []byte) {
	p.t.Helper()
	name := typeNames[h.Type]
	x := p.calls[h.ID]
	switch h.Type {
	case frame.Hello, frame.Ready, frame.Pong, frame.Failed:
		p.control[name] = append(p.control[name], payload)
		return
	case frame.Log:
		if h.ID == 0 {
			p.stray = append(p.stray, payload[1:]...)
			return
		}
	case frame.Response, frame.Data, frame.Window:
	default:
		p.t.Fatalf("an adapter does not send %s", name)
	}
	if x == nil || x.ended && h.Type != frame.Window {
		p.t.Fatalf("%s for request %d, which is not open", name, h.ID)
	}
	switch h.Type { //nolint:exhaustive // the others have been dealt with
	case frame.Log:
		if len(payload) < 1 || payload[0] > 1 {
			p.t.Fatalf("log of stream %v", payload[:min(1, len(payload))])
		}
		x.texts[payload[0]] = append(x.texts[payload[0]], payload[1:]...)
	case frame.Window:
		n := int(binary.BigEndian.Uint32(payload))
		x.given += n
		x.mySending += n
	case frame.Response:
		head, body, err := frame.SplitHead(payload)
		if err == nil {
			err = json.Unmarshal(head, &x.head)
		}
		if err != nil || x.answered {
			p.t.Fatalf("response %s: %v, answered before: %v", payload, err, x.answered)
		}
		x.answered = true
		p.body(h, x, body)
	case frame.Data:
		p.body(h, x, payload)
	}
}

func (p *peer) body(h frame.Header, x *exchange, piece []byte) {
	p.t.Helper()
	x.body = append(x.body, piece...)
	x.window -= len(piece)
	x.ended = h.Flags&frame.End != 0
	if !x.answered || x.window < 0 || len(piece) > frame.MaxBodyPiece {
		p.t.Fatalf("%d bytes of body: answered %v, window after them %d", len(piece), x.answered, x.window)
	}
	if !p.manual && !x.ended && len(piece) > 0 {
		x.window += len(piece)
		p.write(frame.Append(nil, frame.Window, 0, h.ID, binary.BigEndian.AppendUint32(nil, uint32(len(piece)))), 0) // a small piece
	}
}

func (p *peer) until(done func() bool) {
	p.t.Helper()
	for !done() {
		p.read()
	}
}

func (p *peer) expect(e *expectation) {
	p.t.Helper()
	x := p.calls[e.ID]
	switch e.Type {
	case "hello", "ready", "pong":
		p.until(func() bool { return len(p.control[e.Type]) > 0 })
		got := p.control[e.Type][0]
		p.control[e.Type] = p.control[e.Type][1:]
		p.checkControl(e, got)
	case "response":
		p.until(func() bool { return x.ended })
		delete(p.calls, e.ID)
		p.checkResponse(e, x)
	case "open": // the request has not been answered yet
		if x == nil || x.answered {
			p.t.Errorf("request %d is answered already", e.ID)
		}
	case "logs":
		p.until(func() bool { return x.ended || inOrder(string(x.texts[0]), e.Contains) })
		if !inOrder(string(x.texts[0]), e.Contains) {
			p.t.Errorf("logs %q, want %q in them", x.texts[0], e.Contains)
		}
	case "window":
		p.until(func() bool { return x.given >= e.Bytes })
		if x.given != e.Bytes {
			p.t.Errorf("%d bytes given back, want %d", x.given, e.Bytes)
		}
	case "body":
		p.until(func() bool { return len(x.body) >= e.Bytes })
		p.send(&sending{Type: "ping", Body: content("still?")})
		p.expect(&expectation{Type: "pong"})
		if len(x.body) != e.Bytes || x.ended {
			p.t.Errorf("%d bytes of body, want %d; ended %v", len(x.body), e.Bytes, x.ended)
		}
	case "exit":
		p.exit(e)
	default:
		p.t.Fatalf("nothing known about expecting %q", e.Type)
	}
}
