package functions_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"flint"
	"flint/api/apitest"
	"flint/api/functions"
	"flint/build"
	"flint/invoke"
	"flint/store"
)

var (
	_ functions.Invoker = (*invoke.Invoker)(nil)
	_ functions.Builder = (*build.Builder)(nil)
)

type bed struct {
	*apitest.Bed
	http.Handler
}

func setup(t *testing.T) *bed {
	t.Helper()
	b := apitest.New(t)
	s := functions.New(functions.Config{
		Store: b.Store, Invoker: b.Invoker, Builder: b.Builder, Uploads: b.Uploads, Blobs: b.Blobs, Signer: b.Signer, Runtimes: b.Runtimes, Logger: b.Logger,
		Domain: "functions.test", CreationLimit: 50,
	})
	return &bed{Bed: b, Handler: b.Serve(s.Routes())}
}

// function makes a function with the fewest settings.
func (b *bed) function(t *testing.T, id string) {
	t.Helper()
	w := apitest.Send(t, b, apitest.Key, "POST", "/v1/functions", "", map[string]any{
		"functionId": id, "name": id, "runtime": "node-22", "entrypoint": "index.js", "execute": []string{"any"},
	})
	if w.Code != http.StatusCreated {
		t.Fatalf("create %s: %d %s", id, w.Code, w.Body)
	}
}

