package functions_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"flint"
	"flint/api/apitest"
	"flint/invoke"
)

func TestAnswersAsForms(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.function(t, "f")
	b.deployment(t, "f", true)
	const root = "/v1/functions/f/executions"
	answer := []byte{0xff, 0, '\r', '\n', 0xfe}
	b.Invoker.Answer = func(*invoke.Call) (*invoke.Result, error) { return &invoke.Result{Body: answer}, nil }
	form := func(want map[string]string) func(*testing.T, *http.Response, []byte) {
		return func(t *testing.T, r *http.Response, got []byte) {
			t.Helper()
			kind, args, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
			if err != nil || kind != "multipart/form-data" {
				t.Fatalf("%s, %v: %s", kind, err, got)
			}
			parts := map[string]string{}
			for m := multipart.NewReader(bytes.NewReader(got), args["boundary"]); ; {
				part, err := m.NextRawPart()
				if err == io.EOF { //nolint:errorlint // as it is documented
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(part)
				if err != nil {
					t.Fatal(err)
				}
				parts[part.FormName()] = string(text)
			}
			for name, value := range want {
				if parts[name] != value {
					t.Errorf("%s is %q, want %q; there are %v", name, parts[name], value, slices.Sorted(maps.Keys(parts)))
				}
			}
		}
	}
	accept := func(what string) apitest.Actor { return apitest.Key.With("Accept", what) }
	apitest.Run(t, b, []apitest.Scenario{
		{Name: "bytes", As: accept("multipart/form-data"), Method: "POST", Path: root, Status: 201, Check: form(map[string]string{
			"functionId": "f", "status": "completed", "responseStatusCode": "200", "duration": "0.25", "scheduledAt": "", "$permissions": "[]", "responseBody": string(answer), "logs": "logged",
		})},
		{Name: "the first that fits", As: accept("text/html, multipart/*, application/json"), Method: "POST", Path: root, Body: body{"async": true}, Status: 202, Check: form(map[string]string{"status": "waiting", "responseBody": ""})},
		{Name: "of an older client", As: accept("multipart/form-data").With("X-Appwrite-Response-Format", "1.3.0"), Method: "POST", Path: root, Status: 201, Check: form(map[string]string{"statusCode": "200", "response": string(answer), "stdout": "logged"})},
		{Name: "JSON comes first", As: accept("application/json, multipart/form-data"), Method: "POST", Path: root, Status: 400, Type: "general_unknown"},
		{Name: "whatever", As: accept("*/*"), Method: "POST", Path: root, Status: 400, Type: "general_unknown"},
		{Name: "mistakes are JSON", As: accept("multipart/form-data"), Method: "POST", Path: root, Body: body{"method": "x"}, Status: 400, Type: "general_argument_invalid"},
	})
	var got []byte
	b.Invoker.Answer = func(c *invoke.Call) (*invoke.Result, error) { got = c.Body; return &invoke.Result{}, nil }
	apitest.Run(t, b, []apitest.Scenario{{Name: "bytes in a form", As: apitest.Key, Method: "POST", Path: root, Status: 201, Body: apitest.Form{
		{Name: "body", Value: string(answer)}, {Name: "headers", Value: `{"x-a":"b"}`}, {Name: "async", Value: "false"},
	}}})
	if !bytes.Equal(got, answer) {
		t.Errorf("the function got %q", got)
	}
}

func TestOlderClients(t *testing.T) {
	t.Parallel()
	b := setup(t)
	as := func(format string) apitest.Actor { return apitest.Key.With("X-Appwrite-Response-Format", format) }
	names := func(want string, not ...string) func(*testing.T, *http.Response, []byte) {
		return func(t *testing.T, _ *http.Response, got []byte) {
			t.Helper()
			var model map[string]any
			if err := json.Unmarshal(got, &model); err != nil {
				t.Fatal(err)
			}
			for name := range strings.FieldsSeq(want) {
				if _, ok := model[name]; !ok {
					t.Errorf("%s is missing: %s", name, got)
				}
			}
			for _, name := range not {
				if _, ok := model[name]; ok {
					t.Errorf("%s is there: %s", name, got)
				}
			}
		}
	}
	const f = "/v1/functions/f"
	apitest.Run(t, b, []apitest.Scenario{
		{Name: "commands of a runtime", As: as("1.3.0"), Method: "POST", Path: "/v1/functions", Body: body{"functionId": "f", "name": "f", "runtime": "node-22", "entrypoint": "i.js"}, Status: 201, Want: `{"commands":"npm install","schedulePrevious":"","scheduleNext":"","deployment":""}`, Check: names("", "deploymentId", "scopes", "specification", "buildSpecification")},
		{Name: "a variable that is open", As: as("1.6.0"), Method: "POST", Path: f + "/variables", Body: body{"key": "A", "value": "1"}, Status: 201, Want: `{"value":"1","resourceId":"f"}`, Check: names("", "secret")},
		{Name: "its oldest shape", As: as("1.3.0"), Method: "GET", Path: f, Status: 200, Want: `{"vars":[{"functionId":"f","value":"1"}]}`},
		{Name: "1.8", As: as("1.8.0"), Method: "GET", Path: f, Status: 200, Want: `{"deploymentId":"","specification":"*","vars":[{"secret":false}]}`, Check: names("latestDeploymentId scopes", "buildSpecification")},
		{Name: "1.6", As: as("1.6.0"), Method: "GET", Path: f, Status: 200, Check: names("deployment scopes specification", "deploymentId", "latestDeploymentStatus", "deploymentCreatedAt")},
		{Name: "1.5", As: as("1.5.0"), Method: "GET", Path: f, Status: 200, Check: names("deployment", "scopes", "specification", "schedulePrevious")},
		{Name: "runtimes", As: as("1.5.0"), Method: "GET", Path: "/v1/functions/runtimes", Status: 200, Check: func(t *testing.T, _ *http.Response, got []byte) {
			if strings.Contains(string(got), `"key"`) || !strings.HasPrefix(string(got), `{"total":1,"runtimes":[{"$id":"node-22","name"`) {
				t.Errorf("%s", got)
			}
		}},
	})
	id := b.deployment(t, "f", true)
	list := func(path, query string) string { return path + "?queries[]=" + url.QueryEscape(query) }
	apitest.Run(t, b, []apitest.Scenario{
		{Name: "a deployment", As: as("1.6.0"), Method: "GET", Path: f + "/deployments/" + id, Status: 200, Want: `{"size":2,"buildTime":1,"buildLogs":""}`, Check: names("buildSize", "sourceSize", "totalSize", "screenshotLight", "buildDuration")},
		{Name: "the oldest", As: as("1.3.0"), Method: "GET", Path: f + "/deployments/" + id, Status: 200, Want: `{"size":9,"buildStdout":"","buildStderr":""}`, Check: names("", "buildLogs")},
		{Name: "a selection of it", As: as("1.4.0"), Method: "GET", Path: list(f+"/deployments", `select(["status"])`), Status: 200, Want: `{"deployments":[{"$id":"*","status":"ready"}]}`},
		{Name: "queries as text", As: as("1.4.0"), Method: "GET", Path: list("/v1/functions", `equal("name", ["x", "f"])`), Status: 200, Want: `{"total":1}`},
		{Name: "an attribute that was renamed", As: as("1.6.0"), Method: "GET", Path: list("/v1/functions", `{"method":"or","values":[{"method":"equal","attribute":"deployment","values":["`+id+`"]},{"method":"equal","attribute":"name","values":["x"]}]}`), Status: 200, Want: `{"total":1}`},
		{Name: "one that clients of today do not have", As: apitest.Key, Method: "GET", Path: list("/v1/functions", `{"method":"equal","attribute":"deployment","values":["x"]}`), Status: 400, Type: "general_argument_invalid"},
		{Name: "text from a client of today", As: apitest.Key, Method: "GET", Path: list("/v1/functions", `equal("name", ["f"])`), Status: 400, Type: "general_argument_invalid"},
		{Name: "text that is broken", As: as("1.4.0"), Method: "GET", Path: list("/v1/functions", `equal("name"`), Status: 400, Type: "general_argument_invalid"},
		{Name: "limits as text", As: as("1.4.0"), Method: "GET", Path: "/v1/functions?queries[]=limit(1)&queries[]=offset(1)", Status: 200, Want: `{"total":1,"functions":[]}`},
	})
	b.Invoker.Answer = func(c *invoke.Call) (*invoke.Result, error) { return &invoke.Result{Body: c.Body}, nil }
	if err := b.Store.AppendExecution(t.Context(), &flint.Execution{Project: apitest.Project, ID: "e404", Function: "f", Status: flint.ExecutionCompleted, StatusCode: 404}); err != nil {
		t.Fatal(err)
	}
	apitest.Run(t, b, []apitest.Scenario{
		{Name: "a call", As: as("1.3.0"), Method: "POST", Path: f + "/executions", Body: body{"data": "hi"}, Status: 201, Want: `{"functionId":"f","status":"completed","statusCode":200,"response":"hi","stdout":"logged","stderr":""}`, Check: names("", "scheduledAt", "responseBody", "logs")},
		{Name: "a call that was answered with 404", As: as("1.5.0"), Method: "GET", Path: f + "/executions/e404", Status: 200, Want: `{"status":"failed","responseStatusCode":404}`},
		{Name: "the same today", As: as("1.9.5"), Method: "GET", Path: f + "/executions/e404", Status: 200, Want: `{"status":"completed"}`},
		{Name: "in lists", As: as("1.5.0"), Method: "GET", Path: list(f+"/executions", `{"method":"equal","attribute":"responseStatusCode","values":[404]}`), Status: 200, Want: `{"total":1,"executions":[{"status":"failed"}]}`},
	})
}
