package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"flint"
	"flint/api"
	"flint/api/apitest"
	"flint/api/delivery"
	"flint/api/domains"
	apiexplain "flint/api/explain"
	"flint/api/functions"
	"flint/api/health"
	"flint/api/project"
	"flint/api/proxyrules"
	"flint/api/scaling"
	"flint/api/schedules"
	"flint/api/tail"
	"flint/api/webhooks"
	"flint/auth"
	"flint/explain"
	"flint/feed"
	"flint/invoke"
	"flint/store"
)

var update = flag.Bool("update", false, "rewrite golden files")

// example is what the table test needs to know of an endpoint. Every endpoint has one, with a bad value for each of its
// parameters that can be wrong.
type example struct {
	path    map[string]string // placeholders that name something
	params  map[string]any    // the fewest that are right
	bad     map[string]any    // for each parameter a value that is not
	unknown map[string]string // for each placeholder the error of one that names nothing
	status  int               // when all is right; 0: the endpoint's
}

func examples() map[string]example {
	const function, deployment, execution, variable = "function_not_found", "deployment_not_found", "execution_not_found", "variable_not_found"
	long := strings.Repeat("x", 20_000)
	many := make([]string, 201)
	one := map[string]any{"functionId": "-x"}
	with := func(bad map[string]any) map[string]any { maps.Copy(bad, one); return bad }
	settings := func(more map[string]any) map[string]any {
		bad := map[string]any{
			"name": "", "execute": []string{"role:all"}, "events": []string{"functions.*"}, "schedule": "x", "timeout": 901, "enabled": "true",
			"logging": 1, "entrypoint": long, "commands": long, "scopes": many, "installationId": long, "providerRepositoryId": long,
			"providerBranch": long, "providerSilentMode": "no", "providerRootDirectory": long, "providerBranches": []string{""},
			"providerPaths": "x", "buildSpecification": "s-1", "runtimeSpecification": 1, "deploymentRetention": -1, "runtime": "node-1",
		}
		maps.Copy(bad, more)
		return bad
	}
	list := func(bad map[string]any) map[string]any {
		bad["queries"], bad["total"] = "{", "maybe"
		return bad
	}
	of := func(more ...string) map[string]string { // errors of unknown things, by placeholder
		m := map[string]string{"functionId": function}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	f, rule := map[string]string{"functionId": "f"}, map[string]string{"ruleId": "r"}
	fd, fe, fv := map[string]string{"functionId": "f", "deploymentId": "d"}, map[string]string{"functionId": "f", "executionId": "e"}, map[string]string{"functionId": "f", "variableId": "v"}
	pv, dead, w := map[string]string{"variableId": "pv"}, map[string]string{"functionId": "f", "executionId": "dead"}, map[string]string{"webhookId": "w"}
	hook := func(more map[string]any) map[string]any {
		more["name"], more["url"], more["events"] = "n", "https://x.y", []string{"rules.*"}
		return more
	}
	badHook := func(more map[string]any) map[string]any {
		more["name"], more["url"], more["events"], more["enabled"], more["tls"] = "", "ftp://x.y", []string{"webhooks.*"}, "maybe", "maybe"
		more["authUsername"], more["authPassword"] = long, long
		return more
	}
	return map[string]example{
		"health.get":        {},
		"health.getVersion": {},
		"openapi.get":       {},

		"project.listVariables":  {bad: list(map[string]any{})},
		"project.createVariable": {params: map[string]any{"variableId": "new", "key": "k", "value": "v"}, bad: map[string]any{"variableId": "-x", "key": "", "value": 1, "secret": "x"}},
		"project.getVariable":    {path: pv, bad: map[string]any{"variableId": "-x"}, unknown: of("variableId", variable)},
		"project.updateVariable": {path: pv, params: map[string]any{"value": "w"}, bad: map[string]any{"variableId": "-x", "key": 1, "value": 1, "secret": "x"}, unknown: of("variableId", variable)},
		"project.deleteVariable": {path: pv, bad: map[string]any{"variableId": "-x"}, unknown: of("variableId", variable)},

		"flint.getFunctionDomain": {path: f, bad: one, unknown: of()},
		"flint.updateFunctionDomain": {path: f, unknown: of(), bad: with(map[string]any{
			"identifyCallers": "x", "corsOrigins": []string{"x"}, "corsMethods": []string{"G T"}, "corsHeaders": []string{"a:b"}, "corsExposedHeaders": []string{""},
			"corsCredentials": 2, "corsMaxAge": -1,
		})},
		"flint.getFunctionScaling": {path: f, bad: one, unknown: of()},
		"flint.updateFunctionScaling": {path: f, params: map[string]any{"minWarm": 1, "maxWorkers": 4, "keepAlive": 300}, unknown: of(), bad: with(map[string]any{
			"minWarm": 5, "maxWorkers": 1001, "callsPerWorker": -1, "keepAlive": "5m",
		})},
		"flint.getFunctionDelivery": {path: f, bad: one, unknown: of()},
		"flint.updateFunctionDelivery": {path: f, params: map[string]any{"maxAttempts": 3, "retryOn": []string{"crash"}, "deadLetters": true}, unknown: of(), bad: with(map[string]any{
			"maxAttempts": 101, "retryOn": []string{"answered"}, "minBackoff": 301, "maxBackoff": 86401, "maxAge": -1, "deadLetters": "x", "maxConcurrent": 1001,
		})},
		"flint.listDeadLetters":       {path: f, bad: with(map[string]any{"limit": 0, "after": long}), unknown: of()},
		"flint.purgeDeadLetters":      {path: f, bad: one, unknown: of()},
		"flint.getDeadLetter":         {path: dead, bad: with(map[string]any{"executionId": "-x"}), unknown: of("executionId", "dead_letter_not_found")},
		"flint.deleteDeadLetter":      {path: dead, bad: with(map[string]any{"executionId": "-x"}), unknown: of("executionId", "dead_letter_not_found")},
		"flint.redriveDeadLetter":     {path: dead, bad: with(map[string]any{"executionId": "-x"}), unknown: of("executionId", "dead_letter_not_found"), status: 404}, // nothing is deployed
		"flint.cancelExecution":       {path: fe, bad: with(map[string]any{"executionId": "-x"}), unknown: of("executionId", execution), status: 409},                 // it has ended
		"flint.listExecutionAttempts": {path: fe, bad: with(map[string]any{"executionId": "-x"}), unknown: of("executionId", execution)},

		"flint.explain": {path: map[string]string{"id": "e"}, bad: map[string]any{"id": "-x"}, unknown: map[string]string{"id": "explain_not_found"}},

		"flint.getFunctionSchedule": {path: f, bad: one, unknown: of()},
		"flint.updateFunctionSchedule": {path: f, params: map[string]any{"missed": "all", "missedLimit": 3, "missedAge": 600, "jitter": 30}, unknown: of(), bad: with(map[string]any{
			"paused": 2, "missed": "some", "missedLimit": 1001, "missedAge": -1, "overlap": "x", "jitter": "5m",
		})},
		"flint.tail": {params: map[string]any{"duration": 1}, bad: map[string]any{
			"functions": "-x", "statuses": "waiting", "triggers": "x", "text": strings.Repeat("x", 257), "logs": "maybe", "duration": -1,
		}},
		"flint.getExecutionReceipt": {path: fe, bad: with(map[string]any{"executionId": "-x"}), unknown: of("executionId", execution)},

		"webhooks.list":         {bad: list(map[string]any{})},
		"webhooks.create":       {params: hook(map[string]any{"webhookId": "new"}), bad: badHook(map[string]any{"webhookId": "-x", "secret": "short"})},
		"webhooks.get":          {path: w, bad: map[string]any{"webhookId": "-x"}, unknown: map[string]string{"webhookId": "webhook_not_found"}},
		"webhooks.update":       {path: w, params: hook(map[string]any{}), bad: badHook(map[string]any{"webhookId": "-x"}), unknown: map[string]string{"webhookId": "webhook_not_found"}},
		"webhooks.delete":       {path: w, bad: map[string]any{"webhookId": "-x"}, unknown: map[string]string{"webhookId": "webhook_not_found"}},
		"webhooks.updateSecret": {path: w, bad: map[string]any{"webhookId": "-x", "secret": "short"}, unknown: map[string]string{"webhookId": "webhook_not_found"}},

		"proxy.listRules":          {bad: list(map[string]any{"search": strings.Repeat("x", 257)})},
		"proxy.createAPIRule":      {params: map[string]any{"domain": "a.functions.test"}, bad: map[string]any{"domain": "https://x.y"}},
		"proxy.createFunctionRule": {params: map[string]any{"domain": "a.functions.test", "functionId": "f"}, bad: with(map[string]any{"domain": "1.2.3.4", "branch": long})},
		"proxy.createSiteRule":     {params: map[string]any{"domain": "a.functions.test", "siteId": "s"}, bad: map[string]any{"domain": "x", "siteId": "-x", "branch": long}, status: 404},
		"proxy.createRedirectRule": {
			params: map[string]any{"domain": "a.functions.test", "url": "https://x.y", "statusCode": 301, "resourceId": "f", "resourceType": "function"},
			bad:    map[string]any{"domain": "a/b.c", "url": "javascript:x", "statusCode": 303, "resourceId": "-x", "resourceType": "team"},
		},
		"proxy.getRule":          {path: rule, bad: map[string]any{"ruleId": "-x"}, unknown: map[string]string{"ruleId": "rule_not_found"}},
		"proxy.deleteRule":       {path: rule, bad: map[string]any{"ruleId": "-x"}, unknown: map[string]string{"ruleId": "rule_not_found"}},
		"proxy.updateRuleStatus": {path: rule, bad: map[string]any{"ruleId": "-x"}, unknown: map[string]string{"ruleId": "rule_not_found"}},

		"functions.list":               {bad: list(map[string]any{"search": strings.Repeat("x", 257)})},
		"functions.create":             {params: map[string]any{"functionId": "new", "name": "n", "runtime": "node-22"}, bad: settings(map[string]any{"functionId": "_x"})},
		"functions.listRuntimes":       {},
		"functions.listSpecifications": {bad: map[string]any{"type": "x"}},
		"functions.listTemplates":      {bad: map[string]any{"runtimes": "node-1", "useCases": "x", "limit": 0, "offset": -1, "total": "x"}},
		"functions.getTemplate":        {path: map[string]string{"templateId": "starter"}, bad: map[string]any{"templateId": strings.Repeat("x", 129)}, unknown: map[string]string{"templateId": "function_template_not_found"}},
		"functions.get":                {path: f, bad: one, unknown: of()},
		"functions.update":             {path: f, params: map[string]any{"name": "n"}, bad: settings(one), unknown: of()},
		"functions.delete":             {path: f, bad: one, unknown: of()},
		"functions.updateFunctionDeployment": {
			path: f, params: map[string]any{"deploymentId": "d"}, bad: with(map[string]any{"deploymentId": "a/b"}), unknown: of(), status: 400, // not built
		},
		"functions.listDeployments":           {path: f, bad: with(list(map[string]any{})), unknown: of()},
		"functions.createDeployment":          {path: f, params: map[string]any{"activate": true, "code": apitest.File{Name: "c.tar.gz", Content: "x"}}, bad: with(map[string]any{"activate": "x", "entrypoint": "", "commands": long}), unknown: of()},
		"functions.getDeployment":             {path: fd, bad: with(map[string]any{"deploymentId": "-x"}), unknown: of("deploymentId", deployment)},
		"functions.deleteDeployment":          {path: fd, bad: with(map[string]any{"deploymentId": "-x"}), unknown: of("deploymentId", deployment)},
		"functions.updateDeploymentStatus":    {path: fd, bad: with(map[string]any{"deploymentId": "-x"}), unknown: of("deploymentId", deployment)},
		"functions.createDuplicateDeployment": {path: f, params: map[string]any{"deploymentId": "d"}, bad: with(map[string]any{"deploymentId": "-x", "buildId": long}), unknown: of()},
		"functions.createTemplateDeployment": {
			path: f, params: map[string]any{"repository": "r", "owner": "o", "rootDirectory": "d", "type": "tag", "reference": "1"}, unknown: of(), status: 404, // there is no installation
			bad: with(map[string]any{"repository": long, "owner": 1, "rootDirectory": long, "type": "x", "reference": long, "activate": "true"}),
		},
		"functions.createVcsDeployment": {
			path: f, params: map[string]any{"type": "branch", "reference": "main"}, unknown: of(), status: 404,
			bad: with(map[string]any{"type": "tag", "reference": "", "activate": 1}),
		},
		"functions.getDeploymentDownload": {path: fd, bad: with(map[string]any{"deploymentId": "-x", "type": "x", "token": long}), unknown: of("deploymentId", deployment)},
		"functions.listExecutions":        {path: f, bad: with(list(map[string]any{})), unknown: of()},
		"functions.createExecution": {
			path: f, unknown: of(), status: 404, // nothing is deployed
			bad: with(map[string]any{"body": 1, "async": "x", "path": "", "method": "get", "headers": map[string]string{"x-appwrite-x": "y"}, "scheduledAt": long}),
		},
		"functions.getExecution":    {path: fe, bad: with(map[string]any{"executionId": "-x"}), unknown: of("executionId", execution)},
		"functions.deleteExecution": {path: fe, bad: with(map[string]any{"executionId": "-x"}), unknown: of("executionId", execution)},
		"functions.listVariables":   {path: f, bad: with(list(map[string]any{})), unknown: of()},
		"functions.createVariable":  {path: f, params: map[string]any{"variableId": "new", "key": "k", "value": "v"}, bad: with(map[string]any{"variableId": "-x", "key": "", "value": 1, "secret": "x"}), unknown: of()},
		"functions.getVariable":     {path: fv, bad: with(map[string]any{"variableId": "-x"}), unknown: of("variableId", variable)},
		"functions.updateVariable":  {path: fv, params: map[string]any{"value": "w"}, bad: with(map[string]any{"variableId": "-x", "key": 1, "value": 1, "secret": "x"}), unknown: of("variableId", variable)},
		"functions.deleteVariable":  {path: fv, bad: with(map[string]any{"variableId": "-x"}), unknown: of("variableId", variable)},
	}
}

// platform returns the API of every service, on a store with one of everything.
func platform(t *testing.T) *api.API {
	t.Helper()
	b := apitest.New(t)
	ctx := t.Context()
	source, _, err := b.Blobs.Put(ctx, strings.NewReader("source"))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		b.Store.CreateFunction(ctx, &flint.Function{Project: apitest.Project, ID: "f", Name: "f", Runtime: "node-22", Entrypoint: "i.js", Enabled: true}, nil),
		b.Store.CreateDeployment(ctx, &flint.Deployment{Project: apitest.Project, ID: "d", Function: "f", Runtime: "node-22", Status: flint.DeploymentWaiting, SourceDigest: source}),
		b.Store.AppendExecution(ctx, &flint.Execution{Project: apitest.Project, ID: "e", Function: "f", Status: flint.ExecutionCompleted, Receipt: &flint.Receipt{}}),
		b.Store.CreateVariable(ctx, &flint.Variable{Project: apitest.Project, ID: "v", Function: "f", Key: "a"}),
		b.Store.CreateVariable(ctx, &flint.Variable{Project: apitest.Project, ID: "pv", Key: "a"}),
		b.Store.CreateWebhook(ctx, &flint.Webhook{Project: apitest.Project, ID: "w", Name: "w", URL: "https://x.y", Events: []string{"rules.*"}}),
		b.Store.CreateRule(ctx, &flint.Rule{Project: apitest.Project, ID: "r", Function: "f", Domain: "r.functions.test"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := dieOnce(ctx, b.Store, "dead"); err != nil {
		t.Fatal(err)
	}
	s := functions.New(functions.Config{Store: b.Store, Invoker: b.Invoker, Builder: b.Builder, Uploads: b.Uploads, Blobs: b.Blobs, Signer: b.Signer, Runtimes: b.Runtimes, Logger: b.Logger})
	rules := proxyrules.New(proxyrules.Config{Store: b.Store, Logger: b.Logger, Resolver: proxyrules.NewResolver("127.0.0.1:1"), Domain: "functions.test"})
	return b.Serve(s.Routes(), project.New(b.Store).Routes(), rules.Routes(), domains.New(domains.Config{Store: b.Store}).Routes(), scaling.New(scaling.Config{Store: b.Store, MaxWorkers: 64}).Routes(),
		apiexplain.New(explain.New(explain.Config{Store: b.Store})).Routes(),
		delivery.New(delivery.Config{
			Store: b.Store,
			Cancel: func(ctx context.Context, p flint.ProjectID, f flint.FunctionID, e flint.ExecutionID) (*flint.Execution, error) {
				return b.Store.CancelExecution(ctx, p, f, e, "canceled")
			},
			Redrive: func(ctx context.Context, d *flint.DeadLetter) (*flint.Execution, error) {
				return b.Invoker.Enqueue(ctx, &invoke.Call{Project: d.Project, Function: d.Function, Caller: invoke.Caller{Privileged: true}})
			},
		}).Routes(), schedules.New(schedules.Config{Store: b.Store}).Routes(), webhooks.New(webhooks.Config{Store: b.Store}).Routes(),
		tail.New(tail.Config{Store: b.Store, Feed: &feed.Feed{}}).Routes(), health.New(health.Config{}).Routes())
}

// dieOnce makes a dead letter of function f.
func dieOnce(ctx context.Context, db *store.Store, id flint.ExecutionID) error {
	if _, err := db.UpdateFunction(ctx, apitest.Project, "f", func(f *flint.Function) error { f.Delivery.DeadLetters = true; return nil }); err != nil {
		return err
	}
	e := &flint.Execution{Project: apitest.Project, ID: id, Function: "f", Trigger: flint.TriggerHTTP}
	if err := db.EnqueueExecution(ctx, e, &store.QueuedCall{Method: "GET", Path: "/"}); err != nil {
		return err
	}
	claims, err := db.ClaimExecutions(ctx, "n", time.Minute, 1)
	if err != nil {
		return err
	}
	e = claims[0].Execution
	e.Status, e.StatusCode = flint.ExecutionFailed, 500
	_, err = db.FinishExecution(ctx, e, store.Ending{Attempt: 1, Outcome: flint.OutcomeError})
	return err
}

// call sends params to an endpoint the way its method wants them.
func call(t *testing.T, a *api.API, as apitest.Actor, e api.Endpoint, path map[string]string, params map[string]any) (int, string, string) {
	t.Helper()
	target := e.Path
	for name, value := range path {
		target = strings.ReplaceAll(target, "{"+name+"}", strings.ReplaceAll(value, "/", "%2F"))
	}
	target = strings.NewReplacer("{functionId}", "f", "{deploymentId}", "d", "{executionId}", "e", "{variableId}", "v", "{templateId}", "starter", "{ruleId}", "r", "{id}", "e", "{webhookId}", "w").Replace(target)
	var body any
	hasFile := slices.ContainsFunc(e.Params, func(p api.Param) bool { return p.Type == "file" })
	switch {
	case e.Method == http.MethodGet:
		separator := "?"
		for name, value := range params {
			if slices.ContainsFunc(e.Params, func(p api.Param) bool { return p.Name == name && p.Type == "array" }) {
				name += "[]"
			}
			target += separator + name + "=" + fmt.Sprint(value)
			separator = "&"
		}
	case hasFile:
		form := apitest.Form{}
		for _, name := range slices.Sorted(maps.Keys(params)) {
			form = append(form, apitest.Field{Name: name, Value: params[name]})
		}
		body = form
	case params != nil:
		body = params
	}
	w := apitest.Send(t, a, as, e.Method, target, "", body)
	var answer struct{ Type, Message string }
	if w.Body.Len() > 0 && strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%v: %s", err, w.Body)
		}
	}
	return w.Code, answer.Type, answer.Message
}

func TestEveryEndpoint(t *testing.T) {
	t.Parallel()
	table := examples()
	for _, e := range platform(t).Endpoints() {
		x, ok := table[e.Name]
		if !ok {
			t.Errorf("%s has no example", e.Name)
			continue
		}
		delete(table, e.Name)
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			a := platform(t)
			refusals(t, a, e)
			mistakes(t, a, e, x)
			want := x.status
			if want == 0 {
				want = e.Status
			}
			if status, typ, message := call(t, a, apitest.Key, e, x.path, x.params); status != want {
				t.Errorf("with everything right: %d %s %s, want %d", status, typ, message, want)
			}
		})
	}
	for name := range table {
		t.Errorf("there is an example of %s, which is no endpoint", name)
	}
}

