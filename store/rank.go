package store

import (
	"database/sql/driver"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"math"

	"modernc.org/sqlite"
)

// digits are as many bits each, in the order of what they stand for.
var digits = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding) //nolint:gochecknoglobals // read only

var errRank = errors.New("rank() is given (owner, down) or (owner, duration, created_at, id, down)")

// rankBoth asks rank for the texts of both directions.
const rankBoth = 2

// rank answers rank(owner, duration, created_at, id, down): a text that is sorted as the executions of an owner are by duration,
// then by creation, and if down is 1 the other way round; if it is 2 both texts with a space between them. The texts of rank(owner, down)
// are what these begin with.
func rank(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
	down, ok := args[len(args)-1].(int64)
	if len(args) != 2 && len(args) != 5 || !ok {
		return nil, errRank
	}
	owner, ok := args[0].(int64)
	if !ok { // of a function that does not exist
		owner = 0
	}
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 64), uint64(owner))
	b = append(b, 0, 0) // ten bytes are sixteen digits
	from := len(b)
	if len(args) == 5 {
		created, ok := args[2].(int64)
		if !ok {
			return nil, errRank
		}
		id, ok := args[3].(string)
		if !ok {
			return nil, errRank
		}
		b = binary.BigEndian.AppendUint64(b, floatRank(args[1]))
		b = binary.BigEndian.AppendUint64(b, uint64(created)^1<<63)
		b = append(append(b, id...), 0)
	}
	text := make([]byte, 0, 160)
	if down != 1 {
		text = digits.AppendEncode(append(text, 'a'), b)
	}
	if down == rankBoth {
		text = append(text, ' ')
	}
	if down != 0 {
		for i := from; i < len(b); i++ {
			b[i] = ^b[i]
		}
		text = digits.AppendEncode(append(text, 'd'), b)
	}
	return string(text), nil
}

// floatRank maps numbers to others that are sorted as they are.
func floatRank(v driver.Value) uint64 {
	f, ok := v.(float64)
	if n, whole := v.(int64); whole && !ok {
		f = float64(n)
	}
	if f == 0 {
		f = 0 // there are two zeros
	}
	bits := math.Float64bits(f)
	if bits>>63 != 0 {
		return ^bits
	}
	return bits | 1<<63
}
