package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"flint"
)

// executionRecord is the row of an execution, and what it belongs to.
type executionRecord struct {
	project, function string
	common            commonColumns

	id               string
	created, updated int64 // in milliseconds, as all times
	duration         float64
	headers          string
	logs, receipt    string
}

// commonColumns are those that the calls of a function mostly agree in.
type commonColumns struct {
	deployment, trigger, status, method, path string
	code, scheduled                           int64
	permissions, errors                       string
}

func (r *executionRecord) span() spanKey {
	return spanKey{r.project, r.function, r.common.deployment}
}

func newRecord(e *flint.Execution) executionRecord {
	stamp(&e.CreatedAt, &e.UpdatedAt)
	return executionRecord{
		project: string(e.Project), function: string(e.Function),
		common: commonColumns{
			deployment: string(e.Deployment), trigger: string(e.Trigger), status: string(e.Status), method: e.RequestMethod, path: e.RequestPath,
			code: int64(e.StatusCode), scheduled: millis(e.ScheduledAt), permissions: lines(e.Permissions), errors: e.Errors,
		},
		id: string(e.ID), created: e.CreatedAt.UnixMilli(), updated: e.UpdatedAt.UnixMilli(), duration: e.Duration,
		headers: encodeHeaders(e.RequestHeaders, e.ResponseHeaders), logs: e.Logs, receipt: encodeReceipt(e.Receipt),
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

func encodeRecord(b []byte, r *executionRecord) []byte {
	b, c := append(b, recordFormat, recordColumns), &r.common
	b = appendText(b, r.project)
	b = appendText(b, r.function)
	b = appendWhole(b, r.created) // as what the deletion of a namesake is compared with
	b = appendText(b, r.id)
	b = appendWhole(b, r.created)
	b = appendWhole(b, r.updated)
	for _, text := range [...]string{c.deployment, c.trigger, c.status, c.method, c.path} {
		b = appendText(b, text)
	}
	b = appendWhole(b, c.code)
	b = binary.LittleEndian.AppendUint64(append(b, kindFloat), math.Float64bits(r.duration))
	b = appendWhole(b, c.scheduled)
	for _, text := range [...]string{c.permissions, r.headers, r.logs, c.errors, r.receipt} {
		b = appendText(b, text)
	}
	return b
}

func appendText(b []byte, text string) []byte {
	b = binary.AppendUvarint(append(b, kindText), uint64(len(text)))
	return append(b, text...)
}

func appendWhole(b []byte, n int64) []byte { return binary.AppendVarint(append(b, kindWhole), n) }

func decodeRecord(b []byte) (r executionRecord, err error) {
	former := len(b) >= 2 && b[0] == formerFormat && b[1] == formerColumns
	if !former && (len(b) < 2 || b[0] != recordFormat || b[1] != recordColumns) {
		return r, fmt.Errorf("%w that this version knows", errRecord)
	}
	d, c := columns{rest: b[2:]}, &r.common
	r.project, r.function = d.text(), d.text()
	d.whole()
	r.id, r.created, r.updated = d.text(), d.whole(), d.whole()
	c.deployment, c.trigger, c.status, c.method, c.path = d.text(), d.text(), d.text(), d.text(), d.text()
	c.code, r.duration, c.scheduled = d.whole(), d.float(), d.whole()
	c.permissions, r.headers, r.logs, c.errors = d.text(), d.text(), d.text(), d.text()
	if !former {
		r.receipt = d.text()
	}
	if d.bad || len(d.rest) > 0 {
		return executionRecord{}, errRecord
	}
	return r, nil
}

// columns reads the values of a record. After one that is not there it returns zero values.
type columns struct {
	rest []byte
	bad  bool
}

// value takes the kind of the next value and leaves its bytes.
func (d *columns) value(kind byte) []byte {
	if len(d.rest) == 0 || d.rest[0] != kind {
		d.fail()
		return nil
	}
	return d.rest[1:]
}

func (d *columns) fail() { d.rest, d.bad = nil, true }

func (d *columns) text() string {
	b := d.value(kindText)
	size, k := binary.Uvarint(b)
	if k <= 0 || size > uint64(len(b)-k) {
		d.fail()
		return ""
	}
	end := k + int(size) // at most len(b)
	d.rest = b[end:]
	return string(b[k:end])
}

func (d *columns) whole() int64 {
	b := d.value(kindWhole)
	n, k := binary.Varint(b)
	if k <= 0 {
		d.fail()
		return 0
	}
	d.rest = b[k:]
	return n
}

func (d *columns) float() float64 {
	b := d.value(kindFloat)
	if len(b) < 8 {
		d.fail()
		return 0
	}
	d.rest = b[8:]
	return math.Float64frombits(binary.LittleEndian.Uint64(b))
}
