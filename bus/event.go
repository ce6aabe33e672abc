package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"flint"
)

// Headers of an event. The payload is the body.
const (
	seqHeader     = "Flint-Seq"
	projectHeader = "Flint-Project"
	patternHeader = "Flint-Pattern"
	idsHeader     = "Flint-Ids" // separated by commas
	userHeader    = "Flint-User"
	omittedHeader = "Flint-Payload" // omitted: it is too large for the bus
)

// token makes an identifier a part of a subject: it may hold dots, which divide subjects.
func token(id string) string { return strings.ReplaceAll(id, ".", "=") }

// kindOf is a pattern without its brackets: functions.executions.create.
func kindOf(pattern string) string {
	var parts []string
	for part := range strings.SplitSeq(pattern, ".") {
		if part != "" && part[0] != '[' {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ".")
}

// encode makes the message of an event below a subject.
func encode(below string, e *flint.Event) *nats.Msg {
	h := nats.Header{
		seqHeader: {strconv.FormatInt(e.Seq, 10)}, projectHeader: {string(e.Project)}, patternHeader: {e.Pattern}, idsHeader: {strings.Join(e.IDs, ",")},
	}
	if e.User != "" {
		h.Set(userHeader, e.User)
	}
	return &nats.Msg{Subject: below + token(string(e.Project)) + "." + kindOf(e.Pattern), Header: h, Data: e.Payload}
}

var errNoEvent = errors.New("the message is no event")

// decode reads the message of an event. What it returns can be given to flint.EventNames.
func decode(h nats.Header, payload []byte) (*flint.Event, error) {
	seq, err := strconv.ParseInt(h.Get(seqHeader), 10, 64)
	if err != nil || seq < 0 {
		return nil, errNoEvent
	}
	e := &flint.Event{
		Seq: seq, Project: flint.ProjectID(h.Get(projectHeader)), CreatedAt: time.UnixMicro(seq).UTC(), Pattern: h.Get(patternHeader),
		IDs: strings.Split(h.Get(idsHeader), ","), User: h.Get(userHeader), Payload: payload,
	}
	if !flint.ValidID(string(e.Project)) || !wellFormed(e.Pattern, len(e.IDs)) {
		return nil, errNoEvent
	}
	return e, nil
}

// wellFormed reports whether a pattern is pairs of a type and a bracket, as many as there are identifiers, and at most
// two further parts.
func wellFormed(pattern string, ids int) bool {
	parts := strings.Split(pattern, ".")
	pairs := 0
	for len(parts) >= 2 && parts[0] != "" && parts[0][0] != '[' && strings.HasPrefix(parts[1], "[") {
		parts, pairs = parts[2:], pairs+1
	}
	for _, part := range parts {
		if part == "" || part[0] == '[' {
			return false
		}
	}
	return pairs > 0 && pairs <= 8 && pairs == ids && len(parts) <= 2
}

// PublishEvents puts events on the stream, in their order, and returns when the last of them is there. An event that is there
// already is not put there again. After an error some may be there and some not: publish all of them again. With Config.Alone
// they are dropped while nobody follows.
func (b *Bus) PublishEvents(ctx context.Context, events []*flint.Event) error {
	if b.config.Alone && b.Embedded() && b.followers.Load() == 0 {
		return nil
	}
	messages := make([]*nats.Msg, 0, len(events))
	for _, e := range events {
		msg := encode(eventSubject, e)
		msg.Header.Set(jetstream.MsgIDHeader, strconv.FormatInt(e.Seq, 10))
		if limit := b.conn.MaxPayload(); limit > 0 && int64(msg.Size()) > limit {
			msg.Data = nil
			msg.Header.Set(omittedHeader, "omitted")
		}
		messages = append(messages, msg)
	}
	return b.publish(ctx, "event", messages)
}

// PublishDead tells whoever listens from outside of a dead letter. id is of what died: it is told of once.
func (b *Bus) PublishDead(ctx context.Context, project flint.ProjectID, id string, notice []byte) error {
	return b.publish(ctx, "dead", []*nats.Msg{{
		Subject: deadSubject + token(string(project)), Data: notice, Header: nats.Header{projectHeader: {string(project)}, jetstream.MsgIDHeader: {id}},
	}})
}

var errNoAnswer = fmt.Errorf("bus: not all messages were acknowledged within %s", publishTime)

func (b *Bus) publish(ctx context.Context, kind string, messages []*nats.Msg) (err error) {
	begin := time.Now()
	defer func() {
		if err != nil {
			b.metrics.errors.WithLabelValues(kind).Inc()
			return
		}
		b.metrics.latency.Observe(time.Since(begin).Seconds())
	}()
	if len(messages) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, publishTime, errNoAnswer)
	defer cancel()
	// A stream takes what one connection sends in its order: the last answer says that all before it have been taken, at a
	// part of the price of an answer for each.
	last := len(messages) - 1
	for _, msg := range messages[:last] {
		if err := b.conn.PublishMsg(msg); err != nil {
			return fmt.Errorf("bus: publish: %w", err)
		}
	}
	future, err := b.js.PublishMsgAsync(messages[last])
	if err != nil {
		return fmt.Errorf("bus: publish: %w", err)
	}
	select {
	case <-future.Ok():
		return nil
	case err := <-future.Err():
		return fmt.Errorf("bus: publish: %w", err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Events calls f with every event that comes onto the stream from now on, in the order of the stream, one after the
// other, until the returned function is called, which waits for f. What comes while the cluster is away follows when it is
// back, as far as the stream still has it.
func (b *Bus) Events(ctx context.Context, f func(*flint.Event)) (stop func(), err error) {
	b.followers.Add(1) // before the stream's end is looked at: what is published from then on is there
	defer func() {
		if err != nil {
			b.followers.Add(-1)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, streamTime)
	defer cancel()
	stream, err := b.js.Stream(ctx, eventStream)
	if err != nil {
		return nil, fmt.Errorf("bus: follow events: %w", err)
	}
	// By number, not with what is new: a consumer that has to be made anew before its first message would not know of what came.
	from := stream.CachedInfo().State.LastSeq + 1
	consumer, err := b.js.OrderedConsumer(ctx, eventStream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from})
	if err != nil {
		return nil, fmt.Errorf("bus: follow events: %w", err)
	}
	following, err := consumer.Consume(func(msg jetstream.Msg) {
		e, err := decode(msg.Headers(), msg.Data())
		if err != nil {
			b.log.WarnContext(ctx, "event not understood", slog.String("subject", msg.Subject()))
			return
		}
		f(e)
	}, jetstream.PullMaxMessages(256), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { b.complain("following events", err) }))
	if err != nil {
		return nil, fmt.Errorf("bus: follow events: %w", err)
	}
	return func() {
		following.Stop()
		<-following.Closed()
		b.followers.Add(-1)
	}, nil
}
