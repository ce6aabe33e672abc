package realtime

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"

	"flint"
	"flint/auth"
	"flint/internal/pull"
)

// conn is one client.
type conn struct {
	hub     *Hub
	socket  *websocket.Conn
	project flint.ProjectID
	queued  pull.Bell // there is something to send

	mu            sync.Mutex
	principal     *auth.Principal
	subscriptions map[string]*subscription
	queue         [][]byte
	bytes         int
	over          *failure // why the connection ends; nil: it does not
}

// serve talks with a client until it goes, is too slow or is sent away.
func (h *Hub) serve(w http.ResponseWriter, r *http.Request) {
	socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled}) // origins are looked at below
	if err != nil {
		h.metrics.refused.Inc()
		return // it has answered
	}
	socket.SetReadLimit(maxMessage)
	ctx, cancel := context.WithCancel(r.Context())
	c := &conn{hub: h, socket: socket, queued: pull.NewBell(), subscriptions: map[string]*subscription{}}
	var writer sync.WaitGroup
	writer.Go(func() {
		defer cancel()
		c.write(ctx, r)
	})
	err = c.open(r)
	if err != nil {
		h.metrics.refused.Inc()
		c.end(failureOf(err, codePolicy))
	} else {
		defer h.remove(c)
	}
	c.read(ctx, err == nil)
	cancel()
	writer.Wait()
	_ = socket.CloseNow() // it is closed already, or the client is gone
}

// failureOf words an error for a client.
func failureOf(err error, code int) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if known, ok := errors.AsType[*flint.Error](err); ok && known.Kind != flint.Internal {
		return &failure{code, known.Message}
	}
	return &failure{code, flint.ErrUnknown.Message}
}

// open greets a client that may come in.
func (c *conn) open(r *http.Request) error {
	h := c.hub
	if !h.config.Unlimited && !h.addresses.take(h.config.Forwarded.Client(r), time.Now()) {
		return &failure{codeTooMany, "Too many requests"}
	}
	if !h.allowed(r) {
		return &failure{codePolicy, "Invalid Origin. The page that connects is of a host that this platform does not know."}
	}
	p, err := h.identify(r)
	if err != nil {
		return err
	}
	slots, channels, err := fromQuery(r.URL.Query(), p.UserID)
	if err != nil {
		return &failure{codePolicy, err.Error()}
	}
	greeting := connectedData{Channels: channels, Subscriptions: map[string]string{}}
	c.mu.Lock()
	c.principal, c.project = p, p.ProjectID()
	for slot, s := range slots {
		id := flint.NewID()
		c.subscriptions[id] = s
		greeting.Subscriptions[strconv.Itoa(slot)] = id
	}
	c.mu.Unlock()
	h.follow(r.Context())
	if !h.greet(c, outMessage{"connected", greeting}) {
		c.end(&failure{goingAway, ""})
	}
	return nil
}

// read takes what the client sends until the connection ends. One that was not let in gets no answers.
func (c *conn) read(ctx context.Context, open bool) {
	var limit messages
	for {
		kind, raw, err := c.socket.Read(ctx)
		if err != nil {
			return
		}
		if !open {
			continue
		}
		if !c.hub.config.Unlimited && !limit.take(time.Now()) {
			c.fail(&failure{codeTooMany, "Too many messages."})
			continue
		}
		if kind != websocket.MessageText {
			c.fail(&failure{codeBadMessage, "Message format is not valid."})
			continue
		}
		reply, err := c.answer(raw)
		if err != nil {
			c.fail(failureOf(err, codeBadMessage))
			continue
		}
		c.push(*reply)
	}
}

// fail tells the client of an error that does not end the connection.
func (c *conn) fail(f *failure) { c.push(outMessage{"error", errorData{f.code, f.message}}) }

// push queues a message. One that does not fit ends the connection: the client cannot know what it has missed.
func (c *conn) push(m outMessage) {
	b := marshal(m)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.over != nil:
		return
	case len(c.queue) >= queuedMessages, len(c.queue) > 0 && c.bytes+len(b) > queuedBytes:
		c.hub.metrics.slow.Inc()
		c.over = &failure{codeTooMany, "The client is too slow: it has missed messages."}
		c.queue, c.bytes = nil, 0
	default:
		c.queue = append(c.queue, b)
		c.bytes += len(b)
	}
	c.queued.Ring()
}

// end closes the connection after what is queued. The client is told why, unless the reason is empty.
func (c *conn) end(why *failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over == nil {
		c.over = why
	}
	c.queued.Ring()
}

// maxReason is how many bytes of a reason fit into the frame that closes a connection.
const maxReason = 120

// next takes a message from the queue; when there is none, why the connection ends, if it does.
func (c *conn) next() ([]byte, *failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return nil, c.over
	}
	b := c.queue[0]
	c.queue = c.queue[1:]
	c.bytes -= len(b)
	return b, nil
}

// write sends what is queued, tries the connection now and then, and closes it in the end.
func (c *conn) write(ctx context.Context, r *http.Request) {
	tick := time.NewTicker(c.hub.config.PingEvery)
	defer tick.Stop()
	for {
		b, over := c.next()
		switch {
		case b != nil:
			if c.send(ctx, b) != nil {
				return
			}
			continue
		case over != nil:
			if over.message != "" && c.send(ctx, marshal(outMessage{"error", errorData{over.code, over.message}})) != nil {
				return
			}
			_ = c.socket.Close(websocket.StatusCode(over.code), over.message[:min(len(over.message), maxReason)])
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-c.queued:
		case <-tick.C:
			if c.look(ctx, r) != nil {
				return
			}
		}
	}
}

func (c *conn) send(ctx context.Context, b []byte) error {
	ctx, cancel := context.WithTimeout(ctx, c.hub.config.SendTime)
	defer cancel()
	c.hub.metrics.sent.Inc()
	return c.socket.Write(ctx, websocket.MessageText, b)
}

// look tries the connection, and whether its caller still is who it was: keys are deleted and expire.
func (c *conn) look(ctx context.Context, r *http.Request) error {
	ctx, cancel := context.WithTimeout(ctx, c.hub.config.SendTime)
	defer cancel()
	if err := c.socket.Ping(ctx); err != nil {
		return err
	}
	p, err := c.hub.identify(r)
	if err != nil {
		c.end(failureOf(err, codePolicy))
		return nil // the client is told
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.principal = p
	return nil
}

func (c *conn) caller() *auth.Principal {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.principal
}

func (c *conn) user() string { return c.caller().UserID }

// listens reports whether a subscription names one of the channels.
func (c *conn) listens(channels []string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.subscriptions {
		if s.names(channels) {
			return true
		}
	}
	return false
}

func (s *subscription) names(channels []string) bool {
	return slices.ContainsFunc(s.channels, func(own string) bool { return slices.Contains(channels, own) })
}

// matching returns the subscriptions that an event is for.
func (c *conn) matching(channels []string, fields map[string]any) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for id, s := range c.subscriptions {
		if s.names(channels) && holds(s.filters, fields) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