// refusals tries an endpoint with the wrong credentials.
func refusals(t *testing.T, a *api.API, e api.Endpoint) {
	t.Helper()
	open := slices.Contains(e.Scopes, auth.Public)
	if e.Callers == auth.Unidentified && !open {
		t.Error("nobody is identified and yet scopes are needed")
	}
	guests := slices.Contains(e.Scopes, "executions.write")
	every := open || slices.Contains(e.Scopes, "health.read")
	for _, c := range []struct {
		name  string
		as    apitest.Actor
		admit bool
		want  string
	}{
		{"no credentials", apitest.Nobody, open, map[bool]string{true: "general_access_forbidden", false: "general_unauthorized_scope"}[guests]},
		{"a guest", apitest.Guest, open || guests, "general_unauthorized_scope"},
		{"a key without scopes", apitest.NoScope, every, "general_unauthorized_scope"},
		{"an unknown key", apitest.Guest.With("X-Appwrite-Key", "standard_x"), e.Callers == auth.Unidentified, "user_unauthorized"},
		{"a key without a project", apitest.Nobody.With("X-Appwrite-Key", "standard_full"), e.Callers == auth.Unidentified, "project_id_missing"},
		{"an unknown project", apitest.Nobody.With("X-Appwrite-Project", "nope"), e.Callers == auth.Unidentified, "project_not_found"},
		{"a bad JWT", apitest.Guest.With("X-Appwrite-JWT", "x"), e.Callers == auth.Unidentified, "user_jwt_invalid"},
	} {
		status, typ, message := call(t, a, c.as, e, nil, nil)
		switch {
		case c.admit && (status == http.StatusUnauthorized && typ != "user_unauthorized" || status == http.StatusForbidden):
			t.Errorf("%s is refused: %d %s %s", c.name, status, typ, message)
		case !c.admit && typ != c.want:
			t.Errorf("%s: %d %s, want %s", c.name, status, typ, c.want)
		}
	}
}

