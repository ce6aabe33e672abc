package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats-server/v2/server"

	"flint"
	"flint/bus"
	"flint/e2e/node"
)

// natsServer starts a server that nodes share.
func natsServer(t *testing.T) (url string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server did not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s.ClientURL()
}

// TestWebSDK has the unmodified appwrite of npm, the client for browsers, hear of executions. They come over a NATS
// server, as from another node.
func TestWebSDK(t *testing.T) {
	t.Parallel()
	dir := installed(t, "realtime")
	if out, err := exec.CommandContext(t.Context(), "node", "--experimental-websocket", "-e", "new WebSocket('ws://127.0.0.1:1')").CombinedOutput(); err != nil && strings.Contains(string(out), "bad option") {
		t.Skip("this machine's node has no WebSocket")
	}
	url := natsServer(t)
	n := node.Start(t, node.Options{Args: []string{"--nats=" + url}})
	messages, err := bus.Open(t.Context(), bus.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	published := make(chan struct{})
	go func() { // the client does not say when it listens
		defer close(published)
		for seq := time.Now().UnixMicro(); ctx.Err() == nil; seq += 2 {
			events := []*flint.Event{}
			for i, id := range []string{"closed", "open"} {
				payload := fmt.Sprintf(`{"$id":%q,"$permissions":[],"status":"completed"}`, id)
				if id == "open" {
					payload = strings.Replace(payload, "[]", `["read(\"any\")"]`, 1)
				}
				events = append(events, &flint.Event{
					Seq: seq + int64(i), Project: node.Project, Pattern: "functions.[functionId].executions.[executionId].create", IDs: []string{"f", id}, Payload: []byte(payload),
				})
			}
			if err := messages.PublishEvents(ctx, events); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-published
		if err := messages.Close(); err != nil {
			t.Error(err)
		}
	})
	script := filepath.Join(dir, "client.mjs")
	if err := os.WriteFile(script, []byte(read(t, "realtime/client.mjs")), 0o644); err != nil {
		t.Fatal(err)
	}
	env := []string{"FLINT_ENDPOINT=" + n.Base + "/v1", "FLINT_PROJECT=" + node.Project}
	t.Log(run(t, dir, env, "node", "--no-warnings", "--experimental-websocket", script))
}

// TestBuildIsWatched connects with a key and hears of a build while it runs.
func TestBuildIsWatched(t *testing.T) {
	t.Parallel()
	n := shared.get(t)
	language := runtime(t, n, "node")
	socket, _, err := websocket.Dial(t.Context(), strings.Replace(n.Base, "http", "ws", 1)+"/v1/realtime?channels[]=console", &websocket.DialOptions{
		HTTPHeader: http.Header{"X-Appwrite-Project": {node.Project}, "X-Appwrite-Key": {node.Key}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()
	socket.SetReadLimit(16 << 20)
	if err := n.Create(t.Context(), node.Function{ID: "watched", Name: "watched", Runtime: language, Entrypoint: "main.js", Commands: "for i in 1 2 3 4 5 6; do echo step $i; sleep 0.3; done"}); err != nil {
		t.Fatal(err)
	}
	d, err := n.Upload(t.Context(), "watched", "main.js", node.Archive(t, map[string]string{"main.js": "module.exports = async ({ res }) => res.text('x')"}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	last := ""
	for pieces := 0; pieces < 3; {
		_, raw, err := socket.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var m struct {
			Data struct {
				Events  []string
				Payload struct {
					ID        string `json:"$id"`
					Status    string
					BuildLogs string
				}
			}
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		if len(m.Data.Events) == 0 || m.Data.Events[0] != "functions.watched.deployments."+d.ID+".update" {
			continue
		}
		p := m.Data.Payload
		if !strings.HasPrefix(p.BuildLogs, last) || p.ID != d.ID || p.Status != "building" {
			t.Fatalf("after %q came %+v", last, p)
		}
		if p.BuildLogs != last {
			last = p.BuildLogs
			pieces++
		}
	}
	if !strings.Contains(last, "step 1") {
		t.Errorf("log %q", last)
	}
}

// TestTail follows a function by the API and by the command line, and reads a line before its execution has ended.
func TestTail(t *testing.T) {
	t.Parallel()
	n := node.Start(t, node.Options{})
	f := n.Deploy(t, node.Function{ID: "slow", Runtime: runtime(t, n, "node"), Entrypoint: "main.js"}, nil, map[string]string{
		"main.js": "module.exports = async ({ req, res, log, error }) => { log('begun'); error('a warning'); await new Promise(r => setTimeout(r, 1500)); return res.text('x') }",
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.Base+"/v1/flint/tail?functions[]="+f.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Appwrite-Project", node.Project)
	r.Header.Set("X-Appwrite-Key", node.Key)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	binary, err := node.Binary()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), binary, "tail", "--data", n.Data, "--project", node.Project, "--grep", "warning", "-o", "json")
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	told := make(chan string, 1)
	go func() {
		var line string // the last: it may begin to follow in the middle of a call, and then tells of its end first
		for lines := bufio.NewScanner(out); !strings.Contains(line, `"stream":"errors"`) && lines.Scan(); {
			line = lines.Text()
		}
		told <- line
	}()
	calls := make(chan error, 1)
	go func() { // the command does not say when it follows
		for t.Context().Err() == nil {
			if _, err := n.Execute(t.Context(), f.ID, node.Call{}); err != nil {
				calls <- err
				return
			}
			select {
			case line := <-told:
				if !strings.Contains(line, `"stream":"errors","text":"a warning\n"`) {
					err = fmt.Errorf("flint tail says %s", line)
				}
				calls <- err
				return
			default:
			}
		}
	}()
	var got []string
	for lines := bufio.NewScanner(resp.Body); len(got) < 3 && lines.Scan(); {
		line := lines.Text()
		switch {
		case strings.Contains(line, `"text":"begun\n"`):
			got = append(got, "log")
		case strings.Contains(line, `"text":"a warning\n"`):
			got = append(got, "error")
		case strings.Contains(line, `"status":"completed"`):
			got = append(got, "end")
		}
	}
	if want := "log error end"; strings.Join(got, " ") != want {
		t.Errorf("followed %v, want %s", got, want)
	}
	if err := <-calls; err != nil {
		t.Error(err)
	}
}
