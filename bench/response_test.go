package main

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReadAnswer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		status   int
		body     string
		err      error
	}{
		{"a body of stated length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", nil},
		{"names in lower case", "HTTP/1.1 200 OK\r\ndate: x\r\ncontent-length: 2\r\n\r\nok", 200, "ok", nil},
		{"no reason phrase", "HTTP/1.1 204 \r\nContent-Length: 0\r\n\r\n", 204, "", nil},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", 200, "hello", nil},
		{"an error", "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", 503, "busy", nil},
		{"no length", "HTTP/1.1 200 OK\r\n\r\n", 200, "", errMalformed},
		{"not HTTP", "SSH-2.0-OpenSSH_9.2 Debian\r\n", 0, "", errMalformed},
		{"a chunk of no length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 200, "", errMalformed},
		{"a body that is too long", "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", 200, "", errMalformed},
		{"cut off", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", 200, "", io.ErrUnexpectedEOF},
		{"nothing", "", 0, "", io.EOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := readAnswer(bufio.NewReader(strings.NewReader(tt.in)), nil)
			if !errors.Is(err, tt.err) {
				t.Fatalf("readAnswer() = %v, want %v", err, tt.err)
			}
			if err == nil && (got.status != tt.status || string(got.body) != tt.body) {
				t.Errorf("readAnswer() = %d %q, want %d %q", got.status, got.body, tt.status, tt.body)
			}
		})
	}
}

func TestReadAnswerLeavesTheNextOne(t *testing.T) {
	t.Parallel()
	r := bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"))
	var buf []byte
	for _, want := range []string{"a", "b"} {
		got, err := readAnswer(r, buf)
		if err != nil || string(got.body) != want {
			t.Fatalf("readAnswer() = %q, %v, want %q", got.body, err, want)
		}
		buf = got.body
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	f.Add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\n\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		a, err := readAnswer(bufio.NewReader(strings.NewReader(in)), nil)
		if err == nil && len(a.body) > len(in) {
			t.Errorf("%d bytes of body out of %d", len(a.body), len(in))
		}
	})
}
