package http1

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// response is an http.ResponseWriter, and what http.ResponseController asks of one. A response whose body is written
// before it grows large goes out in one piece, with its length; the others go out in chunks, or as they come when the handler
// has said how long they are.
type response struct {
	conn    *conn
	request *http.Request
	header  http.Header
	status  int   // 0: not yet known
	sent    bool  // the head has been sent
	chunked bool  // the body goes out in chunks
	bare    bool  // there is no body, whatever is written
	declare int64 // the length that the handler has stated, or -1
	written int64
	close   bool // the connection can not be used again
	body    []byte
	err     error // of the connection
}

// sniffed is how much of a body tells what it is, and flushAt how much of one is kept for its length to be known.
const (
	sniffed = 512
	flushAt = 32 << 10
)

func (w *response) reset(c *conn, r *http.Request) {
	header, body := w.header, w.body[:0]
	if header == nil {
		header = make(http.Header, 8)
	}
	clear(header)
	if cap(body) > keepOut {
		body = nil
	}
	*w = response{conn: c, request: r, header: header, body: body, declare: -1}
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	if status < 200 { // informational ones are not given by what is served here
		return
	}
	w.status = status
	w.bare = w.request.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
	if text := w.header.Get("Content-Length"); text != "" {
		if n, ok := number(text); ok {
			w.declare = n
		} else {
			w.header.Del("Content-Length")
		}
	}
	if strings.EqualFold(w.header.Get("Connection"), "close") {
		w.close = true
	}
}

func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.bare {
		if w.request.Method == http.MethodHead {
			w.written += int64(len(p))
			w.body = append(w.body, p[:min(len(p), sniffed-len(w.body))]...) // tells the type
			return len(p), nil
		}
		return 0, http.ErrBodyNotAllowed
	}
	if w.declare >= 0 && w.written+int64(len(p)) > w.declare {
		return 0, http.ErrContentLength
	}
	w.written += int64(len(p))
	w.body = append(w.body, p...)
	if len(w.body) >= flushAt {
		w.send(false)
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// FlushError sends what has been written so far.
func (w *response) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.send(false)
	return w.err
}

// Flush is FlushError for callers of http.Flusher.
func (w *response) Flush() { _ = w.FlushError() }

// SetReadDeadline sets the deadline of reading the body.
func (w *response) SetReadDeadline(t time.Time) error {
	w.conn.readBy, w.conn.body.timed = t, true
	return w.conn.raw.SetReadDeadline(t)
}

// SetWriteDeadline sets the deadline of writing the response.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.conn.sendBy = t
	return w.conn.raw.SetWriteDeadline(t)
}

// finish sends the rest of the response. An error means that the connection is of no more use.
func (w *response) finish() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.send(true)
	if w.err == nil && w.declare >= 0 && !w.bare && w.written != w.declare {
		w.err = errShort
	}
	return w.err
}

var errShort = errors.New("the response is shorter than was said")

// send writes head and body as far as they are there.
func (w *response) send(last bool) {
	if w.err != nil {
		w.body = w.body[:0]
		return
	}
	out := w.conn.out[:0]
	if !w.sent {
		w.sent = true
		out = w.appendHead(out, last)
	}
	switch {
	case w.bare:
	case !w.chunked:
		out = append(out, w.body...)
	default:
		if len(w.body) > 0 {
			out = strconv.AppendInt(out, int64(len(w.body)), 16)
			out = append(append(append(out, "\r\n"...), w.body...), "\r\n"...)
		}
		if last {
			out = append(out, "0\r\n\r\n"...)
		}
	}
	w.body = w.body[:0]
	if len(out) > 0 {
		if w.err = w.conn.sendSoon(); w.err == nil {
			_, w.err = w.conn.quick.Write(out)
		}
	}
	if w.conn.out = out; cap(out) > keepOut {
		w.conn.out = nil
	}
}

// sendSoon sets the deadline of writing, unless more than half of it is left.
func (c *conn) sendSoon() error {
	now, limit := time.Now(), c.server.config.SendTimeout
	if left := c.sendBy.Sub(now); left > limit/2 && left <= limit {
		return nil
	}
	c.sendBy = now.Add(limit)
	return c.raw.SetWriteDeadline(c.sendBy)
}

// appendHead writes status and headers. last: the body is whole, so that its length is known.
func (w *response) appendHead(b []byte, last bool) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(w.status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(w.status)...)
	b = append(b, "\r\nDate: "...)
	b = w.conn.server.date.append(b)
	typed := false
	for name, values := range w.header {
		switch name {
		case "Date", "Connection", "Transfer-Encoding", "Content-Length":
			continue // of this connection
		case "Content-Type":
			typed = true
		}
		for _, value := range values {
			b = append(append(b, "\r\n"...), name...)
			b = appendValue(append(b, ": "...), value)
		}
	}
	if !typed && len(w.body) > 0 {
		b = append(append(b, "\r\nContent-Type: "...), http.DetectContentType(w.body[:min(len(w.body), sniffed)])...)
	}
	switch {
	case w.status == http.StatusNoContent || w.status == http.StatusNotModified:
	case w.declare >= 0:
		b = strconv.AppendInt(append(b, "\r\nContent-Length: "...), w.declare, 10)
	case w.bare && w.written == 0: // to HEAD: how long an answer to GET would be is not known
	case w.bare:
		b = strconv.AppendInt(append(b, "\r\nContent-Length: "...), w.written, 10)
	case last:
		b = strconv.AppendInt(append(b, "\r\nContent-Length: "...), int64(len(w.body)), 10)
	default:
		w.chunked = true
		b = append(b, "\r\nTransfer-Encoding: chunked"...)
	}
	if w.close || w.request.Close || w.conn.server.closed.Load() {
		b = append(b, "\r\nConnection: close"...)
	}
	return append(b, "\r\n\r\n"...)
}

// appendValue writes the value of a header. What would end the line becomes a space.
func appendValue(b []byte, value string) []byte {
	at := len(b)
	b = append(b, value...)
	if bytes.ContainsAny(b[at:], "\r\n") {
		for i := at; i < len(b); i++ {
			if b[i] == '\r' || b[i] == '\n' {
				b[i] = ' '
			}
		}
	}
	return b
}

// clock knows the date as headers have it, which changes once a second.
type clock struct{ text atomic.Pointer[stamp] }

type stamp struct {
	second int64
	text   string
}

func (c *clock) append(b []byte) []byte {
	now := time.Now()
	s := c.text.Load()
	if s == nil || s.second != now.Unix() {
		s = &stamp{now.Unix(), now.UTC().Format(http.TimeFormat)}
		c.text.Store(s)
	}
	return append(b, s.text...)
}
