package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"flint"
)

// Download is an answer that is a file, of which the client may ask for a part. The frame closes it.
type Download struct {
	Content io.ReadSeekCloser
	Size    int64
	Type    string // Content-Type
	Name    string // under which it is saved
}

const (
	openRange   = 10 << 20 // bytes that a range without an end gives at most
	sendPiece   = 1 << 20
	sendTime    = time.Minute // for a client to take sendPiece bytes
	downloadAge = 3_888_000   // seconds for which a client may keep it: what a digest names never changes
)

// send answers with a file or a part of it.
func (x *exchange) send(d *Download) (err error) {
	defer func() { err = errors.Join(err, d.Content.Close()) }()
	h := x.w.Header()
	start, end, status := int64(0), d.Size, http.StatusOK
	if header := x.r.Header.Get("Range"); header != "" {
		if start, end, err = parseRange(header, d.Size); err != nil {
			return err
		}
		status = http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, d.Size))
	}
	if _, err := d.Content.Seek(start, io.SeekStart); err != nil {
		return fmt.Errorf("download: %w", err)
	}
	h.Set("Content-Type", d.Type)
	h.Set("Content-Disposition", `attachment; filename="`+strings.NewReplacer(`"`, "", `\`, "").Replace(d.Name)+`"`)
	h.Set("Cache-Control", fmt.Sprintf("private, max-age=%d", downloadAge))
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", strconv.FormatInt(end-start, 10))
	x.status = status
	x.w.WriteHeader(status)
	if x.r.Method == http.MethodHead {
		return nil
	}
	connection := http.NewResponseController(x.w)
	defer func() { _ = connection.SetWriteDeadline(time.Time{}) }() // not every writer has deadlines
	for left := end - start; left > 0 && x.err == nil; {
		_ = connection.SetWriteDeadline(time.Now().Add(sendTime))
		var n int64
		n, x.err = io.CopyN(x.w, d.Content, min(left, sendPiece))
		left -= n
		x.bytes += int(n)
	}
	if x.err != nil {
		panic(http.ErrAbortHandler) // the client must see that it did not get all
	}
	return nil
}

// parseRange reads a Range header for one range of a file: its first byte and the one after its last.
func parseRange(header string, size int64) (start, end int64, err error) {
	spec, isBytes := strings.CutPrefix(header, "bytes=")
	from, to, found := strings.Cut(strings.TrimSpace(spec), "-")
	if !isBytes || !found {
		return 0, 0, flint.ErrInvalidRange
	}
	if from == "" { // the last bytes
		n, ok := place(to)
		if !ok || n == 0 || size == 0 {
			return 0, 0, flint.ErrInvalidRange
		}
		return max(size-n, 0), size, nil
	}
	start, ok := place(from)
	if !ok || start >= size {
		return 0, 0, flint.ErrInvalidRange
	}
	if to == "" {
		return start, min(start+openRange, size), nil
	}
	last, ok := place(to)
	if !ok || last < start || last >= size {
		return 0, 0, flint.ErrInvalidRange
	}
	return start, last + 1, nil
}

// place reads a number of bytes without a sign.
func place(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 62)
	return int64(n), err == nil // 62 bits fit
}
