// Package client speaks to a node about what is its operator's business: projects, keys, and what runs. It goes over a
// socket in the data directory, which only the operator's own user can open, or to a handler in the same process.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// SocketName is the socket in the data directory.
const SocketName = "admin.sock"

// ErrNoNode is of a data directory whose node does not run.
var ErrNoNode = errors.New("no node runs")

// Project is a project.
type Project struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"createdAt"`
}

// Key is an API key. The secret is there only when the key has just been made.
type Key struct {
	ID        string    `json:"id"`
	Project   string    `json:"project"`
	Name      string    `json:"name"`
	Scopes    []string  `json:"scopes"`
	Secret    string    `json:"secret,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	ExpireAt  time.Time `json:"expireAt,omitzero"`
}

// Function is a function.
type Function struct {
	ID           string    `json:"id"`
	Project      string    `json:"project"`
	Name         string    `json:"name"`
	Runtime      string    `json:"runtime"`
	Enabled      bool      `json:"enabled"`
	Schedule     string    `json:"schedule,omitempty"`
	DeploymentID string    `json:"deploymentId,omitempty"` // the active one
	Latest       string    `json:"latestDeploymentStatus,omitempty"`
	Domains      []string  `json:"domains"`
	CreatedAt    time.Time `json:"createdAt"`
}

// Scaling is how a function's workers come and go. In an update what is nil stays as it is.
type Scaling struct {
	MinWarm        *int    `json:"minWarm,omitempty"`
	MaxWorkers     *int    `json:"maxWorkers,omitempty"`     // 0: the node's limit
	CallsPerWorker *int    `json:"callsPerWorker,omitempty"` // 0: the language's limit
	KeepAlive      *string `json:"keepAlive,omitempty"`      // default, learned or a number of seconds
}

// Execution is an execution.
type Execution struct {
	ID           string    `json:"id"`
	Project      string    `json:"project"`
	Function     string    `json:"function"`
	DeploymentID string    `json:"deploymentId"`
	CreatedAt    time.Time `json:"createdAt"`
	Trigger      string    `json:"trigger"`
	Status       string    `json:"status"`
	Method       string    `json:"method"`
	Path         string    `json:"path"`
	StatusCode   int       `json:"statusCode"`
	Duration     float64   `json:"duration"` // seconds
	Logs         string    `json:"logs"`
	Errors       string    `json:"errors"`
	Receipt      *Receipt  `json:"receipt,omitempty"`
}

// Error is what the node refused.
type Error struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// Client speaks to one node.
type Client struct{ http *http.Client }

// requestTime bounds a question, but not what is followed.
const requestTime = 2 * time.Minute

// Dial returns a client of the node that runs on a data directory, or ErrNoNode.
func Dial(ctx context.Context, data string) (*Client, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return dialSocket(ctx, data) }
	conn, err := dial(ctx, "", "")
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNoNode
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("the node on %s belongs to another user: run this as that user", data)
	case err != nil:
		return nil, err
	}
	_ = conn.Close()
	return &Client{http: &http.Client{Transport: &http.Transport{DialContext: dial}}}, nil
}

// dialSocket goes through the open directory: the name of a socket must be short, that of a directory need not.
func dialSocket(ctx context.Context, data string) (net.Conn, error) {
	name := filepath.Join(data, SocketName)
	if len(name) > 100 {
		dir, err := os.Open(data)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		name = fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), SocketName)
	}
	return (&net.Dialer{}).DialContext(ctx, "unix", name)
}

// Local returns a client of a handler in this process.
func Local(h http.Handler) *Client { return &Client{http: &http.Client{Transport: inProcess{h}}} }

