package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// answer is one HTTP response. Its body is valid until the next one is read.
type answer struct {
	status int
	body   []byte
}

var errMalformed = errors.New("malformed HTTP response")

// maxBody bounds what is read; the answers that are measured are small.
const maxBody = 1 << 20

// readAnswer reads one response to a GET from a connection that is kept open. It does what the measured servers need and
// no more, so that the generator takes little of the machine.
func readAnswer(r *bufio.Reader, buf []byte) (answer, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return answer{}, err
	}
	if len(line) < len("HTTP/1.1 200\r\n") || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return answer{}, fmt.Errorf("%w: it begins with %q", errMalformed, line)
	}
	a := answer{body: buf[:0]}
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return a, fmt.Errorf("%w: status %q", errMalformed, line)
	}
	length, chunked := -1, false
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return a, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			return a, fmt.Errorf("%w: header %q", errMalformed, line)
		}
		value := bytes.TrimSpace(line[colon+1:])
		switch {
		case is(line[:colon], "content-length"):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 || length > maxBody {
				return a, fmt.Errorf("%w: content-length %q", errMalformed, value)
			}
		case is(line[:colon], "transfer-encoding"):
			chunked = is(value, "chunked")
		}
	}
	switch {
	case chunked:
		a.body, err = readChunks(r, a.body)
	case length >= 0:
		a.body, err = appendBody(r, a.body, length)
	default:
		err = fmt.Errorf("%w: the length of the body is missing", errMalformed)
	}
	return a, err
}

// is compares a header's name or value, in whatever case it came, with lower-case text.
func is(got []byte, want string) bool {
	if len(got) != len(want) {
		return false
	}
	for i, c := range got {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != want[i] {
			return false
		}
	}
	return true
}

func appendBody(r *bufio.Reader, body []byte, n int) ([]byte, error) {
	if len(body)+n > maxBody {
		return body, fmt.Errorf("%w: the body is longer than %d bytes", errMalformed, maxBody)
	}
	start := len(body)
	if cap(body) < start+n {
		body = append(make([]byte, 0, 2*(start+n)), body...)
	}
	body = body[:start+n]
	_, err := io.ReadFull(r, body[start:])
	return body, err
}

func readChunks(r *bufio.Reader, body []byte) ([]byte, error) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return body, err
		}
		size, _, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(";"))
		n, err := strconv.ParseUint(string(size), 16, 31)
		if err != nil {
			return body, fmt.Errorf("%w: chunk %q", errMalformed, line)
		}
		if body, err = appendBody(r, body, int(n)); err != nil {
			return body, err
		}
		if line, err = r.ReadSlice('\n'); err != nil {
			return body, err
		}
		if len(bytes.TrimRight(line, "\r\n")) != 0 {
			return body, fmt.Errorf("%w: %q after a chunk", errMalformed, line)
		}
		if n == 0 {
			return body, nil // none of the servers sends trailers
		}
	}
}
