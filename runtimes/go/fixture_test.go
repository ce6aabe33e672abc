package golang_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint/internal/frame"
)

// build compiles a source directory and returns the work directory, the build's log and whether it worked.
func build(t *testing.T, source string) (work, log string, ok bool) {
	t.Helper()
	toolchain, err := exec.LookPath("go")
	if err != nil {
		t.Skip("go is not on the path")
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	host, err := exec.CommandContext(t.Context(), toolchain, "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	if err := os.Symlink(strings.TrimSpace(string(host)), filepath.Join(cache, "go-build")); err != nil {
		t.Fatal(err) // the host's cache saves compiling the standard library
	}
	work = t.TempDir()
	if err := os.CopyFS(work, os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", filepath.Join(here, "build", "compile.sh"))
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "FLINT_EXECUTABLE="+toolchain, "FLINT_ADAPTER="+filepath.Join(here, "adapter"),
		"FLINT_CACHE="+cache, "FLINT_SEED=", "GOPROXY=off")
	out, err := cmd.CombinedOutput()
	return work, string(out), err == nil
}

// worker is a running program and Flint's side of its connection.
type worker struct {
	t      *testing.T
	cmd    *exec.Cmd
	conn   net.Conn
	stderr bytes.Buffer
	hello  time.Duration // from exec
}

func start(t *testing.T, program string, env ...string) *worker {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	w := &worker{t: t, cmd: exec.CommandContext(t.Context(), program)}
	w.cmd.Env = append(env, "FLINT_SOCKET="+path)
	w.cmd.Stderr = &w.stderr
	begun := time.Now()
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := begun.Add(20 * time.Second)
	if err := listener.(*net.UnixListener).SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	if w.conn, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	if err := w.conn.SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.conn.Close()
		_ = w.cmd.Wait()
	})
	if h, _ := w.read(); h.Type != frame.Hello {
		t.Fatalf("first frame is %+v", h)
	}
	w.hello = time.Since(begun)
	w.write(frame.Append(nil, frame.Load, 0, 0, []byte(`{"code":"","entrypoint":"","env":{}}`)))
	if h, _ := w.read(); h.Type != frame.Ready {
		t.Fatalf("second frame is %+v", h)
	}
	return w
}

func (w *worker) read() (frame.Header, []byte) {
	w.t.Helper()
	h, payload, err := frame.Read(w.conn, nil)
	if err != nil {
		w.t.Fatalf("read: %v; standard error: %s", err, &w.stderr)
	}
	return h, payload
}

func (w *worker) write(b []byte) {
	w.t.Helper()
	if _, err := w.conn.Write(b); err != nil {
		w.t.Fatal(err)
	}
}

type result struct {
	Status       int
	Headers      map[string]any
	Body         string
	Logs, Errors string
}

