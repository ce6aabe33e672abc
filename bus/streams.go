package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Subjects. What follows a dot is an identifier or a kind.
const (
	ringSubject   = "flint.ring."   // the name of the bell
	changeSubject = "flint.changes" // the change as JSON
	liveSubject   = "flint.live."   // as events
	eventSubject  = "flint.events." // project, then the pattern without its brackets
	deadSubject   = "flint.dead."   // project
)

// syncInterval is how often the embedded server has the disk write what it keeps. It does not for every message: rows
// are the truth, and what an acknowledged call needs has been written and synchronised by the database. After a power
// failure the streams may lack their last minutes; whoever follows them by number sees the gap.
const syncInterval = 2 * time.Minute

// Stream is what the bus keeps of one kind of message.
type Stream struct {
	Name       string
	Subjects   []string
	Storage    jetstream.StorageType
	Retention  jetstream.RetentionPolicy
	MaxAge     time.Duration
	MaxBytes   int64
	MaxMsgs    int64
	Replicas   int           // on a cluster that has as many servers; 1 elsewhere
	Duplicates time.Duration // for which a number that comes again is dropped
	Why        string
}

// Names of the streams.
const (
	eventStream = "EVENTS"
	deadStream  = "DEAD"
)

// Streams is the one table of what is kept. There is none of work and none of what is scheduled: these are rows with an
// owner, a lease and a fencing number, and a stream beside them would be a second truth that can differ. They have bells.
func Streams() []Stream {
	return []Stream{
		{
			Name: eventStream, Subjects: []string{eventSubject + ">"}, Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
			MaxAge: 24 * time.Hour, MaxBytes: 256 << 20, MaxMsgs: 100_000, Replicas: 3, Duplicates: 2 * time.Minute,
			Why: "as long and as many as the rows of events are kept; a publisher that heard no answer repeats within seconds",
		},
		{
			Name: deadStream, Subjects: []string{deadSubject + ">"}, Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
			MaxAge: 14 * 24 * time.Hour, MaxBytes: 64 << 20, MaxMsgs: 10_000, Replicas: 3, Duplicates: 2 * time.Minute,
			Why: "as long as executions are kept: somebody looks at dead letters after days",
		},
	}
}

func (s *Stream) config(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: s.Name, Description: s.Why, Subjects: s.Subjects, Storage: s.Storage, Retention: s.Retention, Discard: jetstream.DiscardOld,
		MaxAge: s.MaxAge, MaxBytes: s.MaxBytes, MaxMsgs: s.MaxMsgs, Replicas: replicas, Duplicates: s.Duplicates, AllowDirect: true,
	}
}

// makeStreams makes the streams that are missing and gives the others the bounds of the table.
func (b *Bus) makeStreams(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, streamTime)
	defer cancel()
	for _, s := range Streams() {
		if err := b.makeStream(ctx, s); err != nil {
			return fmt.Errorf("bus: stream %s: %w", s.Name, err)
		}
	}
	return nil
}

// makeStream takes as many replicas as the cluster can give. A stream that is there keeps those that it has.
func (b *Bus) makeStream(ctx context.Context, s Stream) error {
	known, err := b.js.Stream(ctx, s.Name)
	if err == nil {
		_, err = b.js.UpdateStream(ctx, s.config(known.CachedInfo().Config.Replicas))
		return err
	}
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	if b.server != nil {
		s.Replicas = 1
	}
	_, err = b.js.CreateStream(ctx, s.config(s.Replicas))
	var refused jetstream.JetStreamError
	if s.Replicas > 1 && errors.As(err, &refused) && refused.APIError() != nil && slices.Contains(tooFew(), refused.APIError().ErrorCode) {
		_, err = b.js.CreateStream(ctx, s.config(1))
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was quicker
		return nil
	}
	return err
}

// tooFew are the answers of a server that has not as many peers as replicas are wanted.
func tooFew() []jetstream.ErrorCode {
	const noSuitablePeers, insufficientResources, replicasNotSupported = 10005, 10023, 10074
	return []jetstream.ErrorCode{noSuitablePeers, insufficientResources, replicasNotSupported}
}

// watch measures the streams, which it makes first when they are not made.
func (b *Bus) watch(ctx context.Context, made bool) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if !made && b.conn.IsConnected() {
			if err := b.makeStreams(ctx); err != nil {
				b.complain("streams", err)
			} else {
				made = true
				b.log.InfoContext(ctx, "bus connected")
			}
		}
		if made && b.conn.IsConnected() {
			b.measure(ctx)
		}
		select {
		case <-tick.C:
		case <-b.wake:
		case <-ctx.Done():
			return
		}
	}
}

func (b *Bus) measure(ctx context.Context) {
	for _, s := range Streams() {
		ctx, cancel := context.WithTimeout(ctx, streamTime)
		found, err := b.js.Stream(ctx, s.Name)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				b.log.DebugContext(ctx, "stream not measured", slog.String("stream", s.Name), slog.String("err", err.Error()))
			}
			return
		}
		state := found.CachedInfo().State
		b.metrics.bytes.WithLabelValues(s.Name).Set(float64(state.Bytes))
		b.metrics.messages.WithLabelValues(s.Name).Set(float64(state.Msgs))
		b.metrics.last.WithLabelValues(s.Name).Set(float64(state.LastSeq))
	}
}
