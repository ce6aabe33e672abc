package api

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"time"
)

// Events are an answer that goes on: server-sent events. One goroutine uses it.
type Events struct{ x *exchange }

// eventTime is how long a client may take to take an event.
const eventTime = 10 * time.Second

// Stream makes a Handler of fn, which sends until the client goes or there is no more to say. An error that it returns
// before it has sent anything is the answer.
func Stream[In any](fn func(context.Context, *In, *Events) error) Handler {
	return Handler{
		in: reflect.TypeFor[In](), out: reflect.TypeFor[*Events](), status: http.StatusOK,
		call: func(ctx context.Context, x *exchange) (any, error) {
			in := new(In)
			if err := x.receive(in); err != nil {
				return nil, err
			}
			s := &Events{x: x}
			if x.r.Method == http.MethodHead {
				return s, s.Begin()
			}
			return s, fn(ctx, in, s)
		},
	}
}

// Begin sends the head of the answer, if it has not gone out. From then on errors are not told.
func (s *Events) Begin() error {
	x := s.x
	if x.status != 0 {
		return nil
	}
	// The server bounds the time for a request; this one takes as long as the client listens.
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Time{})
	h := x.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=UTF-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies pass events on as they come
	x.status = http.StatusOK
	x.w.WriteHeader(x.status)
	return s.write(nil)
}

// Send sends an event with an identifier that grows, and v as JSON.
func (s *Events) Send(event string, id int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	b := append([]byte("event: "+event+"\nid: "+strconv.Itoa(id)+"\ndata: "), data...)
	return s.write(append(b, "\n\n"...))
}

// Alive sends a comment, which clients skip: a sign of life.
func (s *Events) Alive() error { return s.write([]byte(": alive\n\n")) }

// write sends at once what is complete.
func (s *Events) write(b []byte) error {
	connection := http.NewResponseController(s.x.w)
	_ = connection.SetWriteDeadline(time.Now().Add(eventTime)) // not every writer has deadlines
	defer func() { _ = connection.SetWriteDeadline(time.Time{}) }()
	n, err := s.x.w.Write(b)
	s.x.bytes += n
	if err != nil {
		return err
	}
	return connection.Flush()
}
