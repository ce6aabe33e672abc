package api_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"flint"
	"flint/api"
	"flint/api/apitest"
	"flint/auth"
	"flint/internal/forwarded"
)

type thing struct {
	ID string `json:"$id"`
}

type echoIn struct {
	api.Request
	ID     string     `param:"id" rule:"text 1 40"`
	Text   string     `param:"text" default:"none" rule:"text 0 5"`
	Number int        `param:"number" default:"7" rule:"range 1 9"`
	Any    int        `param:"any"`
	Strict bool       `param:"strict" default:"true"`
	Loose  bool       `param:"loose" rule:"loose"`
	List   []string   `param:"list" rule:"enum a b" max:"2"`
	Object api.Object `param:"object"`
	Maybe  *string    `param:"maybe"`
}

type echoOut struct {
	ID     string     `json:"id"`
	Text   string     `json:"text"`
	Number int        `json:"number"`
	Any    int        `json:"any"`
	Strict bool       `json:"strict"`
	Loose  bool       `json:"loose"`
	List   []string   `json:"list"`
	Object []thingOut `json:"object"`
	Maybe  *string    `json:"maybe"`
	IP     string     `json:"ip"`
}

type thingOut struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func echo(_ context.Context, in *echoIn) (*echoOut, error) {
	out := &echoOut{
		ID: in.ID, Text: in.Text, Number: in.Number, Any: in.Any, Strict: in.Strict, Loose: in.Loose, List: in.List, Maybe: in.Maybe, IP: in.ClientIP,
	}
	for _, h := range in.Object {
		out.Object = append(out.Object, thingOut(h))
	}
	return out, nil
}

// frame returns an API of routes that do what frames must cope with.
func frame(t *testing.T, with ...func(*api.Config)) (*apitest.Bed, *api.API) {
	t.Helper()
	b := apitest.New(t)
	type none = struct{}
	answer := func(f func(context.Context, *none) (*thing, error)) api.Handler { return api.Handle(200, f) }
	route := func(method, path string, h api.Handler) api.Route {
		return api.Route{Method: method, Path: path, Name: method + path, Scopes: []string{auth.Public}, Callers: auth.Unidentified, Handler: h}
	}
	c := api.Config{Auth: b.Auth, Logger: b.Logger, Registry: b.Registry, Hosts: []string{"a.example.test", "exact.test"}, Forwarded: forwarded.Rules{Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Headers: []string{"X-Forwarded-For"}}, MaxUpload: 1 << 20}
	for _, change := range with {
		change(&c)
	}
	a := api.New(c, []api.Route{
		route("GET", "/v1/echo/{id}", api.Handle(200, echo)),
		route("POST", "/v1/echo/{id}", api.Handle(200, echo)),
		route("GET", "/v1/echo/static", answer(func(context.Context, *none) (*thing, error) { return &thing{ID: "static"}, nil })),
		route("GET", "/v1/large", answer(func(context.Context, *none) (*thing, error) { return &thing{ID: strings.Repeat("x", 5000)}, nil })),
		route("GET", "/v1/panic", answer(func(context.Context, *none) (*thing, error) { panic("secret") })),
		route("GET", "/v1/leak", answer(func(context.Context, *none) (*thing, error) { return nil, errors.New("secret") })),
		route("GET", "/v1/cause", answer(func(context.Context, *none) (*thing, error) {
			return nil, (&flint.Error{Kind: flint.Internal, Type: "own_type", Message: "secret"}).Because(io.EOF)
		})),
		route("GET", "/v1/gone", answer(func(ctx context.Context, _ *none) (*thing, error) { return nil, ctx.Err() })),
		route("DELETE", "/v1/nothing", api.Handle(204, func(context.Context, *none) (api.NoContent, error) { return api.NoContent{}, nil })),
	})
	return b, a
}