func (w *worker) send(id uint32, action, query, body string, headers map[string]string) {
	w.t.Helper()
	all := map[string]string{"x-action": action}
	maps.Copy(all, headers)
	head, err := json.Marshal(map[string]any{
		"method": "POST", "scheme": "https", "host": "a.example", "port": 443, "path": "/a%20b", "queryString": query,
		"url": "https://a.example/a%20b?" + query, "headers": all, "logging": true,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(frame.AppendWithHead(nil, frame.Request, frame.End, id, head, []byte(body)))
}

// result gathers the answer of one request, and gives the window back.
func (w *worker) result(id uint32) result {
	w.t.Helper()
	var r result
	for {
		h, payload := w.read()
		if h.ID != id {
			w.t.Fatalf("frame %+v, want one of request %d: %s", h, id, payload)
		}
		switch h.Type {
		case frame.Log:
			if payload[0] == 0 {
				r.Logs += string(payload[1:])
			} else {
				r.Errors += string(payload[1:])
			}
			continue
		case frame.Response:
			head, body, err := frame.SplitHead(payload)
			if err == nil {
				err = json.Unmarshal(head, &r)
			}
			if err != nil {
				w.t.Fatal(err)
			}
			payload = body
		case frame.Data:
		default:
			w.t.Fatalf("frame %+v", h)
		}
		r.Body += string(payload)
		if h.Flags&frame.End != 0 {
			return r
		}
		size := len(payload)
		w.write(frame.Append(nil, frame.Window, 0, id, []byte{byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}))
	}
}

func (w *worker) exitCode() int {
	w.t.Helper()
	var exit *exec.ExitError
	if err := w.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	return w.cmd.ProcessState.ExitCode()
}

const notice = "Native logs detected. Use context.Log() or context.Error() for better experience.\n"

func TestFixture(t *testing.T) {
	work, log, ok := build(t, "fixture")
	if !ok {
		t.Fatal(log)
	}
	program := filepath.Join(work, "server")
	w := start(t, program, "CUSTOM_ENV_VAR=value")
	t.Logf("exec to hello: %v", w.hello)

	none, jsonType := map[string]any{}, map[string]any{"content-type": "application/json"}
	asJSON := map[string]string{"content-type": "application/json"}
	tests := []struct {
		action, query, body string
		headers             map[string]string
		want                result
	}{
		{action: "", want: result{200, none, "Hello World 👋", "", ""}},
		{action: "jsonResponse", want: result{200, jsonType, `{"json":true,"message":"Developers are awesome."}`, "", ""}},
		{action: "redirectResponse", want: result{301, map[string]any{"location": "https://github.com/"}, "", "", ""}},
		{action: "emptyResponse", want: result{204, none, "", "", ""}},
		{action: "noResponse", want: result{200, none, "", "", ""}},
		{action: "doubleResponse", want: result{200, none, "This should be returned.", "", ""}},
		{action: "statusResponse", want: result{404, none, "FAIL", "", ""}},
		{action: "binaryResponse", want: result{200, none, "\x00\n\xff", "", ""}},
		{action: "sendResponse", want: result{201, none, "sent", "", ""}},
		{
			action: "setCookie",
			want:   result{200, map[string]any{"set-cookie": []any{"cookie=value; path=/", "cookie2=value2; path=/"}}, "OK", "", ""},
		},
		{
			action: "requestUrl", query: "a=b+c&a=d",
			want: result{200, jsonType, `{"host":"a.example","path":"/a b","port":443,"query":{"a":"b c"},"queryString":"a=b+c\u0026a=d",` +
				`"scheme":"https","url":"https://a.example/a%20b?a=b+c\u0026a=d"}`, "", ""},
		},
		{action: "requestBodyText", body: "ü", want: result{200, none, "ü", "", ""}},
		{action: "requestBodyJson", body: `{}`, want: result{200, jsonType, `{}`, "", ""}},
		{action: "requestBodyJson", body: `{`, want: result{500, none, "", "", "could not parse body into a JSON\n"}},
		{action: "requestBodyAuto", body: `{"key1":"v"}`, headers: asJSON, want: result{200, jsonType, `{"key1":"v"}`, "", ""}},
		{action: "requestBodyAuto", body: `{"key1":"v"}`, want: result{200, none, `string:{"key1":"v"}`, "", ""}},
		{action: "bodyLength", body: strings.Repeat("x", 100_000), want: result{200, none, "100000", "", ""}},
		{action: "envVars", want: result{200, jsonType, `{"emptyVar":null,"var":"value"}`, "", ""}},
		{
			action: "logs",
			want: result{200, none, "", "Debug log\n42\n4.2\ntrue\nmap[string]string{\"objectKey\":\"objectValue\"}\n" +
				"[]string{\"arrayValue\"}\nmulti args\n", "Error log\n"},
		},
		{action: "nativeLogs", want: result{200, none, "OK", notice + "Native log\n", ""}},
		{
			action: "longLog",
			want:   result{200, none, "OK", strings.Repeat("a", 8000) + "... Log truncated due to size limit (8000 characters)\n", ""},
		},
		{
			action: "millionLog",
			want:   result{200, none, "OK", strings.Repeat(strings.Repeat("x", 999)+"\n", 1001) + "the last line\n", ""},
		},
		{action: "exception", want: result{500, none, "", "", "Error!\n"}},
		{action: "counter", want: result{200, none, "1", "", ""}},
		{action: "counter", want: result{200, none, "2", "", ""}},
		{action: "pid", want: result{200, none, strconv.Itoa(w.cmd.Process.Pid), "", ""}},
		{action: "largeResponse", query: "bytes=5000000", want: result{200, none, strings.Repeat("z", 5_000_000), "", ""}},
		{action: "statusResponse", query: "a;b", want: result{500, none, "", "", "Could not parse url params.\n"}},
	}
	for i, test := range tests {
		t.Run(test.action, func(t *testing.T) {
			id := uint32(i + 1) // a small number
			w.send(id, test.action, test.query, test.body, test.headers)
			if diff := cmp.Diff(test.want, w.result(id)); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}

	t.Run("cancel answers while the function spins", func(t *testing.T) {
		w := start(t, program)
		w.send(1, "spin", "", "", nil)
		w.write(frame.Append(nil, frame.Cancel, 0, 1, nil))
		w.result(1)
		w.send(2, "", "", "", nil)
		if got := w.result(2); got.Status != 200 {
			t.Errorf("next result is %+v", got)
		}
	})
	t.Run("crash", func(t *testing.T) {
		w := start(t, program)
		w.send(1, "crash", "", "", nil)
		if code := w.exitCode(); code != 7 {
			t.Errorf("exit code %d, want 7", code)
		}
	})
	t.Run("drain", func(t *testing.T) {
		w := start(t, program)
		w.send(1, "sleep", "ms=50", "", nil)
		w.write(frame.Append(nil, frame.Drain, 0, 0, nil))
		if got := w.result(1); got.Body != "slept" {
			t.Errorf("result is %+v", got)
		}
		if code := w.exitCode(); code != 0 {
			t.Errorf("exit code %d: %s", code, &w.stderr)
		}
	})
	t.Run("closed connection", func(t *testing.T) {
		w := start(t, program)
		w.send(1, "spin", "", "", nil)
		_ = w.conn.Close()
		if code := w.exitCode(); code != 0 {
			t.Errorf("exit code %d: %s", code, &w.stderr)
		}
	})
	t.Run("protocol error", func(t *testing.T) {
		w := start(t, program)
		w.write(bytes.Repeat([]byte{0xff}, 10))
		if code := w.exitCode(); code != 1 || !strings.Contains(w.stderr.String(), "protocol error") {
			t.Errorf("exit code %d: %s", code, &w.stderr)
		}
	})
	t.Run("by hand", func(t *testing.T) {
		out, err := exec.CommandContext(t.Context(), program).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "FLINT_SOCKET is not set") {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// printing prints through loggers of every kind, then past what a pipe holds, then crashes on another goroutine.
const printing = `package handler

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"strings"

	"github.com/open-runtimes/types-for-go/v4/openruntimes"
)

var early = log.New(os.Stdout, "early ", 0)

func Main(c openruntimes.Context) openruntimes.Response {
	switch c.Req.Headers["x-action"] {
	case "both":
		early.Print("logger")
		fmt.Println("printed")
		log.SetFlags(0)
		log.Print("package log")
		fmt.Fprint(os.Stderr, "no newline")
	case "child":
		cmd := exec.Command("echo", "child")
		cmd.Stdout = os.Stdout
		if err := cmd.Run(); err != nil {
			c.Error(err.Error())
		}
	case "much":
		fmt.Print(strings.Repeat("m", 500_000))
	case "socket":
		return c.Res.Text("[" + os.Getenv("FLINT_SOCKET") + "]")
	case "crash":
		go panic("on another goroutine")
		select {}
	}
	return c.Res.Empty()
}
`

func TestNativeOutput(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module openruntimes/handler\n\ngo 1.23\n", "main.go": printing} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	work, log, ok := build(t, dir)
	if !ok {
		t.Fatal(log)
	}
	w := start(t, filepath.Join(work, "server"), "PATH="+os.Getenv("PATH"))
	none := map[string]any{}
	tests := map[string]result{
		"child":   {204, none, "", notice + "child\n", ""},
		"much":    {204, none, "", notice + strings.Repeat("m", 500_000), ""},
		"nothing": {204, none, "", "", ""},
		"socket":  {200, none, "[]", "", ""},
	}
	for action, want := range tests {
		t.Run(action, func(t *testing.T) {
			w.send(1, action, "", "", nil)
			if diff := cmp.Diff(want, w.result(1)); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("both", func(t *testing.T) {
		w.send(1, "both", "", "", nil)
		got := w.result(1)
		// The streams are two pipes, so either may be read first, and the first has the notice.
		text := func(s string) string { return strings.TrimPrefix(s, notice) }
		if text(got.Logs) != "early logger\nprinted\n" || !strings.HasSuffix(text(got.Errors), "package log\nno newline") ||
			strings.HasPrefix(got.Logs, notice) == strings.HasPrefix(got.Errors, notice) {
			t.Errorf("result is %+v", got)
		}
	})
	t.Run("a crash is told on the real standard error", func(t *testing.T) {
		w.send(1, "crash", "", "", nil)
		if code := w.exitCode(); code != 2 || !strings.Contains(w.stderr.String(), "panic: on another goroutine") {
			t.Errorf("exit code %d: %s", code, &w.stderr)
		}
	})
}

func TestBuildMessages(t *testing.T) {
	const (
		module = "module openruntimes/handler\n\ngo 1.23\n"
		source = "package handler\n\nimport \"github.com/open-runtimes/types-for-go/v4/openruntimes\"\n\n" +
			"func Main(c openruntimes.Context) openruntimes.Response { return c.Res.Empty() }\n"
		types = "github.com/open-runtimes/types-for-go/v4 v4.0.3"
	)
	tests := []struct {
		name  string
		files map[string]string
		want  string // in the log; empty: the build works
	}{
		{"no requirement", map[string]string{"go.mod": module, "main.go": source}, ""},
		{
			"old requirement with a checksum of the published module",
			map[string]string{
				"go.mod": module + "require " + types + "\n", "main.go": source,
				"go.sum": types + " h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
			},
			"",
		},
		{
			"packages below",
			map[string]string{
				"go.mod": module, "main.go": strings.Replace(source, "import ", "import _ \"openruntimes/handler/lib\"\nimport ", 1),
				"lib/lib.go": "package lib\n", "cli/main.go": "package main\n\nfunc main() {}\n",
			},
			"",
		},
		{"no go.mod", map[string]string{"main.go": source}, "There is no go.mod"},
		{"other module", map[string]string{"go.mod": "module example.com/x\n", "main.go": source}, "called 'example.com/x'"},
		{"no source", map[string]string{"go.mod": module}, "There is no Go file"},
		{"a program", map[string]string{"go.mod": module, "main.go": "package main\n\nfunc main() {}\n"}, "not with 'package main'"},
		{"no Main", map[string]string{"go.mod": module, "main.go": "package handler\n"}, "has no Main"},
		{
			"another Main",
			map[string]string{"go.mod": module, "main.go": "package handler\n\nfunc Main() {}\n"},
			"Main must be 'func Main(Context openruntimes.Context) openruntimes.Response'",
		},
		{"a mistake", map[string]string{"go.mod": module, "main.go": source + "var x int = \"\"\n"}, "the messages above say where.\n"},
		{"a folder in the way", map[string]string{"go.mod": module, "main.go": source, "server/x": ""}, "'server'"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range test.files {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			_, log, ok := build(t, dir)
			if ok != (test.want == "") || !strings.Contains(log, test.want) {
				t.Errorf("ok is %v, log is:\n%s\nwant %q", ok, log, test.want)
			}
		})
	}
}
