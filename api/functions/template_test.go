package functions_test

import (
	"testing"

	"flint/api/apitest"
)

func TestTemplates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const root = "/v1/functions/templates"
	apitest.Run(t, b, []apitest.Scenario{
		{Name: "the best first", As: apitest.Guest, Method: "GET", Path: root + "?limit=2", Status: 200, Want: `{"total":41,"templates":[{"id":"mcp-server","timeout":30,"providerVersion":"1.1.0"},{"id":"payments-with-stripe","timeout":15,"providerVersion":"1.0.1"}]}`},
		{Name: "of a use", As: apitest.Key, Method: "GET", Path: root + "?useCases[]=starter", Status: 200, Want: `{"total":1,"templates":[{"id":"starter","name":"Starter function","useCases":["starter"],"scopes":["users.read"],"permissions":["any"],"vcsProvider":"github","events":[],"cron":"","variables":[]}]}`},
		{Name: "of a runtime and a use", As: apitest.Key, Method: "GET", Path: root + "?runtimes[]=python-3.12&useCases[]=messaging&useCases[]=starter", Status: 200, Want: `{"total":3}`},
		{Name: "the end", As: apitest.Key, Method: "GET", Path: root + "?offset=40&total=false", Status: 200, Want: `{"total":0,"templates":["*"]}`},
		{Name: "beyond it", As: apitest.Key, Method: "GET", Path: root + "?offset=5000&limit=5000", Status: 200, Want: `{"total":41,"templates":[]}`},
		{Name: "one", As: apitest.Nobody, Method: "GET", Path: root + "/prompt-chatgpt", Status: 200, Want: `{"id":"prompt-chatgpt","variables":[{"name":"OPENAI_API_KEY","required":true,"type":"password"},{"name":"OPENAI_MAX_TOKENS","required":false,"type":"number"}]}`},
		{Name: "none", As: apitest.Key, Method: "GET", Path: root + "/nope", Status: 404, Type: "function_template_not_found"},
	})
}