// mistakes tries an endpoint with things that do not exist, with parameters that are missing and with bad ones.
func mistakes(t *testing.T, a *api.API, e api.Endpoint, x example) {
	t.Helper()
	for _, p := range e.Params {
		if p.In == "path" {
			want, ok := x.unknown[p.Name]
			if !ok {
				t.Errorf("the example does not say what an unknown %s gives", p.Name)
			}
			path := maps.Clone(x.path)
			path[p.Name] = "nope"
			if status, typ, _ := call(t, a, apitest.Key, e, path, x.params); typ != want {
				t.Errorf("unknown %s: %d %s, want %s", p.Name, status, typ, want)
			}
		} else if p.Required && p.Type != "file" {
			params := maps.Clone(x.params)
			delete(params, p.Name)
			status, typ, message := call(t, a, apitest.Key, e, x.path, params)
			if want := `Param "` + p.Name + `" is not optional.`; status != 400 || typ != "general_argument_invalid" || message != want {
				t.Errorf("without %s: %d %s %s", p.Name, status, typ, message)
			}
		}
		bad, ok := x.bad[p.Name]
		if !ok {
			if p.Type != "file" && p.Name != "search" {
				t.Errorf("the example has no bad %s", p.Name)
			}
			continue
		}
		path, params := maps.Clone(x.path), maps.Clone(x.params)
		if params == nil {
			params = map[string]any{}
		}
		if p.In == "path" {
			path[p.Name] = fmt.Sprint(bad)
		} else {
			params[p.Name] = bad
		}
		status, typ, message := call(t, a, apitest.Key, e, path, params)
		if status != 400 || typ != "general_argument_invalid" || !strings.HasPrefix(message, "Invalid `"+p.Name+"` param: ") {
			t.Errorf("bad %s: %d %s %s", p.Name, status, typ, message)
		}
	}
}

