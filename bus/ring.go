package bus

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"flint"
	"flint/internal/pull"
)

// nodeHeader names the node that a message is from.
const nodeHeader = "Flint-Node"

// outgoing is a message that nobody waits for. ring is set when it is one: then there is no more to say.
type outgoing struct {
	kind string
	ring string
	msg  *nats.Msg
}

// Bell returns a new bell that is rung by Ring of that name, on whichever node.
func (b *Bus) Bell(name string) pull.Bell {
	bell := pull.NewBell()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bells[name] = append(b.bells[name], bell)
	return bell
}

// Ring rings the bells of that name: those of this node at once, and those of others. It never waits. Names are subject
// tokens: letters and hyphens.
func (b *Bus) Ring(name string) {
	b.ring(name)
	b.mu.Lock()
	known := b.pending[name]
	b.pending[name] = true
	b.mu.Unlock()
	if !known && !b.post(outgoing{kind: "ring", ring: name}) {
		b.sent(name)
	}
}

func (b *Bus) ring(name string) {
	b.mu.Lock()
	bells := b.bells[name]
	b.mu.Unlock()
	for _, bell := range bells {
		bell.Ring()
	}
}

// sent says that the next ring of that name has to be told again.
func (b *Bus) sent(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pending, name)
}

// PublishChange tells other nodes of a change. It never waits.
func (b *Bus) PublishChange(change []byte) {
	b.post(outgoing{kind: "change", msg: &nats.Msg{Subject: changeSubject, Data: change, Header: nats.Header{nodeHeader: {b.self}}}})
}

// OnChange has f called with every change that another node publishes, and with nothing when some may have been missed:
// then whatever is remembered must be forgotten. Calls come one after the other; f must not take long.
func (b *Bus) OnChange(f func([]byte)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changed = append(slices.Clone(b.changed), f)
}

// PublishLive says that a row has grown: whoever wants to know reads it. The number of the event is the time. It never
// waits.
func (b *Bus) PublishLive(e *flint.Event) {
	now := *e
	now.Seq = time.Now().UnixMicro()
	msg := encode(liveSubject, &now)
	msg.Data = nil
	b.post(outgoing{kind: "live", msg: msg})
}

// OnLive has f called with every live event, of this node as well. Calls come one after the other; f must not take long.
func (b *Bus) OnLive(f func(*flint.Event)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.live = append(slices.Clone(b.live), f)
}

// post leaves a message to the goroutine that sends; false when there are too many.
func (b *Bus) post(m outgoing) bool {
	select {
	case b.out <- m:
		return true
	default:
		b.metrics.errors.WithLabelValues(m.kind).Inc()
		return false
	}
}

// send sends what was posted until ctx ends, and then what is left.
func (b *Bus) send(ctx context.Context) {
	for {
		select {
		case m := <-b.out:
			b.sendOne(m)
		case <-ctx.Done():
			for len(b.out) > 0 {
				b.sendOne(<-b.out)
			}
			if b.conn.IsConnected() {
				_ = b.conn.FlushTimeout(connectTime) // others look by themselves
			}
			return
		}
	}
}

func (b *Bus) sendOne(m outgoing) {
	msg := m.msg
	if m.ring != "" {
		b.sent(m.ring) // before it is on its way: a ring that comes now is told again
		msg = &nats.Msg{Subject: ringSubject + m.ring, Header: nats.Header{nodeHeader: {b.self}}}
	}
	if err := b.conn.PublishMsg(msg); err != nil {
		b.metrics.errors.WithLabelValues(m.kind).Inc()
		b.complain(m.kind, err)
	}
}

// receive passes on what comes until ctx ends.
func (b *Bus) receive(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case msg := <-b.in:
			b.take(msg)
		}
	}
}

func (b *Bus) take(msg *nats.Msg) {
	own := msg.Header.Get(nodeHeader) == b.self
	if name, ok := strings.CutPrefix(msg.Subject, ringSubject); ok {
		if !own {
			b.ring(name)
		}
		return
	}
	b.mu.Lock()
	changed, live := b.changed, b.live
	b.mu.Unlock()
	switch {
	case msg.Subject == changeSubject:
		if own || len(msg.Data) == 0 {
			return
		}
		for _, f := range changed {
			f(msg.Data)
		}
	case strings.HasPrefix(msg.Subject, liveSubject):
		e, err := decode(msg.Header, nil)
		if err != nil {
			b.complain("live event", err)
			return
		}
		for _, f := range live {
			f(e)
		}
	}
}

// missed rings every bell and has everything forgotten that a change could have been about.
func (b *Bus) missed() {
	b.metrics.missed.Inc()
	b.mu.Lock()
	changed := b.changed
	var bells []pull.Bell
	for _, some := range b.bells {
		bells = append(bells, some...)
	}
	b.mu.Unlock()
	for _, bell := range bells {
		bell.Ring()
	}
	for _, f := range changed {
		f(nil)
	}
}
