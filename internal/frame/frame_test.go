package frame_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"flint/internal/frame"
)

// FuzzRead reads what a worker may send: whole frames as they were written, and errors of two kinds.
func FuzzRead(f *testing.F) {
	f.Add(frame.AppendWithHead(nil, frame.Response, frame.End, 1, []byte(`{"status":200}`), []byte("body")))
	f.Add(frame.Append(frame.Append(nil, frame.Log, 0, 0, []byte("\x00text")), frame.Ping, 0, 0, nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := bytes.NewReader(raw)
		var again, buf []byte
		for {
			h, payload, err := frame.Read(r, buf)
			if err != nil {
				if !errors.Is(err, frame.ErrMalformed) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("Read() = %v", err)
				}
				break
			}
			again = frame.Append(again, h.Type, h.Flags, h.ID, payload)
			if head, body, err := frame.SplitHead(payload); err == nil && len(head)+len(body)+4 != len(payload) {
				t.Errorf("a payload of %d bytes has a head of %d and a body of %d", len(payload), len(head), len(body))
			}
			buf = payload
		}
		if !bytes.HasPrefix(raw, again) {
			t.Errorf("%x was read as %x", raw, again)
		}
	})
}