func TestBinding(t *testing.T) {
	t.Parallel()
	_, a := frame(t)
	const form = "application/x-www-form-urlencoded"
	invalid := func(name, why string) apitest.Scenario {
		return apitest.Scenario{Status: 400, Type: "general_argument_invalid", Message: "Invalid `" + name + "` param: " + why}
	}
	right := func(want string) apitest.Scenario { return apitest.Scenario{Status: 200, Want: want} }
	const defaults = `{"id":"x","text":"none","number":7,"any":0,"strict":true,"loose":false,"list":null,"object":null,"maybe":null}`
	for _, c := range []struct {
		name, method, path string
		kind               string
		body               any
		want               apitest.Scenario
	}{
		{"nothing", "POST", "x", "", nil, right(defaults)},
		{"an empty object", "POST", "x", "", "{}", right(defaults)},
		{"an empty list", "POST", "x", "", " [] ", right(defaults)},
		{"null", "POST", "x", "", "null", right(defaults)},
		{"nulls", "POST", "x", "", `{"text":null,"number":null,"strict":null,"list":null,"object":null,"maybe":null}`, right(defaults)},
		{"no query", "GET", "x", "", nil, right(defaults)},
		{"a query in a POST is ignored", "POST", "x?text=q", "", "{}", right(`{"text":"none"}`)},
		{"the path wins", "POST", "x", "", `{"id":"other"}`, right(`{"id":"x"}`)},
		{"an escaped path", "GET", "a%2Fb%20c", "", nil, right(`{"id":"a/b c"}`)},
		{"characters, not bytes", "POST", "x", "", `{"text":"üüüüü"}`, right(`{"text":"üüüüü"}`)},
		{"too many characters", "POST", "x", "", `{"text":"üüüüüü"}`, invalid("text", "Value must be a valid string and no longer than 5 chars")},
		{"a number for a text", "POST", "x", "", `{"text":1}`, invalid("text", "Value must be a valid string and no longer than 5 chars")},
		{"a list for a text", "GET", "x?text[]=a", "", nil, invalid("text", "Value must be a valid string and no longer than 5 chars")},
		{"a number", "POST", "x", "", `{"number":9,"any":-3}`, right(`{"number":9,"any":-3}`)},
		{"a number as a text", "GET", "x?number=3", "", nil, right(`{"number":3}`)},
		{"a number out of range", "POST", "x", "", `{"number":10}`, invalid("number", "Value must be a valid range between 1 and 9")},
		{"a broken number", "POST", "x", "", `{"number":1.5}`, invalid("number", "Value must be a valid range between 1 and 9")},
		{"no number", "POST", "x", "", `{"any":"x"}`, invalid("any", "Value must be a valid integer")},
		{"a strict boolean", "POST", "x", "", `{"strict":false}`, right(`{"strict":false}`)},
		{"a text for a strict boolean", "POST", "x", "", `{"strict":"false"}`, invalid("strict", "Value must be a valid boolean")},
		{"a number for a strict boolean", "POST", "x", "", `{"strict":0}`, invalid("strict", "Value must be a valid boolean")},
		{"a strict boolean in a form", "POST", "x", form, "strict=false", invalid("strict", "Value must be a valid boolean")},
		{"a loose boolean", "POST", "x", "", `{"loose":true}`, right(`{"loose":true}`)},
		{"a loose boolean as a text", "POST", "x", "", `{"loose":"1"}`, right(`{"loose":true}`)},
		{"a loose boolean as a number", "POST", "x", "", `{"loose":1}`, right(`{"loose":true}`)},
		{"a loose boolean in a query", "GET", "x?loose=true", "", nil, right(`{"loose":true}`)},
		{"no boolean", "GET", "x?loose=yes", "", nil, invalid("loose", "Value must be a valid boolean")},
		{"a list", "POST", "x", "", `{"list":["a","b"]}`, right(`{"list":["a","b"]}`)},
		{"an empty list as a list", "POST", "x", "", `{"list":[]}`, right(`{"list":[]}`)},
		{"a list in brackets", "GET", "x?list[]=a&list[]=b", "", nil, right(`{"list":["a","b"]}`)},
		{"a list with numbers, escaped", "GET", "x?list%5B0%5D=a&list%5B1%5D=b", "", nil, right(`{"list":["a","b"]}`)},
		{"a list that is too long", "POST", "x", "", `{"list":["a","b","a"]}`, invalid("list", "Value must be an array of texts, of at most 2")},
		{"a bad item", "POST", "x", "", `{"list":["c"]}`, invalid("list", "Value must be one of (a, b)")},
		{"a null item", "POST", "x", "", `{"list":[null]}`, invalid("list", "Value must be an array of texts, of at most 2")},
		{"a text for a list", "GET", "x?list=a", "", nil, invalid("list", "Value must be an array of texts, of at most 2")},
		{"an object", "POST", "x", "", `{"object":{"b":"1","a":2,"c":true,"d":null}}`, right(`{"object":[{"name":"b","value":"1"},{"name":"a","value":"2"},{"name":"c","value":"true"},{"name":"d","value":""}]}`)},
		{"an object in a text", "POST", "x", "", `{"object":"{\"b\":\"1\"}"}`, right(`{"object":[{"name":"b","value":"1"}]}`)},
		{"an object in brackets", "POST", "x", form, `object[b]=1`, right(`{"object":[{"name":"b","value":"1"}]}`)},
		{"a nested object", "POST", "x", "", `{"object":{"b":{}}}`, invalid("object", "Value must be a valid object.")},
		{"two objects", "POST", "x", "", `{"object":"{}{}"}`, invalid("object", "Value must be a valid object.")},
		{"a full list for an object", "POST", "x", "", `{"object":["a"]}`, invalid("object", "Value must be a valid object.")},
		{"what may be absent", "POST", "x", "", `{"maybe":""}`, right(`{"maybe":""}`)},
		{"no content type is a form", "POST", "x", "text/plain", "text=a+b", right(`{"text":"a b"}`)},
		{"badly escaped", "GET", "x?text=%zz", "", nil, right(`{"text":"%zz"}`)},
		{"broken JSON", "POST", "x", "", `{"text":`, apitest.Scenario{Status: 400, Type: "general_argument_invalid"}},
		{"JSON that is no object", "POST", "x", "", `[1]`, apitest.Scenario{Status: 400, Type: "general_argument_invalid"}},
		{"a broken form", "POST", "x", "multipart/form-data; boundary=b", "--b\r\nfoo", apitest.Scenario{Status: 400, Type: "general_argument_invalid"}},
		{"too large", "POST", "x", "", `{"text":"` + strings.Repeat("x", 12<<20) + `"}`, apitest.Scenario{Status: 400, Type: "general_argument_invalid", Message: flint.ErrBodyTooLarge.Message}},
		{"static wins", "GET", "static", "", nil, right(`{"$id":"static"}`)},
		{"the path's own rule", "GET", strings.Repeat("y", 41), "", nil, invalid("id", "Value must be a valid string and at least 1 chars and no longer than 40 chars")},
	} {
		s := c.want
		s.Name, s.Method, s.Path, s.Kind, s.Body = c.name, c.method, "/v1/echo/"+c.path, c.kind, c.body
		apitest.Run(t, a, []apitest.Scenario{s})
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	b, a := frame(t)
	apitest.Run(t, a, []apitest.Scenario{
		{Name: "every answer", Method: "GET", Path: "/v1/echo/x", Status: 200, Check: func(t *testing.T, r *http.Response, got []byte) {
			for name, want := range map[string]string{"Server": "Appwrite", "X-Content-Type-Options": "nosniff", "Content-Type": "application/json; charset=UTF-8", "Content-Length": fmt.Sprint(len(got))} {
				if r.Header.Get(name) != want {
					t.Errorf("%s is %q, want %q", name, r.Header.Get(name), want)
				}
			}
			if len(r.Header.Get("X-Request-Id")) != 16 {
				t.Errorf("X-Request-Id is %q", r.Header.Get("X-Request-Id"))
			}
		}},
		{Name: "unknown", Method: "GET", Path: "/v1/nope", Status: 404, Type: "general_route_not_found", Want: `{"code":404,"version":"1.9.6"}`, Check: func(t *testing.T, r *http.Response, _ []byte) {
			if r.Header.Get("Cache-Control") != "no-cache, no-store, must-revalidate" || r.Header.Get("Expires") != "0" || r.Header.Get("Pragma") != "no-cache" {
				t.Errorf("headers %v", r.Header)
			}
		}},
		{Name: "a method that is not there", Method: "PUT", Path: "/v1/echo/x", Status: 404, Type: "general_route_not_found"},
		{Name: "outside", Method: "GET", Path: "/<b>", Status: 404, Check: func(t *testing.T, r *http.Response, got []byte) {
			if !strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") || !strings.Contains(string(got), "general_route_not_found") {
				t.Errorf("%v %s", r.Header, got)
			}
		}},
		{Name: "nothing to say", Method: "DELETE", Path: "/v1/nothing", Status: 204},
		{Name: "a panic", Method: "GET", Path: "/v1/panic", Status: 500, Type: "general_unknown", Message: "Server Error"},
		{Name: "an error of ours", Method: "GET", Path: "/v1/leak", Status: 500, Type: "general_unknown", Message: "Server Error"},
		{Name: "an internal error with a type", Method: "GET", Path: "/v1/cause", Status: 500, Type: "own_type", Message: "Server Error"},
	})
	logs := b.Logs.String()
	for _, want := range []string{`"err":"panic: secret"`, `"stack":"goroutine`, `"err":"own_type: secret: EOF"`, `"route":"/v1/echo/{id}"`, `"route":"unknown"`} {
		if !strings.Contains(logs, want) {
			t.Errorf("the log lacks %s:\n%s", want, logs)
		}
	}
	if got := strings.Count(logs, `"msg":"request"`); got != 8 {
		t.Errorf("%d log lines of 8 requests", got)
	}
	families, err := b.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			counted += m.GetCounter().GetValue()
		}
	}
	if counted != 8 {
		t.Errorf("%v requests were counted, want 8: %v", counted, families)
	}
}

