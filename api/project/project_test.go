package project_test

import (
	"testing"

	"flint"
	"flint/api/apitest"
	"flint/api/project"
)

type body = map[string]any

func TestVariables(t *testing.T) {
	t.Parallel()
	b := apitest.New(t)
	ctx := t.Context()
	for _, err := range []error{
		b.Store.CreateFunction(ctx, &flint.Function{Project: apitest.Project, ID: "f", Live: true}, nil),
		b.Store.CreateVariable(ctx, &flint.Variable{Project: apitest.Project, ID: "own", Function: "f", Key: "A", Value: "function"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const root = "/v1/project/variables"
	apitest.Run(t, b.Serve(project.New(b.Store).Routes()), []apitest.Scenario{
		{Name: "secret unless said", As: apitest.Key, Method: "POST", Path: root, Body: body{"variableId": "v1", "key": "A", "value": "1"}, Status: 201, Want: `{"$id":"v1","key":"A","value":"","secret":true,"resourceType":"project","resourceId":""}`},
		{Name: "open", As: apitest.Key, Method: "POST", Path: root, Body: body{"variableId": "v2", "key": "B", "value": "2", "secret": false}, Status: 201, Want: `{"value":"2","secret":false}`},
		{Name: "an id that a function's has", As: apitest.Key, Method: "POST", Path: root, Body: body{"variableId": "own", "key": "C", "value": ""}, Status: 409, Type: "variable_already_exists"},
		{Name: "a key that is taken", As: apitest.Key, Method: "POST", Path: root, Body: body{"variableId": "v3", "key": "A", "value": ""}, Status: 409, Type: "variable_already_exists"},
		{Name: "of an older client", As: apitest.Key.With("X-Appwrite-Response-Format", "1.6.0"), Method: "POST", Path: root, Body: body{"key": "C", "value": "3"}, Status: 201, Want: `{"$id":"*","value":"3"}`},
		{Name: "list", As: apitest.Key, Method: "GET", Path: root + `?queries[]={"method":"equal","attribute":"resourceType","values":["project"]}&queries[]={"method":"equal","attribute":"key","values":["B"]}`, Status: 200, Want: `{"total":1,"variables":[{"$id":"v2"}]}`},
		{Name: "list without a total", As: apitest.Key, Method: "GET", Path: root + "?total=false", Status: 200, Want: `{"total":0,"variables":["*","*","*"]}`},
		{Name: "get", As: apitest.Key, Method: "GET", Path: root + "/v1", Status: 200, Want: `{"key":"A","value":""}`},
		{Name: "a function's is not the project's", As: apitest.Key, Method: "GET", Path: root + "/own", Status: 404, Type: "variable_not_found"},
		{Name: "update", As: apitest.Key, Method: "PUT", Path: root + "/v2", Body: body{"value": "two"}, Status: 200, Want: `{"key":"B","value":"two"}`},
		{Name: "update nothing", As: apitest.Key, Method: "PUT", Path: root + "/v2", Body: "[]", Status: 400, Type: "general_argument_invalid"},
		{Name: "hide it", As: apitest.Key, Method: "PUT", Path: root + "/v2", Body: body{"secret": true}, Status: 200, Want: `{"value":"","secret":true}`},
		{Name: "show it again", As: apitest.Key, Method: "PUT", Path: root + "/v2", Body: body{"secret": false}, Status: 400, Type: "variable_cannot_unset_secret"},
		{Name: "delete", As: apitest.Key, Method: "DELETE", Path: root + "/v2", Status: 204},
		{Name: "delete again", As: apitest.Key, Method: "DELETE", Path: root + "/v2", Status: 404, Type: "variable_not_found"},
		{Name: "guests may not", As: apitest.Guest, Method: "GET", Path: root, Status: 401, Type: "general_unauthorized_scope"},
	})
	f, err := b.Store.Function(ctx, apitest.Project, "f")
	if err != nil || f.Live {
		t.Errorf("the function does not say that its variables changed: %v, %v", f, err)
	}
}
