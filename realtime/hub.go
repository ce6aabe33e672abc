package realtime

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flint"
	"flint/auth"
	"flint/bus"
	"flint/internal/forwarded"
	"flint/internal/pull"
	"flint/store"
	"flint/wire"
)

// Config is what a Hub needs.
type Config struct {
	Store     *store.Store
	Bus       *bus.Bus
	Auth      *auth.Authenticator
	Logger    *slog.Logger
	Registry  prometheus.Registerer
	Forwarded forwarded.Rules
	Hosts     []string // names of the platform: their pages may connect
	Max       int      // connections at once [10000]
	Unlimited bool     // switches the limits of connects and messages off

	PingEvery time.Duration // how often a connection is tried and its caller looked at again [30 s]
	SendTime  time.Duration // for a client to take a message, or to answer a ping [10 s]
}

// Hub serves the connections. It is safe for concurrent use.
type Hub struct {
	config    Config
	metrics   *metrics
	addresses addresses
	done      sync.WaitGroup // a connection each
	order     sync.Mutex     // one delivery or greeting after the other, so that what is read later is sent later

	mu       sync.Mutex
	stopping bool
	count    int
	conns    map[flint.ProjectID]map[*conn]struct{}
	grown    map[string]*flint.Event // rows that have grown and were not read since
	bell     pull.Bell               // grown is not empty, or there is a first connection
	followed chan struct{}           // closed while events are followed
}

// New makes a Hub.
func New(c Config) *Hub {
	if c.Store == nil || c.Bus == nil || c.Auth == nil || c.Logger == nil {
		panic("realtime: Store, Bus, Auth and Logger are required")
	}
	if c.Max <= 0 {
		c.Max = 10_000
	}
	if c.PingEvery <= 0 {
		c.PingEvery = 30 * time.Second
	}
	if c.SendTime <= 0 {
		c.SendTime = 10 * time.Second
	}
	h := &Hub{config: c, metrics: newMetrics(c.Registry), conns: map[flint.ProjectID]map[*conn]struct{}{}, grown: map[string]*flint.Event{}, bell: pull.NewBell(), followed: make(chan struct{})}
	c.Bus.OnLive(h.grow)
	return h
}

const (
	// retryEvery is how often the stream is asked for while the bus is away, and how long it is followed for nobody.
	retryEvery = 2 * time.Second
	// followTime is how long a client waits for the stream. What comes later it hears of later, or not at all.
	followTime = 5 * time.Second
)

// Run delivers events until ctx ends. Then it closes the connections and waits for them. The stream is followed while there
// are connections: following costs as much as publishing.
func (h *Hub) Run(ctx context.Context) error {
	defer h.close()
	stop := func() {}
	defer func() { stop() }()
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	following := false
	for {
		if !following && h.wanted() {
			end, err := h.config.Bus.Events(ctx, func(e *flint.Event) { h.deliver(ctx, e) })
			switch {
			case err == nil:
				stop, following = end, true
				h.begin()
			case ctx.Err() == nil:
				h.config.Logger.DebugContext(ctx, "events cannot be followed yet", slog.String("err", err.Error()))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-retry.C:
			if following && h.rest() {
				stop()
				stop, following = func() {}, false
			}
		case <-h.bell:
			for _, e := range h.takeGrown() {
				h.deliver(ctx, e)
			}
		}
	}
}

// wanted reports whether there are connections.
func (h *Hub) wanted() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count > 0
}

// begin lets connections know that events are followed.
func (h *Hub) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.followed)
}

// rest reports whether there are no connections, and if so has the next one wait for begin.
func (h *Hub) rest() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count > 0 {
		return false
	}
	h.followed = make(chan struct{})
	return true
}

// follow returns when events are followed, or the patience is over.
func (h *Hub) follow(ctx context.Context) {
	h.mu.Lock()
	followed := h.followed
	h.mu.Unlock()
	late := time.NewTimer(followTime)
	defer late.Stop()
	select {
	case <-followed:
	case <-late.C:
	case <-ctx.Done():
	}
}

// grow notes that a row has grown. However often it does before it is read, it is read once.
func (h *Hub) grow(e *flint.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.conns[e.Project]) == 0 {
		return
	}
	h.grown[string(e.Project)+" "+e.Pattern+" "+strings.Join(e.IDs, ",")] = e
	h.bell.Ring()
}

func (h *Hub) takeGrown() map[string]*flint.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	grown := h.grown
	h.grown = map[string]*flint.Event{}
	return grown
}