// deployment makes a deployment that is built and, with activate, active.
func (b *bed) deployment(t *testing.T, function string, activate bool) string {
	t.Helper()
	w := apitest.Send(t, b, apitest.Key, "POST", "/v1/functions/"+function+"/deployments", "", upload("code.tar.gz", "gz", activate))
	if w.Code != http.StatusAccepted {
		t.Fatalf("deploy %s: %d %s", function, w.Code, w.Body)
	}
	var d struct {
		ID string `json:"$id"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	b.finish(t, d.ID)
	return d.ID
}

func (b *bed) finish(t *testing.T, id string) {
	t.Helper()
	row, attempt, err := b.Store.ClaimBuild(t.Context(), "n1", time.Minute)
	if err != nil || row == nil || string(row.ID) != id {
		t.Fatalf("claim %s: %v, %v", id, row, err)
	}
	ok, err := b.Store.FinishBuild(t.Context(), row.ID, attempt, store.BuildOutcome{Status: flint.DeploymentReady, Digest: "built-" + id, Size: 7, Duration: 1})
	if err != nil || !ok {
		t.Fatalf("finish %s: %v, %v", id, ok, err)
	}
}

func upload(name, content string, activate any) apitest.Form {
	return apitest.Form{{Name: "code", Value: apitest.File{Name: name, Content: content}}, {Name: "activate", Value: activate}}
}

type body = map[string]any

func TestFunctions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const root = "/v1/functions"
	apitest.Run(t, b, []apitest.Scenario{
		{
			Name: "a function has defaults", As: apitest.Key, Method: "POST", Path: root,
			Body: body{"functionId": "Hello.1", "name": "Hello", "runtime": "node-22", "unknown": 1}, Status: 201,
			Want: `{"$id":"Hello.1","$createdAt":"*","$updatedAt":"*","execute":[],"name":"Hello","enabled":true,"live":true,"logging":true,
				"runtime":"node-22","deploymentRetention":0,"deploymentId":"","deploymentCreatedAt":"","latestDeploymentId":"",
				"latestDeploymentCreatedAt":"","latestDeploymentStatus":"","scopes":[],"vars":[],"events":[],"schedule":"","timeout":15,
				"entrypoint":"","commands":"","version":"v5","installationId":"","providerRepositoryId":"","providerBranch":"",
				"providerRootDirectory":"","providerSilentMode":false,"providerBranches":[],"providerPaths":[],
				"buildSpecification":"s-8vcpu-8gb","runtimeSpecification":"s-8vcpu-8gb"}`,
			Check: func(t *testing.T, r *http.Response, _ []byte) {
				if got := r.Header.Get("X-RateLimit-Limit") + "/" + r.Header.Get("X-RateLimit-Remaining"); got != "50/49" {
					t.Errorf("rate limit %s, want 50/49", got)
				}
			},
		},
		{Name: "its domain is made", As: apitest.Key, Method: "GET", Path: root + "/Hello.1", Status: 200, Check: func(t *testing.T, _ *http.Response, _ []byte) {
			if r, err := b.Store.RuleByDomain(t.Context(), "hello-1.functions.test"); err != nil || r.Function != "Hello.1" {
				t.Errorf("rule %v, %v", r, err)
			}
		}},
		{
			Name: "another whose name makes the same domain gets a different one", As: apitest.Key, Method: "POST", Path: root,
			Body: body{"functionId": "hello-1", "name": "Hello", "runtime": "node-22"}, Status: 201,
			Check: func(t *testing.T, _ *http.Response, _ []byte) {
				rules, _, err := b.Store.Rules(t.Context(), apitest.Project, flint.List{Limit: 10})
				if err != nil || len(rules) != 2 || !strings.HasPrefix(rules[1].Domain, "hello-1-") {
					t.Errorf("rules %v, %v", rules, err)
				}
			},
		},
		{Name: "an id is taken once", As: apitest.Key, Method: "POST", Path: root, Body: body{"functionId": "hello-1", "name": "x", "runtime": "node-22"}, Status: 409, Type: "function_already_exists"},
		{Name: "the server makes an id", As: apitest.Key, Method: "POST", Path: root, Body: body{"functionId": "unique()", "name": "x", "runtime": "node-22"}, Status: 201, Want: `{"$id":"*"}`},
		{Name: "a form will do", As: apitest.Key, Method: "POST", Path: root, Kind: "application/x-www-form-urlencoded", Body: "functionId=form&name=%C3%BC&runtime=node-22&execute[0]=any&execute[]=users&timeout=20", Status: 201, Want: `{"name":"ü","execute":["any","users"],"timeout":20}`},
		{Name: "multipart will do", As: apitest.Key, Method: "POST", Path: root, Body: apitest.Form{{Name: "functionId", Value: "multi"}, {Name: "name", Value: "m"}, {Name: "runtime", Value: "node-22"}, {Name: "events[]", Value: "users.*.create"}}, Status: 201, Want: `{"events":["users.*.create"]}`},
		{Name: "null is nothing", As: apitest.Key, Method: "POST", Path: root, Body: body{"functionId": "nulls", "name": "n", "runtime": "node-22", "timeout": nil, "execute": nil, "enabled": nil, "entrypoint": nil}, Status: 201, Want: `{"timeout":15,"execute":[],"enabled":true}`},
		{
			Name: "old clients know one specification", As: apitest.Key.With("X-Appwrite-Response-Format", "1.8.0"), Method: "POST", Path: root,
			Body: body{"functionId": "old", "name": "o", "runtime": "node-22", "specification": "s-1vcpu-1gb"}, Status: 201, Want: `{"specification":"s-1vcpu-1gb"}`,
		},
		{Name: "it was both", As: apitest.Key, Method: "GET", Path: root + "/old", Status: 200, Want: `{"buildSpecification":"s-1vcpu-1gb","runtimeSpecification":"s-1vcpu-1gb"}`},
		{Name: "a runtime without its toolchain", As: apitest.Key, Method: "POST", Path: root, Body: body{"functionId": "f", "name": "x", "runtime": "python-3.12"}, Status: 404, Type: "function_runtime_unsupported"},
		{Name: "an installation", As: apitest.Key, Method: "POST", Path: root, Body: body{"functionId": "f", "name": "x", "runtime": "node-22", "installationId": "i"}, Status: 404, Type: "installation_not_found"},
		{Name: "a repository without an installation", As: apitest.Key, Method: "POST", Path: root, Body: body{"functionId": "f", "name": "x", "runtime": "node-22", "providerRepositoryId": "i"}, Status: 400, Type: "general_argument_invalid"},

		{Name: "list", As: apitest.Key, Method: "GET", Path: root, Status: 200, Want: `{"total":7}`},
		{Name: "list without a total", As: apitest.Key, Method: "GET", Path: root + "?total=0", Status: 200, Want: `{"total":0}`},
		{Name: "list with queries", As: apitest.Key, Method: "GET", Path: root + `?queries[0]=%7B%22method%22%3A%22equal%22%2C%22attribute%22%3A%22name%22%2C%22values%22%3A%5B%22Hello%22%5D%7D&queries[1]={"method":"limit","values":[1]}`, Status: 200, Want: `{"total":2,"functions":[{"$id":"Hello.1"}]}`},
		{Name: "list with a search", As: apitest.Key, Method: "GET", Path: root + "?search=hello-1", Status: 200, Want: `{"functions":[{"$id":"hello-1"}]}`},
		{Name: "list with an unknown attribute", As: apitest.Key, Method: "GET", Path: root + `?queries[]={"method":"equal","attribute":"nope","values":["x"]}`, Status: 400, Type: "general_argument_invalid", Message: "Invalid `queries` param: Invalid query: Attribute not found in schema: nope"},
		{Name: "list from an unknown cursor", As: apitest.Key, Method: "GET", Path: root + `?queries[]={"method":"cursorAfter","values":["nope"]}`, Status: 400, Type: "general_cursor_not_found"},

		{Name: "update keeps the domain of what cannot be cleared", As: apitest.Key, Method: "PUT", Path: root + "/form", Body: body{"name": "ü"}, Status: 200, Want: `{"execute":[],"timeout":15,"runtime":"node-22","live":true}`},
		{Name: "update of what was deployed", As: apitest.Key, Method: "PUT", Path: root + "/form", Body: body{"name": "new", "entrypoint": "a.js", "schedule": "*/5 * * * *", "enabled": false, "providerBranches": []string{"main"}, "runtimeSpecification": "s-1vcpu-1gb"}, Status: 200, Want: `{"live":false,"entrypoint":"a.js","schedule":"*/5 * * * *","enabled":false,"providerBranches":["main"],"buildSpecification":"s-8vcpu-8gb","runtimeSpecification":"s-1vcpu-1gb"}`},
		{Name: "update without an entrypoint", As: apitest.Key, Method: "PUT", Path: root + "/form", Body: body{"name": "new", "entrypoint": ""}, Status: 200, Want: `{"live":true,"entrypoint":"a.js","schedule":"","enabled":true,"providerBranches":["main"],"runtimeSpecification":"s-1vcpu-1gb"}`},
		{Name: "update of an unknown one", As: apitest.Key, Method: "PUT", Path: root + "/nope", Body: body{"name": "new"}, Status: 404, Type: "function_not_found"},
		{Name: "update to an installation", As: apitest.Key, Method: "PUT", Path: root + "/form", Body: body{"name": "new", "installationId": "x"}, Status: 404, Type: "installation_not_found"},

		{Name: "delete", As: apitest.Key, Method: "DELETE", Path: root + "/form", Body: "[]", Status: 204},
		{Name: "it is gone", As: apitest.Key, Method: "GET", Path: root + "/form", Status: 404, Type: "function_not_found", Message: "Function with the requested ID could not be found."},
	})
	if got := b.Invoker.Deleted; len(got) != 1 || got[0] != "form" {
		t.Errorf("the invoker was told of %v", got)
	}
	if got := b.Builder.Forgotten; len(got) != 1 || got[0] != "form" {
		t.Errorf("the builder was told of %v", got)
	}
}

func TestCreationLimit(t *testing.T) {
	t.Parallel()
	b := apitest.New(t)
	s := functions.New(functions.Config{Store: b.Store, Invoker: b.Invoker, Builder: b.Builder, Uploads: b.Uploads, Blobs: b.Blobs, Signer: b.Signer, Runtimes: b.Runtimes, Logger: b.Logger, CreationLimit: 1})
	apitest.Run(t, b.Serve(s.Routes()), []apitest.Scenario{
		{Name: "what is invalid does not count", As: apitest.Key, Method: "POST", Path: "/v1/functions", Body: body{}, Status: 400},
		{Name: "the first", As: apitest.Key, Method: "POST", Path: "/v1/functions", Body: body{"functionId": "a", "name": "x", "runtime": "node-22"}, Status: 201},
		{Name: "one too many", As: apitest.Key, Method: "POST", Path: "/v1/functions", Body: body{"functionId": "b", "name": "x", "runtime": "node-22"}, Status: 429, Type: "general_rate_limit_exceeded"},
	})
	if rules, _, err := b.Store.Rules(t.Context(), apitest.Project, flint.List{Limit: 10}); err != nil || len(rules) > 0 {
		t.Errorf("without a base domain there are rules: %v, %v", rules, err)
	}
}

func TestRuntimesAndSpecifications(t *testing.T) {
	t.Parallel()
	b := setup(t)
	capped := functions.New(functions.Config{Store: b.Store, Invoker: b.Invoker, Builder: b.Builder, Uploads: b.Uploads, Blobs: b.Blobs, Signer: b.Signer, Runtimes: b.Runtimes, Logger: b.Logger, MaxCPUs: 1, MaxMemory: 512})
	for _, as := range []apitest.Actor{apitest.Nobody, apitest.Guest, apitest.NoScope} {
		apitest.Run(t, b, []apitest.Scenario{{
			As: as, Method: "GET", Path: "/v1/functions/runtimes", Status: 200,
			Want: `{"total":1,"runtimes":[{"$id":"node-22","key":"node","name":"Node.js","version":"22","base":"node:22.9.0-alpine3.20","image":"openruntimes/node:v5-22","logo":"node.png","supports":["x86","arm64"]}]}`,
		}})
	}
	apitest.Run(t, b, []apitest.Scenario{
		{As: apitest.Key, Method: "GET", Path: "/v1/functions/specifications?type=builds", Status: 200, Want: `{"total":9}`},
		{As: apitest.Key, Method: "GET", Path: "/v1/functions/specifications?type=x", Status: 400, Message: "Invalid `type` param: Value must be one of (runtimes, builds)"},
	})
	c := apitest.New(t)
	apitest.Run(t, c.Serve(capped.Routes()), []apitest.Scenario{
		{Name: "capped", As: apitest.Key, Method: "GET", Path: "/v1/functions/specifications", Status: 200, Want: `{"total":2,"specifications":[{"memory":512,"cpus":0.5,"enabled":true,"slug":"s-0.5vcpu-512mb"},{"slug":"s-1vcpu-512mb"}]}`},
	})
}

func TestDeployments(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.function(t, "f")
	b.function(t, "g")
	const root = "/v1/functions/f/deployments"
	first := b.deployment(t, "f", true)
	apitest.Run(t, b, []apitest.Scenario{
		{Name: "it is active", As: apitest.Key, Method: "GET", Path: "/v1/functions/f", Status: 200, Want: `{"deploymentId":"` + first + `","latestDeploymentStatus":"ready"}`},
		{Name: "get", As: apitest.Key, Method: "GET", Path: root + "/" + first, Status: 200, Want: `{"type":"manual","resourceId":"f","resourceType":"functions","entrypoint":"index.js","sourceSize":2,"buildSize":7,"totalSize":9,"status":"ready","activate":true,"buildId":""}`},
		{Name: "get from another function", As: apitest.Key, Method: "GET", Path: "/v1/functions/g/deployments/" + first, Status: 404, Type: "deployment_not_found"},
		{Name: "cancel what is built", As: apitest.Key, Method: "PATCH", Path: root + "/" + first + "/status", Status: 400, Type: "build_already_completed"},

		{Name: "fields before the file", As: apitest.Key.With("X-SDK-Language", "cli"), Method: "POST", Path: root, Body: apitest.Form{{Name: "entrypoint", Value: "other.js"}, {Name: "activate", Value: "false"}, {Name: "code", Value: apitest.File{Name: "code.tar.gz", Content: "x"}}}, Status: 202, Want: `{"type":"cli","entrypoint":"other.js","activate":false,"status":"waiting","sourceSize":1}`},
		{Name: "the whole file as a chunk", As: apitest.Key.With("Content-Range", "bytes 0-2/3"), Method: "POST", Path: root, Body: upload("c.tar.gz", "abc", 0), Status: 202, Want: `{"sourceSize":3}`},
		{Name: "an end that is one too far", As: apitest.Key.With("Content-Range", "bytes 0-3/3"), Method: "POST", Path: root, Body: upload("c.tar.gz", "abc", 0), Status: 202},
		{Name: "a file of another size", As: apitest.Key.With("Content-Range", "bytes 0-3/4"), Method: "POST", Path: root, Body: upload("c.tar.gz", "abc", 0), Status: 400, Type: "storage_invalid_content_range"},
		{Name: "a chunk", As: apitest.Key.With("Content-Range", "bytes 0-2/9"), Method: "POST", Path: root, Body: upload("c.tar.gz", "abc", 0), Status: 400, Type: "storage_invalid_content_range"},
		{Name: "a later chunk", As: apitest.Key.With("Content-Range", "bytes 6-8/9"), Method: "POST", Path: root, Body: upload("c.tar.gz", "abc", 0), Status: 400, Type: "storage_invalid_content_range"},
		{Name: "a range that is none", As: apitest.Key.With("Content-Range", "bytes */9"), Method: "POST", Path: root, Body: upload("c.tar.gz", "abc", 0), Status: 400, Type: "storage_invalid_content_range"},
		{Name: "an end beyond the total", As: apitest.Key.With("Content-Range", "bytes 0-9/3"), Method: "POST", Path: root, Body: upload("c.tar.gz", "abc", 0), Status: 400, Type: "storage_invalid_content_range"},
		{Name: "no archive by its name", As: apitest.Key, Method: "POST", Path: root, Body: upload("c.zip", "abc", 0), Status: 400, Type: "storage_file_type_unsupported"},
		{Name: "no file", As: apitest.Key, Method: "POST", Path: root, Body: apitest.Form{{Name: "activate", Value: "1"}}, Status: 400, Type: "storage_file_empty", Message: "No file sent"},
		{Name: "a text for a file", As: apitest.Key, Method: "POST", Path: root, Body: apitest.Form{{Name: "activate", Value: "1"}, {Name: "code", Value: "x"}}, Status: 400, Type: "storage_file_empty"},
		{Name: "no form", As: apitest.Key, Method: "POST", Path: root, Body: body{"activate": true}, Status: 400, Type: "storage_file_empty"},
		{Name: "too large", As: apitest.Key, Method: "POST", Path: root, Body: upload("c.tar.gz", strings.Repeat("x", apitest.MaxSource+1), 0), Status: 400, Type: "deployment_invalid_file_size"},
		{Name: "far too large", As: apitest.Key, Method: "POST", Path: root, Body: upload("c.zip", strings.Repeat("x", 2<<20), 0), Status: 400},
		{Name: "no function", As: apitest.Key, Method: "POST", Path: "/v1/functions/nope/deployments", Body: upload("c.tar.gz", "abc", 0), Status: 404, Type: "function_not_found"},
		{Name: "no scope", As: apitest.NoScope, Method: "POST", Path: root, Body: upload("c.tar.gz", "abc", 0), Status: 401, Type: "general_unauthorized_scope"},

		{Name: "list", As: apitest.Key, Method: "GET", Path: root + `?queries[]={"method":"equal","attribute":"status","values":["ready"]}`, Status: 200, Want: `{"total":1,"deployments":[{"$id":"` + first + `"}]}`},
		{Name: "list with a selection", As: apitest.Key, Method: "GET", Path: root + `?queries[]={"method":"select","values":["status"]}&queries[]={"method":"limit","values":[1]}`, Status: 200, Check: func(t *testing.T, _ *http.Response, got []byte) {
			if strings.Contains(string(got), "buildLogs") || !strings.Contains(string(got), `"status":"ready"`) {
				t.Errorf("%s", got)
			}
		}},
		{Name: "list with a search", As: apitest.Key, Method: "GET", Path: root + "?search=x", Status: 400, Type: "general_query_invalid"},
		{Name: "list of an unknown function", As: apitest.Key, Method: "GET", Path: "/v1/functions/nope/deployments", Status: 404, Type: "function_not_found"},
	})
	if got := len(b.Builder.Collected); got != 1 {
		t.Errorf("%d blobs of refused uploads were collected, want 1: %v", got, b.Builder.Collected)
	}
	b.lifecycle(t, root, first)
}

// lifecycle plays activation, cancelling and deletion after the uploads of TestDeployments.
func (b *bed) lifecycle(t *testing.T, root, first string) {
	t.Helper()
	waiting, _, err := b.Store.Deployments(t.Context(), apitest.Project, "f", flint.List{Limit: 10})
	if err != nil || len(waiting) < 2 {
		t.Fatal(waiting, err)
	}
	second := string(waiting[1].ID)
	apitest.Run(t, b, []apitest.Scenario{
		{Name: "activate what is not built", As: apitest.Key, Method: "PATCH", Path: "/v1/functions/f/deployment", Body: body{"deploymentId": second}, Status: 400, Type: "build_not_ready"},
		{Name: "activate the unknown", As: apitest.Key, Method: "PATCH", Path: "/v1/functions/f/deployment", Body: body{"deploymentId": "nope"}, Status: 404, Type: "deployment_not_found"},
		{Name: "cancel", As: apitest.Key, Method: "PATCH", Path: root + "/" + second + "/status", Body: "[]", Status: 200, Want: `{"status":"canceled"}`},
		{Name: "cancel again by the old path", As: apitest.Key, Method: "PATCH", Path: root + "/" + second + "/build", Status: 200, Want: `{"status":"canceled"}`},
		{Name: "activate", As: apitest.Key, Method: "PATCH", Path: "/v1/functions/f/deployment", Body: body{"deploymentId": first}, Status: 200, Want: `{"deploymentId":"` + first + `"}`},
		{Name: "activate by the old path", As: apitest.Key, Method: "PATCH", Path: root + "/" + first, Status: 200, Want: `{"deploymentId":"` + first + `"}`},
		{Name: "delete the active one", As: apitest.Key, Method: "DELETE", Path: root + "/" + first, Status: 204},
		{Name: "nothing is active", As: apitest.Key, Method: "GET", Path: "/v1/functions/f", Status: 200, Want: `{"deploymentId":"","deploymentCreatedAt":""}`},
		{Name: "delete it again", As: apitest.Key, Method: "DELETE", Path: root + "/" + first, Status: 404, Type: "deployment_not_found"},
		{Name: "delete the function", As: apitest.Key, Method: "DELETE", Path: "/v1/functions/f", Status: 204},
	})
	if got := strings.Join(b.Builder.Collected, " "); !strings.Contains(got, "built-"+first) {
		t.Errorf("the package of a deleted deployment was not collected: %s", got)
	}
}

func TestEntrypointIsNeeded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	apitest.Run(t, b, []apitest.Scenario{
		{As: apitest.Key, Method: "POST", Path: "/v1/functions", Body: body{"functionId": "f", "name": "x", "runtime": "node-22"}, Status: 201},
		{Name: "neither names one", As: apitest.Key, Method: "POST", Path: "/v1/functions/f/deployments", Body: upload("c.tar.gz", "abc", true), Status: 404, Type: "function_entrypoint_missing"},
		{Name: "an invalid field after the file", As: apitest.Key, Method: "POST", Path: "/v1/functions/f/deployments", Body: upload("c.tar.gz", "abd", "maybe"), Status: 400, Message: "Invalid `activate` param: Value must be a valid boolean"},
	})
	if len(b.Builder.Collected) != 2 {
		t.Errorf("uploads that came to nothing were not collected: %v", b.Builder.Collected)
	}
}

func TestExecutions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.function(t, "f")
	const root = "/v1/functions/f/executions"
	apitest.Run(t, b, []apitest.Scenario{
		{Name: "nothing is deployed", As: apitest.Key, Method: "POST", Path: root, Status: 404, Type: "deployment_not_found", Message: "Deployment not found. Create a deployment before trying to execute a function"},
	})
	b.deployment(t, "f", true)
	headers := func(t *testing.T, want ...flint.Header) {
		t.Helper()
		got := b.Invoker.Calls[len(b.Invoker.Calls)-1].Headers
		if len(got) != len(want) {
			t.Fatalf("headers %v, want %v", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("headers %v, want %v", got, want)
			}
		}
	}
	future := time.Now().Add(time.Hour).UTC().Truncate(time.Minute).Format(time.RFC3339)
	apitest.Run(t, b, []apitest.Scenario{
		{
			Name: "synchronous", As: apitest.Key, Method: "POST", Path: root, Body: body{"body": "a/ü<", "path": "/x?y=1", "method": "PUT", "headers": body{"X-One": "1"}}, Status: 201,
			Want:  `{"functionId":"f","resourceId":"f","resourceType":"functions","$permissions":[],"trigger":"http","status":"completed","requestMethod":"PUT","requestPath":"/x?y=1","responseStatusCode":200,"responseBody":"a/ü<","responseHeaders":[{"name":"content-type","value":"text/plain"},{"name":"x-appwrite-execution-id","value":"*"}],"logs":"logged","duration":0.25,"scheduledAt":null}`,
			Check: func(t *testing.T, _ *http.Response, _ []byte) { headers(t, flint.Header{Name: "x-one", Value: "1"}) },
		},
		{Name: "an SDK of today", As: apitest.Key.With("X-Appwrite-Response-Format", "1.9.5"), Method: "POST", Path: root, Status: 201, Want: `{"functionId":"f"}`, Check: func(t *testing.T, _ *http.Response, got []byte) {
			if strings.Contains(string(got), "resourceId") {
				t.Errorf("%s", got)
			}
		}},
		{Name: "a guest sees no logs", As: apitest.Guest, Method: "POST", Path: root, Body: "[]", Status: 201, Want: `{"logs":"","errors":"","responseBody":""}`},
		{Name: "asynchronous, said loosely", As: apitest.Key, Method: "POST", Path: root, Body: body{"async": "1", "body": "x"}, Status: 202, Want: `{"status":"waiting","responseStatusCode":0,"responseBody":""}`},
		{Name: "multipart", As: apitest.Key, Method: "POST", Path: root, Body: apitest.Form{{Name: "body", Value: "raw"}, {Name: "async", Value: "false"}, {Name: "headers", Value: `{"a":1,"b":true}`}, {Name: "path", Value: "x"}}, Status: 201, Want: `{"responseBody":"raw","requestPath":"x"}`, Check: func(t *testing.T, _ *http.Response, _ []byte) {
			headers(t, flint.Header{Name: "a", Value: "1"}, flint.Header{Name: "b", Value: "true"})
		}},
		{Name: "a form", As: apitest.Key, Method: "POST", Path: root, Kind: "application/x-www-form-urlencoded", Body: "body=x+y&headers[x-a]=b", Status: 201, Want: `{"responseBody":"x y"}`, Check: func(t *testing.T, _ *http.Response, _ []byte) { headers(t, flint.Header{Name: "x-a", Value: "b"}) }},
		{Name: "headers as an empty list", As: apitest.Key, Method: "POST", Path: root, Body: body{"headers": []string{}}, Status: 201},
		{Name: "headers of the platform", As: apitest.Key, Method: "POST", Path: root, Body: body{"headers": body{"X-Appwrite-Key": "1"}}, Status: 400, Type: "general_argument_invalid"},
		{Name: "headers that break lines", As: apitest.Key, Method: "POST", Path: root, Body: body{"headers": body{"x": "a\r\nb: c"}}, Status: 400, Type: "general_argument_invalid"},
		{Name: "headers that are too many bytes", As: apitest.Key, Method: "POST", Path: root, Body: body{"headers": body{"x": strings.Repeat("y", 16384)}}, Status: 400, Type: "general_argument_invalid"},
		{Name: "a method in lower case", As: apitest.Key, Method: "POST", Path: root, Body: body{"method": "get"}, Status: 400, Message: "Invalid `method` param: Value must be one of (GET, POST, PUT, PATCH, DELETE, OPTIONS, HEAD)"},
		{Name: "delayed and synchronous", As: apitest.Key, Method: "POST", Path: root, Body: body{"scheduledAt": future}, Status: 400, Type: "general_bad_request", Message: "Scheduled executions must run asynchronously. Set scheduledAt to a future date, or set async to true."},
		{Name: "delayed to the past", As: apitest.Key, Method: "POST", Path: root, Body: body{"scheduledAt": "2020-01-01", "async": true}, Status: 400, Type: "general_bad_request", Message: "Execution schedule must be a valid date, and at least 1 minute from now"},
		{Name: "delayed to the second", As: apitest.Key, Method: "POST", Path: root, Body: body{"scheduledAt": strings.Replace(future, ":00Z", ":01Z", 1), "async": true}, Status: 400, Type: "general_bad_request"},
		{Name: "delayed", As: apitest.Key, Method: "POST", Path: root, Body: body{"scheduledAt": future, "async": true}, Status: 202, Want: `{"status":"scheduled","trigger":"schedule","scheduledAt":"` + strings.Replace(future, "Z", ".000+00:00", 1) + `"}`},
		{Name: "no function", As: apitest.Key, Method: "POST", Path: "/v1/functions/nope/executions", Status: 404, Type: "function_not_found"},
		{Name: "guests cannot list", As: apitest.Guest, Method: "GET", Path: root, Status: 401, Type: "general_unauthorized_scope"},
		{Name: "guests cannot delete", As: apitest.Guest, Method: "DELETE", Path: root + "/x", Status: 404, Type: "function_not_found"},
		{Name: "list", As: apitest.Key, Method: "GET", Path: root + `?queries[]={"method":"equal","attribute":"status","values":["completed"]}`, Status: 200, Want: `{"total":6}`},
	})
	b.binary(t, root)
	b.oneExecution(t, root)
}

// binary plays answers that JSON cannot carry, and faults of the invoker.
func (b *bed) binary(t *testing.T, root string) {
	t.Helper()
	for _, c := range []struct {
		name   string
		answer func(*invoke.Call) (*invoke.Result, error)
		want   apitest.Scenario
	}{
		{"bytes", func(*invoke.Call) (*invoke.Result, error) { return &invoke.Result{Body: []byte{0xff}}, nil }, apitest.Scenario{Status: 400, Type: "general_unknown"}},
		{"too slow", func(*invoke.Call) (*invoke.Result, error) { return nil, flint.ErrSynchronousTimeout }, apitest.Scenario{Status: 408, Type: "function_synchronous_timeout"}},
		{"too busy", func(*invoke.Call) (*invoke.Result, error) { return nil, flint.ErrTooBusy }, apitest.Scenario{Status: 503, Type: "general_service_busy", Check: func(t *testing.T, r *http.Response, _ []byte) {
			if r.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}}},
		{"a fault of ours", func(*invoke.Call) (*invoke.Result, error) { return nil, context.DeadlineExceeded }, apitest.Scenario{Status: 500, Type: "general_unknown", Message: "Server Error"}},
	} {
		b.Invoker.Answer = c.answer
		c.want.Name, c.want.As, c.want.Method, c.want.Path = c.name, apitest.Key, "POST", root
		apitest.Run(t, b, []apitest.Scenario{c.want})
	}
	b.Invoker.Answer = nil
}

func (b *bed) oneExecution(t *testing.T, root string) {
	t.Helper()
	all, _, err := b.Store.Executions(t.Context(), apitest.Project, "f", flint.List{Limit: 50})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[flint.ExecutionStatus]string{}
	for _, e := range all {
		ids[e.Status] = string(e.ID)
	}
	apitest.Run(t, b, []apitest.Scenario{
		{Name: "get", As: apitest.Key, Method: "GET", Path: root + "/" + ids["completed"], Status: 200, Want: `{"status":"completed","responseBody":"","logs":"logged"}`},
		{Name: "cancel what is delayed", As: apitest.Key, Method: "DELETE", Path: root + "/" + ids["scheduled"], Status: 204},
		{Name: "it is canceled", As: apitest.Key, Method: "GET", Path: root + "/" + ids["scheduled"], Status: 404, Type: "execution_not_found"},
		{Name: "get what waits", As: apitest.Key, Method: "GET", Path: root + "/" + ids["waiting"], Status: 200, Want: `{"status":"waiting"}`},
		{Name: "delete what waits", As: apitest.Key, Method: "DELETE", Path: root + "/" + ids["waiting"], Status: 400, Type: "execution_in_progress"},
		{Name: "delete", As: apitest.Key, Method: "DELETE", Path: root + "/" + ids["completed"], Status: 204},
		{Name: "it is gone", As: apitest.Key, Method: "GET", Path: root + "/" + ids["completed"], Status: 404, Type: "execution_not_found"},
		{Name: "disable the function", As: apitest.Key, Method: "PUT", Path: "/v1/functions/f", Body: body{"name": "f", "enabled": false}, Status: 200},
		{Name: "guests do not find it", As: apitest.Guest, Method: "POST", Path: root, Status: 404, Type: "function_not_found"},
		{Name: "keys do", As: apitest.Key, Method: "POST", Path: root, Status: 201},
		{Name: "enable it for nobody", As: apitest.Key, Method: "PUT", Path: "/v1/functions/f", Body: body{"name": "f"}, Status: 200},
		{Name: "guests may not", As: apitest.Guest, Method: "POST", Path: root, Status: 401, Type: "user_unauthorized", Message: "No permissions provided for action 'execute'"},
	})
}

func TestVariables(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.function(t, "f")
	b.function(t, "g")
	const root = "/v1/functions/f/variables"
	apitest.Run(t, b, []apitest.Scenario{
		{Name: "secret unless said", As: apitest.Key, Method: "POST", Path: root, Body: body{"variableId": "v1", "key": "A", "value": "1"}, Status: 201, Want: `{"$id":"v1","key":"A","value":"","secret":true,"resourceType":"function","resourceId":"f"}`},
		{Name: "open", As: apitest.Key, Method: "POST", Path: root, Body: body{"variableId": "v2", "key": "B", "value": "", "secret": false}, Status: 201, Want: `{"value":"","secret":false}`},
		{Name: "old clients name no id", As: apitest.Key.With("X-Appwrite-Response-Format", "1.9.3"), Method: "POST", Path: root, Body: body{"key": "C", "value": "3"}, Status: 201, Want: `{"$id":"*"}`},
		{Name: "today's must", As: apitest.Key.With("X-Appwrite-Response-Format", "1.9.5"), Method: "POST", Path: root, Body: body{"key": "D", "value": "3"}, Status: 400, Message: `Param "variableId" is not optional.`},
		{Name: "strict", As: apitest.Key, Method: "POST", Path: root, Body: body{"variableId": "v3", "key": "D", "value": "3", "secret": "true"}, Status: 400, Type: "general_argument_invalid"},
		{Name: "numbers are no texts", As: apitest.Key, Method: "POST", Path: root, Body: body{"variableId": "v3", "key": "D", "value": 3}, Status: 400, Message: "Invalid `value` param: Value must be a valid string and no longer than 8192 chars"},
		{Name: "an id is taken once", As: apitest.Key, Method: "POST", Path: "/v1/functions/g/variables", Body: body{"variableId": "v1", "key": "A", "value": "1"}, Status: 409, Type: "variable_already_exists"},
		{Name: "a key is taken once", As: apitest.Key, Method: "POST", Path: root, Body: body{"variableId": "v4", "key": "A", "value": "1"}, Status: 409, Type: "variable_already_exists"},
		{Name: "the function shows them", As: apitest.Key, Method: "GET", Path: "/v1/functions/f", Status: 200, Want: `{"live":false,"vars":[{"value":""},{"value":""},{"value":""}]}`},
		{Name: "list", As: apitest.Key, Method: "GET", Path: root + `?queries[]={"method":"equal","attribute":"key","values":["B"]}`, Status: 200, Want: `{"total":1,"variables":[{"$id":"v2"}]}`},
		{Name: "get", As: apitest.Key, Method: "GET", Path: root + "/v2", Status: 200, Want: `{"key":"B"}`},
		{Name: "get from another function", As: apitest.Key, Method: "GET", Path: "/v1/functions/g/variables/v2", Status: 404, Type: "variable_not_found"},
		{Name: "update one thing", As: apitest.Key, Method: "PUT", Path: root + "/v2", Body: body{"value": "two"}, Status: 200, Want: `{"key":"B","value":"two","secret":false}`},
		{Name: "update nothing", As: apitest.Key, Method: "PUT", Path: root + "/v2", Body: "[]", Status: 400, Type: "general_argument_invalid"},
		{Name: "hide it", As: apitest.Key, Method: "PUT", Path: root + "/v2", Body: body{"secret": true, "key": nil}, Status: 200, Want: `{"key":"B","value":"","secret":true}`},
		{Name: "show it again", As: apitest.Key, Method: "PUT", Path: root + "/v2", Body: body{"secret": false}, Status: 400, Type: "variable_cannot_unset_secret"},
		{Name: "delete", As: apitest.Key, Method: "DELETE", Path: root + "/v2", Status: 204},
		{Name: "delete again", As: apitest.Key, Method: "DELETE", Path: root + "/v2", Status: 404, Type: "variable_not_found"},
	})
}