func TestTheClientIsGone(t *testing.T) {
	t.Parallel()
	b, a := frame(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/v1/gone", nil))
	if w.Body.Len() > 0 || !strings.Contains(b.Logs.String(), `"status":499`) {
		t.Errorf("answered %s, logged %s", w.Body, b.Logs)
	}
}

func TestClientIP(t *testing.T) {
	t.Parallel()
	_, a := frame(t)
	for header, want := range map[string]string{"": "192.0.2.1", "x, 203.0.113.9, 198.51.100.1": "198.51.100.1", "2001:db8::1": "2001:db8::1", "nonsense": "192.0.2.1"} {
		apitest.Run(t, a, []apitest.Scenario{{Name: header, As: apitest.Actor{"X-Forwarded-For": header}, Method: "GET", Path: "/v1/echo/x", Status: 200, Want: `{"ip":"` + want + `"}`}})
	}
}

func TestCompression(t *testing.T) {
	t.Parallel()
	_, a := frame(t)
	for _, c := range []struct {
		accept, path string
		want         bool
	}{
		{"gzip, br", "/v1/large", true},
		{"br;q=1, GZIP;q=0.5", "/v1/large", true},
		{"gzip;q=0", "/v1/large", false},
		{"gzip;q=0.0", "/v1/large", false},
		{"", "/v1/large", false},
		{"br", "/v1/large", false},
		{"gzip", "/v1/echo/x", false},
	} {
		w := apitest.Send(t, a, apitest.Actor{"Accept-Encoding": c.accept}, "GET", c.path, "", nil)
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != c.want {
			t.Errorf("%q %s: compressed = %v, want %v", c.accept, c.path, got, c.want)
		}
		if !c.want {
			continue
		}
		z, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		if err != nil || !json.Valid(text) || len(text) < 5000 {
			t.Errorf("%d bytes, %v", len(text), err)
		}
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	_, a := frame(t)
	for origin, want := range map[string]bool{
		"http://localhost": true, "HTTP://LocalHost:5173": true, "http://127.0.0.1:3000": true, "http://[::1]": true, "https://a.example.test": true, "https://exact.test": true,
		"https://example.test": false, "https://evil.test": false, "https://localhost.evil.test": false, "null": false, "": false,
	} {
		w := apitest.Send(t, a, apitest.Actor{"Origin": origin}, "GET", "/v1/echo/x", "", nil)
		got := w.Header().Get("Access-Control-Allow-Origin")
		if want && got != strings.ToLower(origin) || !want && got != "" {
			t.Errorf("origin %q: allowed %q", origin, got)
		}
	}
	for _, path := range []string{"/v1/echo/x", "/v1/nothing", "/v1/nope"} {
		w := apitest.Send(t, a, apitest.Actor{"Origin": "https://evil.test", "Access-Control-Request-Method": "DELETE"}, "OPTIONS", path, "", nil)
		if w.Code != http.StatusNoContent || w.Body.Len() > 0 || w.Header().Get("Access-Control-Allow-Origin") != "https://evil.test" ||
			w.Header().Get("Access-Control-Allow-Methods") != "GET, POST, PUT, PATCH, DELETE" || !strings.Contains(w.Header().Get("Access-Control-Allow-Headers"), "X-Appwrite-Key") {
			t.Errorf("OPTIONS %s: %d %v", path, w.Code, w.Header())
		}
	}
}

// TestOverTheNetwork covers what a recorder does not show.
func TestOverTheNetwork(t *testing.T) {
	t.Parallel()
	b := apitest.New(t)
	received := make(chan string, 1)
	type in struct {
		api.Request
		A string `param:"a,required"`
	}
	a := b.Serve([]api.Route{
		{Method: "GET", Path: "/v1/x", Name: "x", Scopes: []string{auth.Public}, Callers: auth.Unidentified, Handler: api.Handle(200, func(context.Context, *struct{}) (*thing, error) { return &thing{}, nil })},
		{Method: "POST", Path: "/v1/file", Name: "file", Scopes: []string{"functions.write"}, Callers: auth.Keys, Handler: api.Receive(200, api.Upload[in, *thing]{
			Field: "code",
			Receive: func(_ context.Context, _ *in, f *api.File) error {
				head := make([]byte, 4)
				_, err := io.ReadFull(f, head)
				received <- string(head)
				if err == nil {
					_, err = io.Copy(io.Discard, f)
				}
				return err
			},
			Discard: func(context.Context, *in) {},
			Finish:  func(_ context.Context, i *in) (*thing, error) { return &thing{ID: i.A}, nil },
		})},
	})
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	client := server.Client()
	client.Timeout = 20 * time.Second
	send := func(method, path string, body io.Reader, headers ...string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, body)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }() // it was read
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(text)
	}

	if res, text := send("HEAD", "/v1/x", nil); res.StatusCode != 200 || text != "" || res.ContentLength != int64(len(`{"$id":""}`)) {
		t.Errorf("HEAD: %d %q, %d bytes announced", res.StatusCode, text, res.ContentLength)
	}

	const kind = "multipart/form-data; boundary=b"
	if res, text := send("POST", "/v1/file", strings.NewReader("--b\r\n"+strings.Repeat("x", 5<<20)), "Content-Type", kind); res.StatusCode != 401 {
		t.Errorf("a large request without rights: %d %s", res.StatusCode, text)
	}

	// The file is read while the client is still sending it.
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := io.WriteString(writer, "--b\r\nContent-Disposition: form-data; name=\"code\"; filename=\"c.gz\"\r\n\r\nhead"+strings.Repeat("x", 100_000))
		if err == nil {
			<-received
			_, err = io.WriteString(writer, "tail\r\n--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nlate\r\n--b--\r\n")
		}
		done <- errors.Join(err, writer.Close())
	}()
	res, text := send("POST", "/v1/file", reader, "Content-Type", kind, "X-Appwrite-Project", "demo", "X-Appwrite-Key", "standard_full")
	if err := <-done; err != nil {
		t.Error(err)
	}
	if res.StatusCode != 200 || text != `{"$id":"late"}` {
		t.Errorf("upload: %d %s", res.StatusCode, text)
	}
}

func TestRoutesMustBeComplete(t *testing.T) {
	t.Parallel()
	b := apitest.New(t)
	ok := api.Handle(200, func(context.Context, *struct{}) (*thing, error) { return &thing{}, nil })
	for name, r := range map[string]api.Route{
		"no scopes":  {Method: "GET", Path: "/v1/x", Name: "x", Callers: auth.Keys, Handler: ok},
		"no callers": {Method: "GET", Path: "/v1/x", Name: "x", Scopes: []string{auth.Public}, Handler: ok},
		"no name":    {Method: "GET", Path: "/v1/x", Scopes: []string{auth.Public}, Callers: auth.Keys, Handler: ok},
		"a rule that is none": {Method: "GET", Path: "/v1/x", Name: "x", Scopes: []string{auth.Public}, Callers: auth.Keys, Handler: api.Handle(200, func(context.Context, *struct {
			A string `param:"a" rule:"nope"`
		},
		) (*thing, error) {
			return &thing{}, nil
		})},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a route with %s is accepted", name)
				}
			}()
			api.New(api.Config{Auth: b.Auth, Logger: b.Logger}, []api.Route{r})
		}()
	}
}
