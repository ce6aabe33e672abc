package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"flint"
)

// executionRecord is the row of an execution: the arguments of insertExecution.
type executionRecord []any

func (r executionRecord) text(i int) string { s, _ := r[i].(string); return s }

func (r executionRecord) id() string { return r.text(3) }

func (r executionRecord) span() (k spanKey, at int64) {
	at, _ = r[4].(int64)
	return spanKey{r.text(0), r.text(1), r.text(6)}, at
}

func newRecord(e *flint.Execution) executionRecord {
	stamp(&e.CreatedAt, &e.UpdatedAt)
	return executionRecord{
		string(e.Project), string(e.Function), e.CreatedAt.UnixMilli(), string(e.ID), e.CreatedAt.UnixMilli(), e.UpdatedAt.UnixMilli(), string(e.Deployment),
		string(e.Trigger), string(e.Status), e.RequestMethod, e.RequestPath, int64(e.StatusCode), e.Duration, millis(e.ScheduledAt),
		lines(e.Permissions), encodeHeaders(e.RequestHeaders, e.ResponseHeaders), e.Logs, e.Errors, encodeReceipt(e.Receipt),
	}
}

// The form of a record in the journal: recordFormat, the number of columns, and for each its kind and value. A change of
// the columns is another format. A journal is read by the version that follows the one that was killed: it has to read
// the format of the version before.
const (
	recordFormat  = 2
	recordColumns = 19

	formerFormat  = 1 // without a receipt
	formerColumns = 18

	kindText  = 's' // length, bytes
	kindWhole = 'i'
	kindFloat = 'f'
)

var errRecord = errors.New("an entry is not the record of an execution")

func encodeRecord(b []byte, r executionRecord) []byte {
	b = append(b, recordFormat, byte(len(r)))
	for _, value := range r {
		switch v := value.(type) {
		case string:
			b = binary.AppendUvarint(append(b, kindText), uint64(len(v)))
			b = append(b, v...)
		case int64:
			b = binary.AppendVarint(append(b, kindWhole), v)
		case float64:
			b = binary.LittleEndian.AppendUint64(append(b, kindFloat), math.Float64bits(v))
		}
	}
	return b
}

func decodeRecord(b []byte) (executionRecord, error) {
	former := len(b) >= 2 && b[0] == formerFormat && b[1] == formerColumns
	if !former && (len(b) < 2 || b[0] != recordFormat || b[1] != recordColumns) {
		return nil, fmt.Errorf("%w that this version knows", errRecord)
	}
	columns := int(b[1])
	b = b[2:]
	r := make(executionRecord, 0, recordColumns)
	for range columns {
		if len(b) == 0 {
			return nil, errRecord
		}
		kind := b[0]
		b = b[1:]
		var n int
		switch kind {
		case kindText:
			size, k := binary.Uvarint(b)
			if k <= 0 || size > uint64(len(b)-k) {
				return nil, errRecord
			}
			n = k + int(size)
			r = append(r, string(b[k:n]))
		case kindWhole:
			v, k := binary.Varint(b)
			if k <= 0 {
				return nil, errRecord
			}
			n = k
			r = append(r, v)
		case kindFloat:
			if n = 8; len(b) < n {
				return nil, errRecord
			}
			r = append(r, math.Float64frombits(binary.LittleEndian.Uint64(b)))
		default:
			return nil, errRecord
		}
		b = b[n:]
	}
	if len(b) > 0 {
		return nil, errRecord
	}
	if former {
		r = append(r, "")
	}
	return r, nil
}
