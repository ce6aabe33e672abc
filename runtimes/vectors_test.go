package runtimes_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"flint/internal/frame"

	"github.com/google/go-cmp/cmp"
)

// patience bounds every wait of a conversation.
const patience = 30 * time.Second

var typeNames = []string{"", "hello", "load", "ready", "failed", "request", "data", "window", "log", "response", "cancel", "ping", "pong", "drain"}

// vectorLanguage is what a conversation needs to know of a language; see vectors/README.md.
type vectorLanguage struct {
	Key      string
	Versions []struct{ Version string }
	Worker   struct {
		Command     []string
		Exec        string
		Concurrency int
	}
	Toolchain struct{ Executables []string }

	executable string
	code       string // the fixture, built if need be
	entrypoint string
}

type conversation struct {
	Name        string
	Bare        bool              // the steps begin before the hello
	Manual      bool              // windows are given by steps only
	Interpreted bool              // only for languages with an entrypoint
	Concurrency int               // what the language must be able to run at once
	Except      map[string]string // language to reason
	Steps       []step
}

type step struct {
	Send   *sending
	Raw    string // hex
	Expect *expectation
	Close  bool
}

type sending struct {
	Type       string
	ID         uint32
	End        bool
	Hold       bool // goes out with the next step's
	Chop       int  // write in pieces of so many bytes
	Stream     bool // the body follows in data frames, as the windows allow
	Action     string
	Query      string
	Head       map[string]any
	Headers    map[string]any
	Body       content
	Bytes      uint32 // of a window
	Entrypoint string
	Env        map[string]string
}

type expectation struct {
	Type     string
	ID       uint32
	Status   *int
	Headers  map[string]any
	Body     *content
	JSON     any
	Contains []string
	Matches  string
	Logs     *textual
	Errors   *textual
	Bytes    int
}

type textual struct {
	Equals   *content
	Contains []string // in this order
	Matches  string
	Length   int // in bytes
}

// content is a text, or an object with hex, or with repeat, times and then.
type content []byte

func (c *content) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*c = content(text)
		return nil
	}
	var v struct {
		Hex, Repeat, Then string
		Times             int
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	raw, err := hex.DecodeString(v.Hex)
	*c = append(append(raw, strings.Repeat(v.Repeat, v.Times)...), v.Then...)
	return err
}

func TestVectors(t *testing.T) {
	files, err := filepath.Glob("*/runtime.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no languages here: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Dir(file), func(t *testing.T) {
			l := openLanguage(t, file)
			for _, c := range conversations(t) {
				t.Run(c.Name, func(t *testing.T) { c.play(t, l) })
			}
		})
	}
}

