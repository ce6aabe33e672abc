package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// What the embedded server may have. Its streams have smaller bounds of their own.
const (
	embeddedMemory  = 32 << 20
	embeddedStore   = 1 << 30
	embeddedPayload = 8 << 20
)

// openEmbedded starts the server of this process and makes the streams. A directory that it cannot read is thrown away:
// everything in it is told by rows.
func (b *Bus) openEmbedded(ctx context.Context) error {
	err := b.startEmbedded(ctx)
	if err == nil || ctx.Err() != nil {
		return err
	}
	b.log.WarnContext(ctx, "the directory of the bus cannot be used and is made anew", slog.String("err", err.Error()))
	if removeErr := os.RemoveAll(b.config.Dir); removeErr != nil {
		return errors.Join(err, removeErr)
	}
	b.server, b.conn, b.closed = nil, nil, make(chan struct{})
	return b.startEmbedded(ctx)
}

func (b *Bus) startEmbedded(ctx context.Context) (err error) {
	if err := os.MkdirAll(b.config.Dir, 0o700); err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	b.server, err = server.NewServer(&server.Options{
		ServerName: "flint-" + b.self, DontListen: true, NoSigs: true, MaxPayload: embeddedPayload,
		JetStream: true, StoreDir: b.config.Dir, JetStreamMaxMemory: embeddedMemory, JetStreamMaxStore: embeddedStore,
		SyncInterval: syncInterval, DisableJetStreamBanner: true,
	})
	if err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	b.server.SetLoggerV2(serverLog{b.log}, false, false, false)
	b.server.Start()
	if !b.server.ReadyForConnections(startTime) {
		b.shut()
		return fmt.Errorf("bus: the embedded server did not start within %s", startTime)
	}
	if err := b.connect("", nats.InProcessServer(b.server)); err != nil {
		b.shut()
		return err
	}
	if err := b.makeStreams(ctx); err != nil {
		b.shut()
		return err
	}
	return nil
}

// serverLog has what the embedded server finds worth a warning in the node's own log.
type serverLog struct{ log *slog.Logger }

func (l serverLog) say(format string, v []any) {
	l.log.Warn("embedded bus", slog.String("text", fmt.Sprintf(format, v...)))
}

func (l serverLog) Warnf(format string, v ...any)  { l.say(format, v) }
func (l serverLog) Errorf(format string, v ...any) { l.say(format, v) }
func (l serverLog) Fatalf(format string, v ...any) { l.say(format, v) }
func (serverLog) Noticef(string, ...any)           {}
func (serverLog) Debugf(string, ...any)            {}
func (serverLog) Tracef(string, ...any)            {}

// Size returns how many bytes the embedded server of a data directory has on disk.
func Size(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // it is gone meanwhile, or was never there
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil // it is gone meanwhile
		}
		return err
	})
	return n, err
}
