package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// peer is one server of the warm table. A new one is one more row in peers: how it is opened, and what it is held
// against.
type peer struct {
	Name   string
	What   string
	Beside string // the peer whose numbers its own are divided by
	Ends   bool   // measured with the smallest and the largest number of connections only
	Open   func(context.Context, *bed) (endpoint, error)
}

func peers() []peer {
	return []peer{
		{Name: "flint-node", What: "function in Node.js, record and logs kept", Beside: "node-http", Open: function("node")},
		{Name: "node-http", What: "bare node:http", Open: nodeHTTP},
		{Name: "framework", What: "Google's Functions Framework for Node.js", Beside: "node-http", Ends: true, Open: framework},
		{Name: "workerd", What: "Cloudflare's workerd", Beside: "node-http", Ends: true, Open: workerd},
		{Name: "flint-python", What: "function in Python, record and logs kept", Beside: "uvicorn", Ends: true, Open: function("python")},
		{Name: "uvicorn", What: "uvicorn with uvloop and httptools", Beside: "node-http", Ends: true, Open: uvicorn},
		{Name: "flint-go", What: "function in Go, record and logs kept", Beside: "go-http", Ends: true, Open: function("go")},
		{Name: "go-http", What: "bare Go net/http", Open: goHTTP},
	}
}

// at reports whether the peer is measured with the i-th of some numbers of connections.
func (p peer) at(i int, connections []int) bool {
	return !p.Ends || i == 0 || i == len(connections)-1
}

// function opens the function of a language in Flint.
func function(language string) func(context.Context, *bed) (endpoint, error) {
	return func(ctx context.Context, b *bed) (endpoint, error) {
		n, err := b.function(ctx, language)
		if err != nil {
			return endpoint{}, err
		}
		return n.endpoint(language), nil
	}
}

// goHTTP is this program again, as a server: a process of its own, like every other peer.
func goHTTP(ctx context.Context, b *bed) (endpoint, error) {
	self, err := os.Executable()
	if err != nil {
		return endpoint{}, err
	}
	return b.serve(ctx, "go-http", self, func(addr string) []string { return []string{serveCommand, addr} })
}

// serve starts a server on loopback and waits for its first right answer.
func (b *bed) serve(ctx context.Context, name, program string, args func(addr string) []string) (endpoint, error) {
	return b.launch(ctx, name, program, args, func(ctx context.Context, e endpoint) error {
		body, err := once(ctx, e, "/")
		if err == nil && string(body) != expectedBody {
			err = fmt.Errorf("%s answers %.200q", name, body)
		}
		return err
	})
}

// launch starts a server on loopback and waits until ready has no complaint.
func (b *bed) launch(ctx context.Context, name, program string, args func(addr string) []string, ready func(context.Context, endpoint) error) (endpoint, error) {
	addr, err := freePort(ctx)
	if err != nil {
		return endpoint{}, err
	}
	cmd := exec.Command(program, args(addr)...) //nolint:noctx // ended by stop, in good order
	cmd.Env = bareEnviron(cmd.Environ())
	p, err := start(ctx, b.dir, name, cmd)
	if err != nil {
		return endpoint{}, err
	}
	b.processes = append(b.processes, p)
	e := endpoint{Addr: addr, Host: addr, Body: []byte(expectedBody), PID: p.cmd.Process.Pid}
	return e, p.await(ctx, startTime, func(ctx context.Context) error { return ready(ctx, e) })
}

// bareEnviron leaves a server what it needs to run. Variables of this machine, such as more certificates for Node.js, would
// make it larger and slower than the sandboxed workers, which do not have them.
func bareEnviron(variables []string) []string {
	return slices.DeleteFunc(variables, func(v string) bool {
		return !strings.HasPrefix(v, "PATH=") && !strings.HasPrefix(v, "HOME=")
	})
}

// serveCommand makes this program the bare Go server.
const serveCommand = "serve-bare"

func serveBare(ctx context.Context, addr string) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	type greeting struct {
		Message string `json:"message"`
		OK      bool   `json:"ok"`
	}
	server := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		body, err := json.Marshal(greeting{"Hello from a function", true})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write(body) // who has gone has gone
	})}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}