func readJSON(t *testing.T, file string, into any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func conversations(t *testing.T) []conversation {
	var all []conversation
	for _, name := range []string{"life", "requests", "bodies", "logs", "actions"} {
		var some []conversation
		readJSON(t, filepath.Join("vectors", name+".json"), &some)
		for _, c := range some {
			c.Name = name + ": " + c.Name
			all = append(all, c)
		}
	}
	return all
}

// openLanguage finds the toolchain and the fixture of a language, and builds the fixture of one that compiles.
func openLanguage(t *testing.T, file string) *vectorLanguage {
	t.Helper()
	l := new(vectorLanguage)
	readJSON(t, file, l)
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	l.executable = os.Getenv("FLINT_TEST_" + strings.ToUpper(strings.ReplaceAll(l.Key, "-", "_")))
	for _, name := range l.Toolchain.Executables {
		for _, v := range slices.Backward(append([]struct{ Version string }{{}}, l.Versions...)) {
			if l.executable == "" && (v.Version != "" || !strings.Contains(name, "{version}")) {
				l.executable, _ = exec.LookPath(strings.ReplaceAll(name, "{version}", v.Version))
			}
		}
	}
	if l.executable == "" {
		t.Skipf("no toolchain of %s on PATH", l.Key)
	}
	fixture := filepath.Join(dir, "fixture")
	for _, pattern := range []string{"main.*", "index.*", "*/main.*", "*/index.*"} {
		if found, _ := filepath.Glob(filepath.Join(fixture, pattern)); l.entrypoint == "" && len(found) > 0 {
			l.entrypoint, _ = filepath.Rel(fixture, found[0])
		}
	}
	if l.entrypoint == "" {
		t.Skipf("%s has no fixture with a main.* or index.* yet", l.Key)
	}
	l.code = fixture
	if l.Worker.Exec != "" {
		l.build(t, dir)
	}
	return l
}

// build runs the language's hooks on a copy of the fixture, as a build does.
func (l *vectorLanguage) build(t *testing.T, dir string) {
	t.Helper()
	work := t.TempDir()
	if err := os.CopyFS(work, os.DirFS(l.code)); err != nil {
		t.Fatal(err)
	}
	home, err := os.UserCacheDir()
	if err != nil {
		home = os.TempDir()
	}
	cache := filepath.Join(home, "flint-vectors", l.Key) // a fresh one would compile the language's library every time
	if err := os.MkdirAll(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	script := "set -e\n"
	for _, hook := range []string{"prepare", "compile", "pack"} {
		file := filepath.Join(dir, "build", hook+".sh")
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		call := map[string]string{"prepare": ". '%s'\n"}[hook]
		if call == "" {
			call = "bash '%s'\n"
		}
		script += fmt.Sprintf(call, file)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "FLINT_EXECUTABLE="+l.executable, "FLINT_ADAPTER="+filepath.Join(dir, "adapter"),
		"FLINT_CACHE="+cache, "OPEN_RUNTIMES_ENTRYPOINT="+l.entrypoint)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build of the fixture: %v\n%s", err, out)
	}
	l.code = work
}

// command is how a worker starts; only a compiled program has the environment of the function from its start.
func (l *vectorLanguage) command(env map[string]string) (args, environ []string) {
	if l.Worker.Exec != "" {
		for k, v := range env {
			environ = append(environ, k+"="+v)
		}
		return []string{filepath.Join(l.code, l.Worker.Exec)}, environ
	}
	adapter, _ := filepath.Abs(filepath.Join(l.Key, "adapter"))
	for _, a := range l.Worker.Command {
		args = append(args, strings.NewReplacer("{executable}", l.executable, "{adapter}", adapter, "{code}", l.code).Replace(a))
	}
	return args, nil
}

// peer is Flint's side of a conversation.
type peer struct {
	t        *testing.T
	l        *vectorLanguage
	conn     *net.UnixConn
	r        *bufio.Reader
	wait     func() error
	output   *bytes.Buffer
	held     []byte
	manual   bool
	calls    map[uint32]*exchange
	control  map[string][][]byte // hello, ready, pong: payloads not expected yet
	inFlight int
	exited   bool
}

// exchange is one request as Flint sees it.
type exchange struct {
	answered, ended bool
	head            struct {
		Status  int
		Headers map[string]any
	}
	body      []byte
	texts     [2][]byte
	window    int // what the adapter may still send
	given     int // what the adapter has given for the request's body
	mySending int // what may still be sent of the request's body
}

func (c conversation) play(t *testing.T, l *vectorLanguage) {
	t.Parallel()
	if why := c.Except[l.Key]; why != "" {
		t.Skipf("%s: %s", l.Key, why)
	}
	if c.Interpreted && l.Worker.Exec != "" {
		t.Skipf("%s has no entrypoint", l.Key)
	}
	if c.Concurrency > 1 && l.Worker.Concurrency < c.Concurrency {
		t.Skipf("%s runs %d at once", l.Key, l.Worker.Concurrency)
	}
	env := map[string]string{}
	for _, s := range c.Steps {
		if s.Send != nil && s.Send.Type == "load" {
			maps.Copy(env, s.Send.Env)
		}
	}
	p := start(t, l, env)
	p.manual = c.Manual
	if !c.Bare {
		p.expect(&expectation{Type: "hello"})
		p.send(&sending{Type: "load"})
		p.expect(&expectation{Type: "ready"})
	}
	for _, s := range c.Steps {
		switch {
		case s.Send != nil:
			p.send(s.Send)
		case s.Raw != "":
			raw, err := hex.DecodeString(s.Raw)
			if err != nil {
				t.Fatal(err)
			}
			p.write(raw, 0)
		case s.Close:
			_ = p.conn.CloseWrite()
		case s.Expect != nil:
			p.expect(s.Expect)
		}
	}
	if !p.exited {
		_ = p.conn.CloseWrite()
		zero := 0
		p.expect(&expectation{Type: "exit", Status: &zero})
	}
}

// start starts a worker and takes its connection.
func start(t *testing.T, l *vectorLanguage, env map[string]string) *peer {
	t.Helper()
	dir, err := os.MkdirTemp("", "vec") // t.TempDir is too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	args, environ := l.command(env)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*patience)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(environ, "PATH="+os.Getenv("PATH"), "HOME="+dir, "FLINT_SOCKET="+filepath.Join(dir, "s"))
	cmd.WaitDelay = time.Second
	p := &peer{t: t, l: l, output: new(bytes.Buffer), calls: map[uint32]*exchange{}, control: map[string][][]byte{}}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	p.wait = cmd.Wait
	t.Cleanup(func() {
		cancel()
		if !p.exited {
			_ = cmd.Wait()
		}
		if t.Failed() && p.output.Len() > 0 {
			t.Logf("the worker printed:\n%s", p.output)
		}
	})
	_ = listener.SetDeadline(time.Now().Add(patience))
	if p.conn, err = listener.AcceptUnix(); err != nil {
		t.Fatalf("the worker did not connect: %v", err)
	}
	t.Cleanup(func() { _ = p.conn.Close() })
	p.r = bufio.NewReader(p.conn)
	return p
}

func (p *peer) write(b []byte, chop int) {
	p.t.Helper()
	b = append(p.held, b...)
	p.held = nil
	if chop == 0 {
		chop = len(b)
	}
	_ = p.conn.SetDeadline(time.Now().Add(patience))
	for piece := range slices.Chunk(b, max(chop, 1)) {
		if _, err := p.conn.Write(piece); err != nil {
			p.t.Fatalf("write: %v", err)
		}
	}
}

func (p *peer) send(s *sending) {
	p.t.Helper()
	var flags uint8
	if s.End && !s.Stream {
		flags = frame.End
	}
	kind := frame.Type(slices.Index(typeNames, s.Type)) //nolint:gosec // a small index
	var out []byte
	switch kind {
	case frame.Load:
		load := map[string]any{"code": p.l.code, "entrypoint": p.l.entrypoint, "env": s.Env}
		if s.Entrypoint != "" {
			load["entrypoint"] = p.fill(s.Entrypoint)
		}
		if p.l.Worker.Exec != "" || s.Env == nil {
			load["env"] = map[string]string{}
		}
		out = frame.Append(nil, kind, 0, 0, encode(p.t, load))
	case frame.Request:
		body := s.Body
		if s.Stream {
			body = nil
		}
		out = frame.AppendWithHead(nil, kind, flags, s.ID, s.head(p.t), body)
		p.calls[s.ID] = &exchange{window: frame.InitialWindow, mySending: frame.InitialWindow - len(body)}
		p.inFlight++
	case frame.Window:
		p.calls[s.ID].window += int(s.Bytes)
		out = frame.Append(nil, kind, 0, s.ID, binary.BigEndian.AppendUint32(nil, s.Bytes))
	case frame.Data:
		p.calls[s.ID].mySending -= len(s.Body)
		fallthrough
	default:
		out = frame.Append(nil, kind, flags, s.ID, s.Body)
	}
	if s.Hold {
		p.held = append(p.held, out...)
		return
	}
	p.write(out, s.Chop)
	if s.Stream {
		p.stream(s)
	}
}

// stream sends a body in pieces, waiting for the windows that the adapter gives.
func (p *peer) stream(s *sending) {
	p.t.Helper()
	x := p.calls[s.ID]
	for body := []byte(s.Body); ; {
		for x.mySending == 0 {
			p.read()
		}
		n := min(len(body), x.mySending, frame.MaxBodyPiece)
		var flags uint8
		if n == len(body) {
			flags = frame.End
		}
		p.write(frame.Append(nil, frame.Data, flags, s.ID, body[:n]), 0)
		x.mySending -= n
		if body = body[n:]; flags == frame.End {
			return
		}
	}
}

func (p *peer) fill(s string) string {
	return strings.ReplaceAll(s, "{ext}", strings.TrimPrefix(filepath.Ext(p.l.entrypoint), "."))
}

// requestHead has the fields in the order of docs/protocol.md.
type requestHead struct {
	Method      string         `json:"method"`
	Scheme      string         `json:"scheme"`
	Host        string         `json:"host"`
	Port        int            `json:"port"`
	Path        string         `json:"path"`
	QueryString string         `json:"queryString"`
	URL         string         `json:"url"`
	Headers     map[string]any `json:"headers"`
	Logging     bool           `json:"logging"`
}

func (s *sending) head(t *testing.T) []byte {
	t.Helper()
	h := requestHead{Method: "GET", Scheme: "https", Host: "a.example", Port: 443, Path: "/", QueryString: s.Query, URL: "https://a.example/", Logging: true}
	if s.Query != "" {
		h.URL += "?" + s.Query
	}
	if err := json.Unmarshal(encode(t, s.Head), &h); err != nil {
		t.Fatal(err)
	}
	h.Headers = map[string]any{"x-action": s.Action}
	maps.Copy(h.Headers, s.Headers)
	return encode(t, h)
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// read takes one frame and holds the adapter to the rules that every frame must follow.
func (p *peer) read() {
	p.t.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	h, payload, err := frame.Read(p.r, nil)
	if err != nil {
		p.t.Fatalf("read: %v", err)
	}
	p.take(h, payload)
}

func (p *peer) take(h frame.Header, payload []byte) {
	p.t.Helper()
	name := typeNames[h.Type]
	x := p.calls[h.ID]
	switch h.Type {
	case frame.Hello, frame.Ready, frame.Pong, frame.Failed:
		p.control[name] = append(p.control[name], payload)
		return
	case frame.Log:
		if h.ID == 0 {
			p.output.Write(payload[1:])
			return
		}
	case frame.Response, frame.Data, frame.Window:
	default:
		p.t.Fatalf("an adapter does not send %s", name)
	}
	if x == nil || x.ended && h.Type != frame.Window {
		p.t.Fatalf("%s for request %d, which is not open", name, h.ID)
	}
	switch h.Type {
	case frame.Log:
		if len(payload) < 1 || payload[0] > 1 {
			p.t.Fatalf("log of stream %v", payload[:min(1, len(payload))])
		}
		x.texts[payload[0]] = append(x.texts[payload[0]], payload[1:]...)
	case frame.Window:
		n := int(binary.BigEndian.Uint32(payload))
		x.given += n
		x.mySending += n
	case frame.Response:
		head, body, err := frame.SplitHead(payload)
		if err == nil {
			err = json.Unmarshal(head, &x.head)
		}
		if err != nil || x.answered {
			p.t.Fatalf("response %s: %v, answered before: %v", payload, err, x.answered)
		}
		x.answered = true
		p.body(h, x, body)
	case frame.Data:
		p.body(h, x, payload)
	}
}

func (p *peer) body(h frame.Header, x *exchange, piece []byte) {
	p.t.Helper()
	x.body = append(x.body, piece...)
	x.window -= len(piece)
	x.ended = h.Flags&frame.End != 0
	if !x.answered || x.window < 0 || len(piece) > frame.MaxBodyPiece {
		p.t.Fatalf("%d bytes of body: answered %v, window after them %d", len(piece), x.answered, x.window)
	}
	if !p.manual && !x.ended && len(piece) > 0 {
		x.window += len(piece)
		p.write(frame.Append(nil, frame.Window, 0, h.ID, binary.BigEndian.AppendUint32(nil, uint32(len(piece)))), 0) //nolint:gosec // a small piece
	}
}

func (p *peer) until(done func() bool) {
	p.t.Helper()
	for !done() {
		p.read()
	}
}

func (p *peer) expect(e *expectation) {
	p.t.Helper()
	x := p.calls[e.ID]
	switch e.Type {
	case "hello", "ready", "pong":
		p.until(func() bool { return len(p.control[e.Type]) > 0 })
		got := p.control[e.Type][0]
		p.control[e.Type] = p.control[e.Type][1:]
		p.checkControl(e, got)
	case "response":
		p.until(func() bool { return x.ended })
		delete(p.calls, e.ID)
		p.checkResponse(e, x)
	case "open": // the request has not been answered yet
		if x == nil || x.answered {
			p.t.Errorf("request %d is answered already", e.ID)
		}
	case "logs":
		p.until(func() bool { return x.ended || inOrder(string(x.texts[0]), e.Contains) })
		if !inOrder(string(x.texts[0]), e.Contains) {
			p.t.Errorf("logs %q, want %q in them", x.texts[0], e.Contains)
		}
	case "window":
		p.until(func() bool { return x.given >= e.Bytes })
		if x.given != e.Bytes {
			p.t.Errorf("%d bytes given back, want %d", x.given, e.Bytes)
		}
	case "body":
		p.until(func() bool { return len(x.body) >= e.Bytes })
		p.send(&sending{Type: "ping", Body: content("still?")})
		p.expect(&expectation{Type: "pong"})
		if len(x.body) != e.Bytes || x.ended {
			p.t.Errorf("%d bytes of body, want %d; ended %v", len(x.body), e.Bytes, x.ended)
		}
	case "exit":
		p.exit(e)
	default:
		p.t.Fatalf("nothing known about expecting %q", e.Type)
	}
}

func (p *peer) checkControl(e *expectation, got []byte) {
	p.t.Helper()
	if e.Type == "pong" {
		if e.Body != nil && string(got) != string(*e.Body) {
			p.t.Errorf("pong %q, want %q", got, *e.Body)
		}
		return
	}
	var v struct {
		Protocol         *int
		Adapter, Version string
		Concurrency      int
	}
	if err := json.Unmarshal(got, &v); err != nil {
		p.t.Fatalf("%s %s: %v", e.Type, got, err)
	}
	if e.Type == "hello" && (v.Protocol == nil || *v.Protocol != 1 || v.Adapter != p.l.Key || v.Version == "") {
		p.t.Errorf("hello %s: want protocol 1, adapter %s and a version", got, p.l.Key)
	}
	if v.Concurrency < 0 {
		p.t.Errorf("ready %s", got)
	}
}

func (p *peer) checkResponse(e *expectation, x *exchange) {
	p.t.Helper()
	t := p.t
	if e.Status != nil && x.head.Status != *e.Status {
		t.Errorf("status %d, want %d; errors: %s", x.head.Status, *e.Status, x.texts[1])
	}
	got := map[string]any{}
	for name, value := range x.head.Headers {
		got[strings.ToLower(name)] = value
	}
	for name, want := range e.Headers {
		if diff := cmp.Diff(want, got[name]); diff != "" {
			t.Errorf("header %s (-want +got):\n%s", name, diff)
		}
	}
	if e.Body != nil && !bytes.Equal(*e.Body, x.body) {
		t.Errorf("body of %d bytes %.200q, want %d bytes %.200q", len(x.body), x.body, len(*e.Body), *e.Body)
	}
	if e.JSON != nil {
		var v any
		if err := json.Unmarshal(x.body, &v); err != nil {
			t.Errorf("body %.200q: %v", x.body, err)
		} else if diff := cmp.Diff(e.JSON, v); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
	}
	p.checkText("body", &textual{Contains: e.Contains, Matches: e.Matches}, x.body)
	p.checkText("logs", e.Logs, x.texts[0])
	p.checkText("errors", e.Errors, x.texts[1])
}

func (p *peer) checkText(what string, want *textual, got []byte) {
	p.t.Helper()
	if want == nil {
		return
	}
	if want.Equals != nil && p.fill(string(*want.Equals)) != string(got) {
		p.t.Errorf("%s %.300q, want %.300q", what, got, *want.Equals)
	}
	if !inOrder(string(got), want.Contains) {
		p.t.Errorf("%s %.300q, want %q in them", what, got, want.Contains)
	}
	if want.Matches != "" && !regexp.MustCompile(want.Matches).Match(got) {
		p.t.Errorf("%s %.300q, want a match of %s", what, got, want.Matches)
	}
	if want.Length != 0 && len(got) != want.Length {
		p.t.Errorf("%s of %d bytes, want %d", what, len(got), want.Length)
	}
}

func inOrder(text string, parts []string) bool {
	for _, part := range parts {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return true
}

// exit waits until the adapter has closed the connection and ended.
func (p *peer) exit(e *expectation) {
	p.t.Helper()
	for {
		_ = p.conn.SetReadDeadline(time.Now().Add(patience))
		h, payload, err := frame.Read(p.r, nil)
		if err == nil {
			p.take(h, payload)
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.t.Fatal("the adapter keeps the connection open")
		}
		break
	}
	p.exited = true
	err := p.wait()
	var failed *exec.ExitError
	status := 0
	if errors.As(err, &failed) {
		status = failed.ExitCode()
	} else if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		p.t.Fatal(err)
	}
	if e.Status != nil && status != *e.Status {
		p.t.Errorf("exit status %d, want %d", status, *e.Status)
	}
}

// TestCodecVectors holds internal/frame to the golden bytes that adapters can be tested with, too.
func TestCodecVectors(t *testing.T) {
	var v struct {
		Frames []struct {
			Name, Type, Hex, Payload, Head, Body string
			Flags                                uint8
			ID                                   uint32
		}
		Malformed []struct{ Name, Hex string }
	}
	readJSON(t, filepath.Join("vectors", "codec.json"), &v)
	for _, f := range v.Frames {
		t.Run(f.Name, func(t *testing.T) {
			raw, err := hex.DecodeString(f.Hex)
			if err != nil {
				t.Fatal(err)
			}
			payload := []byte(f.Payload)
			if digits, ok := strings.CutPrefix(f.Payload, "hex:"); ok {
				payload, _ = hex.DecodeString(digits)
			}
			kind := frame.Type(slices.Index(typeNames, f.Type)) //nolint:gosec // a small index
			encoded := frame.Append(nil, kind, f.Flags, f.ID, payload)
			if f.Head != "" {
				encoded = frame.AppendWithHead(nil, kind, f.Flags, f.ID, []byte(f.Head), []byte(f.Body))
			}
			if !bytes.Equal(encoded, raw) {
				t.Errorf("encoded %x, want %x", encoded, raw)
			}
			h, got, err := frame.Read(bytes.NewReader(raw), nil)
			want := frame.Header{Length: len(raw) - frame.HeaderSize, Type: kind, Flags: f.Flags, ID: f.ID}
			if err != nil || h != want {
				t.Fatalf("Read() = %+v, %v, want %+v", h, err, want)
			}
			if f.Head == "" {
				if !bytes.Equal(got, payload) {
					t.Errorf("payload %q, want %q", got, payload)
				}
				return
			}
			head, body, err := frame.SplitHead(got)
			if err != nil || string(head) != f.Head || string(body) != f.Body {
				t.Errorf("SplitHead() = %q, %q, %v", head, body, err)
			}
		})
	}
	for _, f := range v.Malformed {
		t.Run(f.Name, func(t *testing.T) {
			raw, err := hex.DecodeString(f.Hex)
			if err != nil {
				t.Fatal(err)
			}
			h, payload, err := frame.Read(bytes.NewReader(raw), nil)
			if err == nil && (h.Type == frame.Request || h.Type == frame.Response) {
				_, _, err = frame.SplitHead(payload)
			}
			if !errors.Is(err, frame.ErrMalformed) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("error %v", err)
			}
		})
	}
}
