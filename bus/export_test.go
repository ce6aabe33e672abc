package bus

import (
	"github.com/nats-io/nats.go"

	"flint"
)

// Decode is what the fuzz target tries.
func Decode(h nats.Header, payload []byte) (*flint.Event, error) { return decode(h, payload) }
