package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Probe asks a cluster whether a node could use it, and says what it is in a few words.
func Probe(ctx context.Context, url string) (string, error) {
	conn, err := nats.Connect(url, nats.Name("flint doctor"), nats.Timeout(connectTime), nats.MaxReconnects(0))
	if err != nil {
		return "", hide(err, url)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, streamTime)
	defer cancel()
	js, err := jetstream.New(conn)
	if err != nil {
		return "", err
	}
	begin := time.Now()
	account, err := js.AccountInfo(ctx)
	if err != nil {
		return "", fmt.Errorf("it has no JetStream for this account: %w", hide(err, url))
	}
	return fmt.Sprintf("NATS %s, %d known servers, %d streams with %d MB, answers in %s", conn.ConnectedServerVersion(), len(conn.Servers()),
		account.Streams, account.Store>>20, time.Since(begin).Round(10*time.Microsecond)), nil
}
