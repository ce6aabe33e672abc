package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"flint"
	"flint/internal/pull"
)

// Config is what a Bus needs.
type Config struct {
	URL      string       // of a cluster, or several separated by commas, with credentials; tls:// encrypts. Empty: the embedded server
	Dir      string       // of the embedded server
	Alone    bool         // nobody but callers of Events reads the embedded server's stream of events: what none of them hears is not put there
	Logger   *slog.Logger // nil: silence
	Registry prometheus.Registerer
}

// Bus is safe for concurrent use.
type Bus struct {
	config  Config
	log     *slog.Logger
	self    string // tells own messages from those of others
	server  *server.Server
	conn    *nats.Conn
	js      jetstream.JetStream
	metrics *metrics

	in     chan *nats.Msg
	out    chan outgoing
	wake   pull.Bell // the connection is there, or there again
	closed chan struct{}
	stop   context.CancelFunc
	done   sync.WaitGroup

	complained atomic.Int64 // when, in unix seconds
	followers  atomic.Int64 // callers of Events

	mu      sync.Mutex
	bells   map[string][]pull.Bell
	pending map[string]bool // names whose ring is on its way out
	changed []func([]byte)
	live    []func(*flint.Event)
}

// How long things may take. Nobody's call waits for any of them.
const (
	startTime   = 10 * time.Second // of the embedded server
	connectTime = 2 * time.Second
	streamTime  = 5 * time.Second // to make the streams, or to read one
	publishTime = 5 * time.Second
	watchEvery  = 15 * time.Second
)

// bufferIn and bufferOut are how many messages may wait on either side; beyond that they are dropped.
const (
	bufferIn  = 4096
	bufferOut = 4096
)

// Open starts the embedded server, or goes for the cluster without waiting until it answers.
func Open(ctx context.Context, c Config) (_ *Bus, err error) {
	b := &Bus{
		config: c, log: c.Logger, self: flint.NewID(), metrics: newMetrics(c.Registry), wake: pull.NewBell(),
		in: make(chan *nats.Msg, bufferIn), out: make(chan outgoing, bufferOut), closed: make(chan struct{}),
		bells: map[string][]pull.Bell{}, pending: map[string]bool{},
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	made := true // the streams
	if c.URL == "" {
		err = b.openEmbedded(ctx)
	} else {
		made, err = b.openCluster(ctx)
	}
	if err != nil {
		return nil, err
	}
	for _, subject := range []string{ringSubject + "*", changeSubject, liveSubject + ">"} {
		if _, err := b.conn.ChanSubscribe(subject, b.in); err != nil {
			b.shut()
			return nil, fmt.Errorf("bus: %w", err)
		}
	}
	if b.conn.IsConnected() {
		_ = b.conn.FlushTimeout(connectTime) // what is rung from now on is heard; if not, its queue is looked at
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stop = stop
	b.done.Go(func() { b.send(run) })
	b.done.Go(func() { b.receive(run) })
	b.done.Go(func() { b.watch(run, made) })
	return b, nil
}

// openCluster makes the connection, and the streams if the cluster is there. If not, that is watch's to do.
func (b *Bus) openCluster(ctx context.Context) (made bool, err error) {
	if err := b.connect(b.config.URL); err != nil {
		return false, err
	}
	if !b.conn.IsConnected() {
		b.complain("connect", b.conn.LastError())
		return false, nil
	}
	if err := b.makeStreams(ctx); err != nil {
		b.complain("streams", err)
		return false, nil // it is tried again
	}
	return true, nil
}

// Embedded reports whether the server is in this process.
func (b *Bus) Embedded() bool { return b.server != nil }

// Close sends what is on its way, for a moment, and ends everything that Open began.
func (b *Bus) Close() error {
	b.stop()
	b.done.Wait()
	b.shut()
	return nil
}

// shut ends the connection and the embedded server.
func (b *Bus) shut() {
	if b.conn != nil {
		b.conn.Close()
		<-b.closed
	}
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
}

// connect makes the connection. A cluster that is not there yet is tried again until it is.
func (b *Bus) connect(url string, more ...nats.Option) (err error) {
	options := append([]nats.Option{
		nats.Name("flint " + b.self), nats.Timeout(connectTime), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(time.Second),
		nats.ReconnectJitter(200*time.Millisecond, time.Second), nats.ReconnectBufSize(-1), nats.PingInterval(20 * time.Second), nats.IgnoreAuthErrorAbort(),
		nats.FlusherTimeout(connectTime),
		nats.ConnectHandler(func(*nats.Conn) { b.metrics.connected.Set(1); b.wake.Ring() }),
		nats.ReconnectHandler(func(*nats.Conn) { b.metrics.connected.Set(1); b.metrics.reconnects.Inc(); b.missed(); b.wake.Ring() }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.metrics.connected.Set(0)
			if err != nil {
				b.complain("bus lost", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrSlowConsumer) {
				b.missed()
			}
			b.complain("bus failed", err)
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(b.closed) }),
	}, more...)
	if b.conn, err = nats.Connect(url, options...); err != nil {
		return fmt.Errorf("bus: %w", hide(err, url))
	}
	if b.conn.IsConnected() {
		b.metrics.connected.Set(1)
	}
	b.js, err = jetstream.New(b.conn, jetstream.WithPublishAsyncTimeout(publishTime), jetstream.WithDefaultTimeout(publishTime))
	if err != nil {
		b.shut()
		return fmt.Errorf("bus: %w", err)
	}
	return nil
}

// hide keeps credentials out of what is said about a URL.
func hide(err error, url string) error {
	text := err.Error()
	for one := range strings.SplitSeq(url, ",") {
		_, rest, _ := strings.Cut(strings.TrimSpace(one), "://")
		if at := strings.LastIndex(rest, "@"); at >= 0 {
			text = strings.ReplaceAll(text, rest[:at+1], "***@")
		}
	}
	return errors.New(text)
}

// complain logs what went wrong on the bus, once a minute: a cluster that is away is away for every message.
func (b *Bus) complain(what string, err error) {
	if err == nil {
		err = nats.ErrDisconnected
	}
	now := time.Now().Unix()
	last := b.complained.Load()
	if now-last < 60 || !b.complained.CompareAndSwap(last, now) {
		return
	}
	b.log.Warn("messages do not reach others: what they would have told is found by looking", slog.String("what", what), slog.String("err", hide(err, b.config.URL).Error()))
}