// TestErrors holds every error of the nouns against the reference's table of types and statuses.
func TestErrors(t *testing.T) {
	t.Parallel()
	file, err := os.Open("testdata/errors.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // read only
	reference := map[string]string{}
	for s := bufio.NewScanner(file); s.Scan(); {
		typ, status, _ := strings.Cut(s.Text(), " ")
		reference[typ] = status
	}
	for _, known := range []*flint.Error{
		flint.ErrUnknown, flint.ErrInvalidArgument, flint.ErrInvalidQuery, flint.ErrCursorNotFound, flint.ErrBadRequest, flint.ErrUnauthorizedScope,
		flint.ErrAccessForbidden, flint.ErrRouteNotFound, flint.ErrRateLimited, flint.ErrUserUnauthorized, flint.ErrInvalidJWT, flint.ErrFileEmpty,
		flint.ErrFileTypeUnsupported, flint.ErrInvalidFile, flint.ErrInvalidContentRange, flint.ErrInvalidRange, flint.ErrProjectNotFound,
		flint.ErrProjectIDMissing, flint.ErrKeyExpired, flint.ErrFunctionNotFound, flint.ErrFunctionExists, flint.ErrRuntimeUnsupported, flint.ErrTemplateNotFound,
		flint.ErrEntrypointMissing, flint.ErrSynchronousTimeout, flint.ErrAsynchronousTimeout, flint.ErrNoExecutePermission, flint.ErrInstallationNotFound,
		flint.ErrDeploymentNotFound, flint.ErrDeploymentSize, flint.ErrBuildNotReady, flint.ErrBuildCompleted, flint.ErrBuildFailed, flint.ErrBuildCanceled,
		flint.ErrExecutionNotFound, flint.ErrExecutionInProgress, flint.ErrVariableNotFound, flint.ErrVariableExists, flint.ErrVariableUnsetSecret,
		flint.ErrRuleNotFound, flint.ErrRuleExists, flint.ErrRuleResource, flint.ErrRuleVerify,
		flint.ErrWebhookNotFound, flint.ErrWebhookExists,
	} {
		want, ok := reference[known.Type]
		if got := fmt.Sprint(api.Status(known)); !ok || got != want {
			t.Errorf("%s has status %s, the reference says %q", known.Type, got, want)
		}
	}
	if got := api.Status(api.ErrNotImplemented); got != http.StatusNotImplemented {
		t.Errorf("%v has status %d", api.ErrNotImplemented, got)
	}
	for k := flint.Internal; k <= flint.TooLarge; k++ {
		if api.Status(&flint.Error{Kind: k}) < 400 {
			t.Errorf("kind %d has no status", k)
		}
	}
}

// TestRoutes holds the table of endpoints against the reference's.
func TestRoutes(t *testing.T) {
	t.Parallel()
	var got []string
	for _, e := range platform(t).Endpoints() {
		for _, path := range append([]string{e.Path}, e.Aliases...) {
			got = append(got, fmt.Sprintf("%s %s %d %s", e.Method, path, e.Status, strings.Join(e.Scopes, ",")))
		}
	}
	golden(t, "testdata/routes.txt", strings.Join(got, "\n")+"\n")
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), rewrite with -update if it is meant:\n%s", file, diff)
	}
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	a := platform(t)
	w := apitest.Send(t, a, apitest.Nobody, "GET", "/v1/openapi.json", "", nil)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	doc, err := openapi3.NewLoader().LoadFromData(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	for _, e := range a.Endpoints() {
		item := doc.Paths.Value(e.Path)
		if item == nil || item.GetOperation(e.Method) == nil {
			t.Errorf("%s %s is not described", e.Method, e.Path)
			continue
		}
		if op := item.GetOperation(e.Method); op.OperationID != e.Name || op.Responses.Status(e.Status) == nil {
			t.Errorf("%s is described as %s", e.Name, op.OperationID)
		}
	}
}
