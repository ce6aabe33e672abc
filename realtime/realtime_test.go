package realtime_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"flint"
	"flint/auth"
	"flint/bus"
	"flint/realtime"
	"flint/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bed is a hub on a real store and a real bus, behind a real server.
type bed struct {
	*store.Store
	bus  *bus.Bus
	hub  *realtime.Hub
	url  string
	seq  atomic.Int64
	stop func()
}

func setup(t *testing.T, change func(*realtime.Config)) *bed {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "flint.db"), Secret: bytes.Repeat([]byte{1}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := bus.Open(t.Context(), bus.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		s.CreateProject(t.Context(), &flint.Project{ID: "p", Name: "P"}),
		s.CreateProject(t.Context(), &flint.Project{ID: "other", Name: "O"}),
		s.CreateKey(t.Context(), &flint.Key{ID: "k", Project: "p", Secret: "standard_all", Scopes: flint.Scopes()}),
		s.CreateKey(t.Context(), &flint.Key{ID: "n", Project: "p", Secret: "standard_none"}),
		s.CreateFunction(t.Context(), &flint.Function{Project: "p", ID: "f", Name: "F", Runtime: "node-22"}, nil),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	a := auth.New(auth.Config{Project: s.Project, Key: s.KeyBySecret, Signer: auth.NewSigner(make([]byte, 32)), MaxAge: time.Nanosecond})
	c := realtime.Config{Store: s, Bus: messages, Auth: a, Logger: slog.New(slog.DiscardHandler), Hosts: []string{"flint.test"}}
	if change != nil {
		change(&c)
	}
	hub := realtime.New(c)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(ctx) }()
	server := httptest.NewUnstartedServer(hub)
	server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if err := c.(*net.TCPConn).SetWriteBuffer(4 << 10); err != nil { // what is not read fills the queue soon
			t.Error(err)
		}
		return ctx
	}
	server.Start()
	b := &bed{Store: s, bus: messages, hub: hub, url: "ws" + strings.TrimPrefix(server.URL, "http")}
	b.seq.Store(time.Now().UnixMicro())
	stopped := false
	b.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(func() {
		b.stop()
		server.Close()
		if err := errors.Join(messages.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return b
}

// publish puts an event on the bus as the outbox does.
func (b *bed) publish(t *testing.T, pattern string, payload any, ids ...string) {
	t.Helper()
	e := &flint.Event{Seq: b.seq.Add(1), Project: "p", Pattern: pattern, IDs: ids}
	if payload != nil {
		var err error
		if e.Payload, err = json.Marshal(payload); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.bus.PublishEvents(t.Context(), []*flint.Event{e}); err != nil {
		t.Fatal(err)
	}
}

const (
	executionCreate = "functions.[functionId].executions.[executionId].create"
	variableCreate  = "variables.[variableId].create"
)

type message struct {
	Type string
	Data struct {
		Code          int
		Message       string
		Events        []string
		Channels      []string
		Timestamp     string
		Payload       map[string]any
		Subscriptions json.RawMessage
		To            string
		Success       bool
		User          any
	}
}

func (m *message) subscriptions(t *testing.T) []string {
	t.Helper()
	var ids []string
	if err := json.Unmarshal(m.Data.Subscriptions, &ids); err != nil {
		t.Fatal(err)
	}
	return ids
}

type client struct{ *websocket.Conn }

func (b *bed) dial(t *testing.T, query string, headers ...string) *client {
	t.Helper()
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	conn, _, err := websocket.Dial(t.Context(), b.url+"/v1/realtime?"+query, &websocket.DialOptions{HTTPHeader: h})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(16 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &client{conn}
}

func (c *client) next(t *testing.T) message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var m message
	_, raw, err := c.Read(ctx)
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (c *client) send(t *testing.T, text string) {
	t.Helper()
	if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// open connects and takes the greeting.
func (b *bed) open(t *testing.T, query string, headers ...string) *client {
	t.Helper()
	c := b.dial(t, query, headers...)
	if m := c.next(t); m.Type != "connected" {
		t.Fatalf("greeted by %+v", m)
	}
	return c
}

func asKey(secret string) []string {
	return []string{"X-Appwrite-Project", "p", "X-Appwrite-Key", secret}
}

// TestEventsAreFollowedWhileSomebodyListens has clients come and go: whoever is greeted hears of what comes from then on.
func TestEventsAreFollowedWhileSomebodyListens(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for _, id := range []string{"first", "again"} {
		if b.hub.Following() {
			t.Error("events are followed for nobody")
		}
		b.publish(t, variableCreate, map[string]any{"$id": "before"}, "before")
		c := b.open(t, "channels[]=console", asKey("standard_all")...)
		b.publish(t, variableCreate, map[string]any{"$id": id}, id)
		if m := c.next(t); m.Data.Payload["$id"] != id {
			t.Errorf("heard %+v, want %s", m, id)
		}
		_ = c.CloseNow() // it has gone, whatever its close says
		for begin := time.Now(); b.hub.Following(); runtime.Gosched() {
			if time.Since(begin) > 20*time.Second {
				t.Fatal("events are still followed")
			}
		}
	}
}

func TestExecutionsAreForThoseWhoMayReadThem(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for _, e := range []*flint.Execution{
		{Project: "p", Function: "f", ID: "open", Status: flint.ExecutionCompleted, Logs: "said", Errors: "wrong", Permissions: []string{`read("any")`}, StatusCode: 200},
		{Project: "p", Function: "f", ID: "hers", Status: flint.ExecutionCompleted, Logs: "said", Permissions: []string{`read("user:a")`}},
		{Project: "p", Function: "f", ID: "keys", Status: flint.ExecutionCompleted, Logs: "said"},
	} {
		if err := b.AppendExecution(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	guest := b.open(t, "project=p&channels[]=executions&channels[]=executions.keys&channels[]=console&channels[]=functions.f.create")
	stranger := b.open(t, "project=other&channels[]=executions")
	key := b.open(t, "channels[]=executions", asKey("standard_all")...)
	inURL := b.open(t, "project=p&key=standard_all&channels[]=executions.keys.create")
	none := b.open(t, "channels[]=executions&channels[]=console", asKey("standard_none")...)
	for _, id := range []string{"keys", "hers", "open"} {
		b.publish(t, executionCreate, nil, "f", id)
	}
	m := guest.next(t)
	if m.Type != "event" || m.Data.Payload["$id"] != "open" || m.Data.Payload["logs"] != "" || m.Data.Payload["errors"] != "" || m.Data.Payload["responseStatusCode"] != 200.0 {
		t.Errorf("a guest heard %+v", m)
	}
	want := []string{
		"console", "projects.p", "executions", "executions.open", "functions.f", "executions.create", "executions.open.create", "functions.f.create",
	}
	if diff := cmp.Diff(want, m.Data.Channels); diff != "" {
		t.Errorf("channels (-want +got):\n%s", diff)
	}
	if m.Data.Events[0] != "functions.f.executions.open.create" || !slices.Contains(m.Data.Events, "functions.*.executions.*.create") || m.Data.Timestamp == "" {
		t.Errorf("%+v", m.Data)
	}
	for _, want := range []string{"keys", "hers", "open"} {
		if m := key.next(t); m.Data.Payload["$id"] != want || m.Data.Payload["logs"] != "said" {
			t.Errorf("a key heard %+v, want %s", m, want)
		}
	}
	if m := inURL.next(t); m.Data.Payload["$id"] != "keys" {
		t.Errorf("a key in the URL heard %+v", m)
	}
	for name, c := range map[string]*client{"another project": stranger, "a key without scopes": none} {
		c.send(t, `{"type":"ping"}`)
		if m := c.next(t); m.Type != "pong" { // and nothing before it
			t.Errorf("%s heard %+v", name, m)
		}
	}
}

func TestWhatOnlyServersHear(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	guest := b.open(t, "project=p&channels[]=console&channels[]=projects.p")
	key := b.open(t, "channels[]=projects.p", asKey("standard_all")...)
	b.publish(t, variableCreate, map[string]any{"$id": "v1"}, "v1")
	b.publish(t, "rules.[ruleId].update", map[string]any{"$id": "r1"}, "r1")
	b.publish(t, executionCreate, nil, "f", "gone")
	for _, want := range []string{"v1", "r1", "gone"} {
		if m := key.next(t); m.Data.Payload["$id"] != want {
			t.Errorf("a key heard %+v, want %s", m, want)
		}
	}
	guest.send(t, `{"type":"ping"}`)
	if m := guest.next(t); m.Type != "pong" {
		t.Errorf("a guest heard %+v", m)
	}
}

func TestBuildLogsGrow(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	ctx := t.Context()
	if err := b.CreateDeployment(ctx, &flint.Deployment{Project: "p", ID: "d", Function: "f", Runtime: "node-22", Status: flint.DeploymentWaiting, SourceDigest: "x"}); err != nil {
		t.Fatal(err)
	}
	d, attempt, err := b.ClaimBuild(ctx, "node", time.Minute)
	if err != nil || d == nil {
		t.Fatal(d, err)
	}
	key := b.open(t, "channels[]=console", asKey("standard_all")...)
	want := ""
	for i := range 3 {
		piece := fmt.Sprintf("line %d\n", i)
		if err := b.AppendBuildLog(ctx, "d", attempt, piece); err != nil {
			t.Fatal(err)
		}
		want += piece
		b.bus.PublishLive(&flint.Event{Project: "p", Pattern: "functions.[functionId].deployments.[deploymentId].update", IDs: []string{"f", "d"}})
		m := key.next(t)
		if m.Data.Payload["buildLogs"] != want || m.Data.Payload["status"] != "building" || m.Data.Events[0] != "functions.f.deployments.d.update" {
			t.Errorf("heard %+v, want %q", m, want)
		}
	}
}

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	query := url.Values{
		"project": {"p"}, "channels[]": {"executions", "executions.e2", "account", "account.u1"},
		"executions[0][]":    {`{"method":"equal","attribute":"status","values":["failed"]}`},
		"executions[2][]":    {`{"method":"greaterThan","attribute":"duration","values":[1]}`, `{"method":"equal","attribute":"status","values":["completed"]}`},
		"executions_e2[1][]": {`{"method":"select","values":["*"]}`},
	}
	c := b.dial(t, query.Encode())
	m := c.next(t)
	var slots map[string]string
	if err := json.Unmarshal(m.Data.Subscriptions, &slots); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"executions", "executions.e2", "account"}, m.Data.Channels); diff != "" || len(slots) != 3 || m.Data.User != nil {
		t.Errorf("greeting %+v, slots %v", m, slots)
	}
	c.send(t, `{"type":"subscribe","data":[{"subscriptionId":"mine","channels":["functions.f"]},{"channels":["executions.e9"],"queries":[]}]}`)
	m = c.next(t)
	var made []struct {
		SubscriptionID string
		Channels       []string
		Queries        []string
	}
	if err := json.Unmarshal(m.Data.Subscriptions, &made); err != nil || m.Type != "response" || m.Data.To != "subscribe" || !m.Data.Success ||
		len(made) != 2 || made[0].SubscriptionID != "mine" || made[1].SubscriptionID == "" || made[1].Queries == nil {
		t.Fatalf("subscribed: %+v %v", m, err)
	}
	payload := func(id, status string, duration float64) map[string]any {
		return map[string]any{"$id": id, "status": status, "duration": duration, "$permissions": []string{`read("guests")`}}
	}
	for _, x := range []struct {
		payload map[string]any
		want    []string
	}{
		{payload("e1", "failed", 0), []string{slots["0"], "mine"}},
		{payload("e2", "completed", 0.5), []string{slots["1"], "mine"}},
		{payload("e3", "completed", 1.5), []string{slots["2"], "mine"}},
		{payload("e4", "processing", 1.5), []string{"mine"}},
	} {
		b.publish(t, "functions.[functionId].executions.[executionId].update", x.payload, "f", x.payload["$id"].(string))
		m := c.next(t)
		slices.Sort(x.want)
		if diff := cmp.Diff(x.want, m.subscriptions(t)); diff != "" || m.Data.Payload["$id"] != x.payload["$id"] {
			t.Errorf("%v: %+v\n%s", x.payload, m, diff)
		}
	}
	c.send(t, `{"type":"unsubscribe","data":[{"subscriptionId":"mine"},{"subscriptionId":"none"}]}`)
	m = c.next(t)
	if got := string(m.Data.Subscriptions); m.Data.To != "unsubscribe" || got != `[{"subscriptionId":"mine","removed":true},{"subscriptionId":"none","removed":false}]` {
		t.Errorf("unsubscribed: %+v %s", m, got)
	}
	b.publish(t, executionCreate, payload("e5", "processing", 1), "f", "e5") // nobody's
	b.publish(t, executionCreate, payload("e6", "failed", 1), "f", "e6")
	if m := c.next(t); m.Data.Payload["$id"] != "e6" {
		t.Errorf("after unsubscribing: %+v", m)
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *realtime.Config) { c.Unlimited = true })
	c := b.open(t, "project=p")
	long := strings.Repeat("x", 300)
	for text, want := range map[string]string{
		`{"type":"ping"}`:  "",
		`{`:                "Message format is not valid.",
		`[]`:               "Message format is not valid.",
		`{"type":"shout"}`: "Message type is not valid.",
		`{"type":"authentication","data":{"session":"x"}}`:                                         "Session is not valid.",
		`{"type":"subscribe"}`:                                                                     "Payload is not valid.",
		`{"type":"subscribe","data":[]}`:                                                           "Payload is not valid.",
		`{"type":"unsubscribe","data":{}}`:                                                         "Payload is not valid.",
		`{"type":"subscribe","data":[{"channels":[""]}]}`:                                          "The name of a channel has 1 to 256 characters.",
		`{"type":"subscribe","data":[{"channels":["` + long + `"]}]}`:                              "The name of a channel has 1 to 256 characters.",
		`{"type":"subscribe","data":[{"subscriptionId":"` + long + `"}]}`:                          "A subscriptionId has at most 256 characters.",
		`{"type":"subscribe","data":[{"channels":["a"],"queries":["{"]}]}`:                         "Invalid query: Syntax error",
		`{"type":"subscribe","data":[{"channels":["a"],"queries":["{}"]}]}`:                        "Invalid query method: ",
		`{"type":"subscribe","data":[{` + `"channels":["a` + strings.Repeat(`","a`, 100) + `"]}]}`: "A subscription takes at most 100 channels.",
	} {
		c.send(t, text)
		m := c.next(t)
		if want == "" && m.Type != "pong" || want != "" && (m.Type != "error" || m.Data.Code != 1003 || m.Data.Message != want) {
			t.Errorf("%s: %+v, want %q", text, m, want)
		}
	}
	if err := c.Write(t.Context(), websocket.MessageBinary, []byte(`{"type":"ping"}`)); err != nil {
		t.Fatal(err)
	}
	if m := c.next(t); m.Data.Code != 1003 {
		t.Errorf("a binary message: %+v", m)
	}
}

// refused reads an error and the close that follows.
func (c *client) refused(t *testing.T, code int, says string) {
	t.Helper()
	m := c.next(t)
	if m.Type != "error" || m.Data.Code != code || !strings.Contains(m.Data.Message, says) {
		t.Errorf("refused with %+v, want %d %q", m, code, says)
	}
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusCode(code) {
		t.Errorf("closed with %v, want %d", err, code)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for name, x := range map[string]struct {
		query   string
		headers []string
		says    string
	}{
		"no project":             {"channels[]=executions", nil, "project"},
		"an unknown project":     {"project=nope", nil, "could not be found"},
		"a key of another":       {"project=other&key=standard_all", nil, "project"},
		"an unknown key":         {"project=p&key=standard_x", nil, "not authorized"},
		"a bad token":            {"project=p&jwt=x", nil, "JWT"},
		"a page of another host": {"project=p", []string{"Origin", "https://evil.test"}, "Origin"},
		"no origin at all":       {"project=p", []string{"Origin", "null"}, "Origin"},
		"a query that is none":   {"project=p&channels[]=a&a[0][]=x", nil, "Syntax"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b.dial(t, x.query, x.headers...).refused(t, 1008, x.says)
		})
	}
	for _, origin := range []string{"http://localhost:3000", "https://Flint.test", b.url} {
		b.open(t, "project=p", "Origin", origin)
	}
	b.open(t, "project=console&channels[]=console", "Origin", "https://evil.test")
	resp, err := http.Get("http" + strings.TrimPrefix(b.url, "ws") + "/v1/realtime?project=p")
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("without a WebSocket: %d", resp.StatusCode)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *realtime.Config) { c.Max = 3 })
	c := b.open(t, "project=p")
	for range 64 { // in two windows at most
		c.send(t, `{"type":"ping"}`)
	}
	pongs, many := 0, false
	for range 64 {
		switch m := c.next(t); {
		case m.Type == "pong":
			pongs++
		case m.Type == "error" && m.Data.Code == 1013:
			many = true
		}
	}
	if pongs < 32 || pongs > 64 || !many && pongs != 64 {
		t.Errorf("%d answers, told of the limit: %v", pongs, many)
	}
	b.open(t, "project=p")
	b.open(t, "project=p")
	_, resp, err := websocket.Dial(t.Context(), b.url+"/v1/realtime?project=p", nil)
	if err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one connection too many: %v", err)
	}
}