// of returns the connections of a project.
func (h *Hub) of(project flint.ProjectID) []*conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*conn, 0, len(h.conns[project]))
	for c := range h.conns[project] {
		all = append(all, c)
	}
	return all
}

// deliver tells those of an event who may hear of it.
func (h *Hub) deliver(ctx context.Context, e *flint.Event) {
	h.order.Lock()
	defer h.order.Unlock()
	all := h.of(e.Project)
	if len(all) == 0 {
		return
	}
	about := topicOf(e)
	channels := about.channels(e.Project)
	all = slices.DeleteFunc(all, func(c *conn) bool { return !c.listens(channels) })
	if len(all) == 0 {
		return
	}
	m, err := h.load(ctx, e, about)
	if err != nil {
		if ctx.Err() == nil {
			h.config.Logger.WarnContext(ctx, "event not delivered", slog.String("project_id", string(e.Project)), slog.String("err", err.Error()))
		}
		return
	}
	data := eventData{Events: e.Names(), Channels: channels, Timestamp: wire.Date(time.Now())}
	for _, c := range all {
		payload := m.payload(c.caller(), about)
		if payload == nil {
			continue
		}
		if data.Subscriptions = c.matching(channels, payload.fields); len(data.Subscriptions) == 0 {
			continue
		}
		data.Payload = payload.text
		c.push(outMessage{"event", data})
	}
}

// ServeHTTP serves one connection until it ends.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.enter() {
		http.Error(w, "This node is stopping, or has as many connections as it takes.", http.StatusServiceUnavailable)
		return
	}
	defer h.leave()
	h.serve(w, r)
}

func (h *Hub) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopping || h.count >= h.config.Max {
		h.metrics.refused.Inc()
		return false
	}
	if h.count++; h.count == 1 {
		h.bell.Ring()
	}
	h.done.Add(1)
	h.metrics.connections.Inc()
	return true
}

func (h *Hub) leave() {
	h.mu.Lock()
	h.count--
	h.mu.Unlock()
	h.metrics.connections.Dec()
	h.done.Done()
}

// greet sends a client its first message and makes it known; false when the node stops. Whoever has read that message hears of
// what comes from then on, and of nothing before it.
func (h *Hub) greet(c *conn, m outMessage) bool {
	h.order.Lock()
	defer h.order.Unlock()
	c.push(m)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopping {
		return false
	}
	if h.conns[c.project] == nil {
		h.conns[c.project] = map[*conn]struct{}{}
	}
	h.conns[c.project][c] = struct{}{}
	return true
}

func (h *Hub) remove(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns[c.project], c)
	if len(h.conns[c.project]) == 0 {
		delete(h.conns, c.project)
	}
}

// goingAway is the code of a server that stops.
const goingAway = 1001

func (h *Hub) close() {
	h.mu.Lock()
	h.stopping = true
	var all []*conn
	for _, some := range h.conns {
		for c := range some {
			all = append(all, c)
		}
	}
	h.mu.Unlock()
	for _, c := range all {
		c.end(&failure{goingAway, ""})
	}
	h.done.Wait()
}

// allowed reports whether a page may connect: one of this machine, of the platform or of the same host. Programs that
// are no browsers say no origin.
func (h *Hub) allowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || r.URL.Query().Get("project") == "console" {
		return true
	}
	u, err := url.Parse(strings.ToLower(origin))
	if err != nil || u.Host == "" {
		return false
	}
	asked := (&url.URL{Host: strings.ToLower(h.config.Forwarded.Host(r))}).Hostname()
	return forwarded.Loopback(u.Hostname()) || u.Hostname() == asked || slices.Contains(h.config.Hosts, u.Hostname())
}

// identify finds out who connects. Browsers cannot send headers with a WebSocket: the URL may say them.
func (h *Hub) identify(r *http.Request) (*auth.Principal, error) {
	asked := r.Clone(r.Context())
	query := r.URL.Query()
	for header, name := range map[string]string{auth.ProjectHeader: "project", auth.KeyHeader: "key", auth.JWTHeader: "jwt"} {
		if value := query.Get(name); value != "" && asked.Header.Get(header) == "" {
			asked.Header.Set(header, value)
		}
	}
	p, err := h.config.Auth.Authenticate(asked)
	if err == nil && p.Project == nil && asked.Header.Get(auth.ProjectHeader) != "console" {
		err = flint.ErrProjectIDMissing
	}
	return p, err
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("realtime: " + err.Error()) // messages are made of code and of JSON that was read
	}
	return b
}