type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := &recorder{header: http.Header{}, status: http.StatusOK}
	p.handler.ServeHTTP(w, r)
	return &http.Response{
		StatusCode: w.status, Header: w.header, Body: io.NopCloser(&w.body), Request: r, ContentLength: int64(w.body.Len()),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(status int)      { w.status = status }
func (w *recorder) Write(b []byte) (int, error) { return w.body.Write(b) }

// Close closes the connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) send(ctx context.Context, method, path string, query url.Values, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://node"+path+"?"+query.Encode(), body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		defer resp.Body.Close()
		refused := &Error{}
		if err := json.NewDecoder(resp.Body).Decode(refused); err != nil || refused.Message == "" {
			return nil, fmt.Errorf("the node answered with status %d", resp.StatusCode)
		}
		return nil, refused
	}
	return resp, nil
}

func (c *Client) do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	resp, err := c.send(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// Projects returns all projects.
func (c *Client) Projects(ctx context.Context) (all []Project, err error) {
	return all, c.do(ctx, http.MethodGet, "/projects", nil, nil, &all)
}

// CreateProject makes a project. An empty id is chosen by the node, an empty name is the id.
func (c *Client) CreateProject(ctx context.Context, p Project) (made Project, err error) {
	return made, c.do(ctx, http.MethodPost, "/projects", nil, p, &made)
}

// DeleteProject removes a project with everything in it.
func (c *Client) DeleteProject(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, "/projects/"+url.PathEscape(id), nil, nil, nil)
}

// Keys returns the keys of a project, without their secrets.
func (c *Client) Keys(ctx context.Context, project string) (all []Key, err error) {
	return all, c.do(ctx, http.MethodGet, "/projects/"+url.PathEscape(project)+"/keys", nil, nil, &all)
}

// CreateKey makes a key and returns it with its secret.
func (c *Client) CreateKey(ctx context.Context, k Key) (made Key, err error) {
	return made, c.do(ctx, http.MethodPost, "/projects/"+url.PathEscape(k.Project)+"/keys", nil, k, &made)
}

// DeleteKey removes a key.
func (c *Client) DeleteKey(ctx context.Context, project, id string) error {
	return c.do(ctx, http.MethodDelete, "/projects/"+url.PathEscape(project)+"/keys/"+url.PathEscape(id), nil, nil, nil)
}

// Functions returns the functions of a project.
func (c *Client) Functions(ctx context.Context, project string) (all []Function, err error) {
	return all, c.do(ctx, http.MethodGet, "/projects/"+url.PathEscape(project)+"/functions", nil, nil, &all)
}

func scalingPath(project, function string) string {
	return "/projects/" + url.PathEscape(project) + "/functions/" + url.PathEscape(function) + "/scaling"
}

// Scaling returns how a function's workers come and go.
func (c *Client) Scaling(ctx context.Context, project, function string) (s Scaling, err error) {
	return s, c.do(ctx, http.MethodGet, scalingPath(project, function), nil, nil, &s)
}

// UpdateScaling changes it and returns what it is then.
func (c *Client) UpdateScaling(ctx context.Context, project, function string, change Scaling) (s Scaling, err error) {
	return s, c.do(ctx, http.MethodPatch, scalingPath(project, function), nil, change, &s)
}

func executionQuery(function string, limit int) url.Values {
	return url.Values{"function": {function}, "limit": {strconv.Itoa(limit)}}
}

// Executions returns the newest executions of a function, or of a project when function is empty, oldest first.
func (c *Client) Executions(ctx context.Context, project, function string, limit int) (all []Execution, err error) {
	return all, c.do(ctx, http.MethodGet, "/projects/"+url.PathEscape(project)+"/executions", executionQuery(function, limit), nil, &all)
}

// Follow calls each with the newest executions and then with every one that ends, until ctx ends, the node stops or each
// returns an error. An execution that ends meanwhile may come twice.
func (c *Client) Follow(ctx context.Context, project, function string, limit int, each func(Execution) error) error {
	resp, err := c.send(ctx, http.MethodGet, "/projects/"+url.PathEscape(project)+"/executions/follow", executionQuery(function, limit), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return lines(ctx, resp.Body, func(e Execution) error {
		if e.ID == "" {
			return nil // a sign of life
		}
		return each(e)
	})
}