func TestConnectsOfOneAddress(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for range 300 { // in two windows at most
		c := b.dial(t, "project=p")
		m := c.next(t)
		_ = c.CloseNow()
		if m.Type == "error" && m.Data.Code == 1013 {
			return
		}
	}
	t.Error("nobody was refused")
}

func TestASlowClientIsClosedAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *realtime.Config) { c.SendTime = time.Minute })
	small := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err == nil {
			err = c.(*net.TCPConn).SetReadBuffer(4 << 10)
		}
		return c, err
	}}}
	t.Cleanup(small.CloseIdleConnections)
	slow, _, err := websocket.Dial(t.Context(), b.url+"/v1/realtime?project=p&key=standard_all&channels[]=console", &websocket.DialOptions{HTTPClient: small})
	if err != nil {
		t.Fatal(err)
	}
	slow.SetReadLimit(16 << 20)
	quick := b.open(t, "channels[]=console", asKey("standard_all")...)
	text := strings.Repeat("x", 512<<10)
	for i := range 14 { // more than the kernel and the queue take
		b.publish(t, variableCreate, map[string]any{"$id": fmt.Sprint(i), "value": text}, "v")
		if m := quick.next(t); m.Data.Payload["$id"] != fmt.Sprint(i) {
			t.Fatalf("the quick one heard %v, want %d", m.Data.Payload["$id"], i)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	heard, last := 0, ""
	for {
		_, raw, err := slow.Read(ctx)
		if err != nil {
			if websocket.CloseStatus(err) != websocket.StatusTryAgainLater {
				t.Errorf("the slow one was closed with %v", err)
			}
			break
		}
		heard, last = heard+1, string(raw[:min(len(raw), 100)])
	}
	if heard > 14 || !strings.Contains(last, `"code":1013`) {
		t.Errorf("the slow one heard %d, at the end %s", heard, last)
	}
}

func TestADeletedKeyIsSentAway(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *realtime.Config) { c.PingEvery = 10 * time.Millisecond })
	c := b.open(t, "channels[]=console", asKey("standard_all")...)
	if err := b.DeleteKey(t.Context(), "p", "k"); err != nil {
		t.Fatal(err)
	}
	c.refused(t, 1008, "not authorized")
}

func TestAStopClosesConnections(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	c := b.open(t, "project=p&channels[]=executions")
	closed := make(chan error, 1)
	go func() {
		_, _, err := c.Read(t.Context())
		closed <- err
	}()
	b.stop()
	if err := <-closed; websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("closed with %v", err)
	}
}
