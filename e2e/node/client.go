package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Client talks to a node. It is safe for concurrent use.
type Client struct {
	Base    string // http://host:port
	Project string
	Key     string // empty: a guest
	http    *http.Client
}

// NewClient returns a client with the key of the bootstrap project.
func NewClient(addr string) *Client {
	return &Client{
		Base: "http://" + addr, Project: Project, Key: Key,
		http: &http.Client{
			Transport:     &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true, ResponseHeaderTimeout: 2 * time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// As returns a client with another key; an empty one makes a guest.
func (c *Client) As(key string) *Client {
	other := *c
	other.Key = key
	return &other
}

// CloseIdle closes the connections that nobody uses.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

// Error is an error that the API answered.
type Error struct {
	Status  int    `json:"code"`
	Type    string `json:"type"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Type, e.Message) }

// Do makes a call of the API: in is sent as JSON unless nil, an answer is read into out unless nil. An error status is
// an *Error.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) (status int, err error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(b)
	}
	return c.Send(ctx, method, path, "application/json", body, out)
}

// Send is Do with a body of any type.
func (c *Client) Send(ctx context.Context, method, path, contentType string, body io.Reader, out any) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, method, c.Base+path, body)
	if err != nil {
		return 0, err
	}
	if body != nil {
		r.Header.Set("Content-Type", contentType)
	}
	r.Header.Set("X-Appwrite-Project", c.Project)
	if c.Key != "" {
		r.Header.Set("X-Appwrite-Key", c.Key)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, err
	}
	if resp.StatusCode >= 400 {
		failed := &Error{}
		if json.Unmarshal(b, failed) != nil || failed.Type == "" {
			return resp.StatusCode, fmt.Errorf("%s %s: status %d with a body that is no error of the API: %.200q", method, path, resp.StatusCode, b)
		}
		if failed.Status != resp.StatusCode {
			return resp.StatusCode, fmt.Errorf("%s %s: status %d with code %d", method, path, resp.StatusCode, failed.Status)
		}
		return resp.StatusCode, failed
	}
	if out == nil || len(b) == 0 {
		return resp.StatusCode, nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return resp.StatusCode, fmt.Errorf("%s %s: %w: %.200q", method, path, err, b)
	}
	return resp.StatusCode, nil
}

// Request is a call of a function on its domain.
type Request struct {
	Host    string // name of the domain, with a port when the function is to see one
	Method  string // [GET]
	Path    string // with the query string, as it goes over the wire [/]
	Headers map[string]string
	Body    io.Reader
	Length  int64 // of Body; 0: what net/http finds out
}

// Response is what a domain answered.
type Response struct {
	Status  int
	Headers http.Header
	Body    []byte
}

// ExecutionID names the execution that the answer came from.
func (r *Response) ExecutionID() string { return r.Headers.Get("X-Appwrite-Execution-Id") }

// Visit makes a call on a domain.
func (c *Client) Visit(ctx context.Context, q Request) (*Response, error) {
	if q.Method == "" {
		q.Method = http.MethodGet
	}
	r, err := http.NewRequestWithContext(ctx, q.Method, c.Base, q.Body)
	if err != nil {
		return nil, err
	}
	if q.Path != "" {
		r.URL.Opaque, _, _ = strings.Cut(q.Path, "?")
		_, r.URL.RawQuery, _ = strings.Cut(q.Path, "?")
	}
	r.Host = q.Host
	if q.Length != 0 {
		r.ContentLength = q.Length
	}
	for name, value := range q.Headers {
		r.Header.Set(name, value)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("status %d, but the body ended early: %w", resp.StatusCode, err)
	}
	return &Response{resp.StatusCode, resp.Header, body}, nil
}
