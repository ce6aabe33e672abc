package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	domain       = "functions.localhost"
	startTime    = 2 * time.Minute
	buildTime    = 10 * time.Minute
	callTimeout  = 30 // seconds: the longest that a caller can wait
	expectedLog  = "a greeting for GET"
	expectedBody = `{"message":"Hello from a function","ok":true}`
)

// node is a running Flint, set up as a user would: from outside, over its API.
type node struct {
	process *process
	addr    string
	metrics string
	key     string
	client  *http.Client
}

// startNode starts Flint with the data directory in dir, with defaults for all but some settings.
func startNode(ctx context.Context, program, dir string, settings ...string) (*node, error) {
	n := &node{client: &http.Client{Timeout: time.Minute}}
	var err error
	if n.addr, err = freePort(ctx); err != nil {
		return nil, err
	}
	if n.metrics, err = freePort(ctx); err != nil {
		return nil, err
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails since Go 1.24
	n.key = "standard_" + hex.EncodeToString(secret)
	cmd := exec.Command(program, "serve", "--addr", n.addr, "--metrics-addr", n.metrics, "--data", filepath.Join(dir, "data")) //nolint:noctx // ended by stop, in good order
	for _, variable := range cmd.Environ() {
		if !strings.HasPrefix(variable, "FLINT_") && !strings.HasPrefix(variable, "_APP_") { // the defaults are measured
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "FLINT_BOOTSTRAP_PROJECT=bench", "FLINT_BOOTSTRAP_KEY="+n.key, "FLINT_FUNCTIONS_DOMAIN="+domain)
	cmd.Env = append(cmd.Env, settings...)
	if n.process, err = start(ctx, dir, "flint", cmd); err != nil {
		return nil, err
	}
	err = n.process.await(ctx, startTime, func(ctx context.Context) error { return n.rest(ctx, http.MethodGet, "/v1/health/version", nil, nil) })
	if err != nil {
		n.process.stop()
		return nil, err
	}
	return n, nil
}

// rest calls the API. in and out are JSON, or nil.
func (n *node) rest(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	return n.send(ctx, method, path, "application/json", body, out)
}

func (n *node) send(ctx context.Context, method, path, contentType string, body io.Reader, out any) error {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+n.addr+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("X-Appwrite-Project", "bench")
	r.Header.Set("X-Appwrite-Key", n.key)
	if body != nil {
		r.Header.Set("Content-Type", contentType)
	}
	res, err := n.client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %.500s", method, path, res.Status, b)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

func functionID(language string) string { return "bench-" + language }

// deploy creates the function of a language, waits until it is built and checks what it answers.
func (n *node) deploy(ctx context.Context, language string, t toolchain) error {
	if err := n.upload(ctx, functionID(language), language, t); err != nil {
		return err
	}
	return n.check(ctx, language)
}

// upload creates a function from a folder of testdata and waits until it is built.
func (n *node) upload(ctx context.Context, id, source string, t toolchain) error {
	functions := "/v1/functions"
	err := n.rest(ctx, http.MethodPost, functions, map[string]any{
		"functionId": id, "name": "Bench " + source, "runtime": t.Runtime, "execute": []string{"any"},
		"entrypoint": t.entrypoint, "logging": true, "timeout": callTimeout,
	}, nil)
	if err != nil {
		return err
	}
	form, contentType, err := upload(source)
	if err != nil {
		return err
	}
	deployments := functions + "/" + id + "/deployments"
	var d struct {
		ID     string `json:"$id"`
		Status string `json:"status"`
		Log    string `json:"buildLogs"`
	}
	if err := n.send(ctx, http.MethodPost, deployments, contentType, form, &d); err != nil {
		return err
	}
	err = n.process.await(ctx, buildTime, func(ctx context.Context) error {
		if err := n.rest(ctx, http.MethodGet, deployments+"/"+d.ID, nil, &d); err != nil {
			return err
		}
		if d.Status == "ready" || d.Status == "failed" {
			return nil
		}
		return fmt.Errorf("the deployment is %s", d.Status)
	})
	if err != nil {
		return err
	}
	if d.Status != "ready" {
		return fmt.Errorf("the deployment of %s is %s:\n%s", id, d.Status, d.Log)
	}
	return nil
}

// check makes one call and looks at its record: a fast answer that left none would be worth nothing.
func (n *node) check(ctx context.Context, language string) error {
	body, err := once(ctx, n.endpoint(language), "/")
	if err != nil {
		return fmt.Errorf("%s: %w", language, err)
	}
	if string(body) != expectedBody {
		return fmt.Errorf("%s answers %.200q instead of %q", language, body, expectedBody)
	}
	var list struct {
		Executions []struct {
			Status string `json:"status"`
			Logs   string `json:"logs"`
		} `json:"executions"`
	}
	if err := n.rest(ctx, http.MethodGet, "/v1/functions/"+functionID(language)+"/executions", nil, &list); err != nil {
		return err
	}
	if len(list.Executions) == 0 || list.Executions[0].Status != "completed" || !strings.Contains(list.Executions[0].Logs, expectedLog) {
		return fmt.Errorf("the record of a call of %s is missing or has no logs: %+v", language, list.Executions)
	}
	return nil
}

func (n *node) endpoint(language string) endpoint {
	return endpoint{Addr: n.addr, Host: functionID(language) + "." + domain, Body: []byte(expectedBody), PID: n.process.cmd.Process.Pid}
}

// once makes one call on a connection of its own.
func once(ctx context.Context, e endpoint, path string) ([]byte, error) {
	c, err := dial(ctx, e, path)
	if err != nil {
		return nil, err
	}
	defer c.c.Close()
	if err := c.c.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		return nil, err
	}
	return c.call()
}

// counter reads a number without labels from the node's metrics.
func (n *node) counter(ctx context.Context, name string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.metrics+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	res, err := n.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return int(f), err
		}
	}
	return 0, errors.New("there is no metric " + name)
}
