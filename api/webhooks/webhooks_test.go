package webhooks_test

import (
	"maps"
	"net/netip"
	"testing"

	"flint/api/apitest"
	"flint/api/webhooks"
	"flint/internal/outward"
)

type body = map[string]any

func hook(id string, more body) body {
	b := body{"webhookId": id, "name": "Hook", "url": "https://example.com/hook", "events": []string{"rules.*.create", "functions.*"}}
	maps.Copy(b, more)
	return b
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	b := apitest.New(t)
	const root, older = "/v1/webhooks", "/v1/projects/demo/webhooks"
	old := apitest.Key.With("X-Appwrite-Response-Format", "1.9.0")
	oldest := apitest.Key.With("X-Appwrite-Response-Format", "1.4.0")
	policy := outward.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	apitest.Run(t, b.Serve(webhooks.New(webhooks.Config{Store: b.Store, Check: policy.Check}).Routes()), []apitest.Scenario{
		{
			Name: "create", As: apitest.Key, Method: "POST", Path: root, Body: hook("w1", nil), Status: 201,
			Want: `{"$id":"w1","$createdAt":"*","$updatedAt":"*","name":"Hook","url":"https://example.com/hook","events":["rules.*.create","functions.*"],"tls":false,"authUsername":"","authPassword":"","secret":"*","enabled":true,"logs":"","attempts":0}`,
		},
		{Name: "an id that is taken", As: apitest.Key, Method: "POST", Path: root, Body: hook("w1", nil), Status: 409, Type: "webhook_already_exists"},
		{Name: "with everything", As: apitest.Key, Method: "POST", Path: root, Body: hook("w2", body{"tls": true, "authUsername": "me", "authPassword": "pass", "secret": "12345678", "enabled": false}), Status: 201, Want: `{"tls":true,"authUsername":"me","authPassword":"pass","secret":"12345678","enabled":false}`},
		{Name: "of an older client", As: old, Method: "POST", Path: older, Body: hook("unique()", body{"security": true, "httpUser": "me", "httpPass": "pass"}), Status: 201, Want: `{"security":true,"httpUser":"me","httpPass":"pass","signatureKey":"*","attempts":0}`},
		{Name: "an unknown event", As: apitest.Key, Method: "POST", Path: root, Body: hook("w", body{"events": []string{"webhooks.*"}}), Status: 400, Type: "general_argument_invalid"},
		{Name: "no scheme", As: apitest.Key, Method: "POST", Path: root, Body: hook("w", body{"url": "example.com"}), Status: 400, Type: "general_argument_invalid"},
		{Name: "another scheme", As: apitest.Key, Method: "POST", Path: root, Body: hook("w", body{"url": "gopher://example.com"}), Status: 400, Type: "general_argument_invalid"},
		{Name: "this machine", As: apitest.Key, Method: "POST", Path: root, Body: hook("w", body{"url": "http://127.0.0.1:80"}), Status: 400, Type: "general_argument_invalid"},
		{Name: "this machine by name", As: apitest.Key, Method: "POST", Path: root, Body: hook("w", body{"url": "http://LOCALHOST."}), Status: 400, Type: "general_argument_invalid"},
		{Name: "this machine in IPv6", As: apitest.Key, Method: "POST", Path: root, Body: hook("w", body{"url": "http://[::ffff:127.0.0.1]/"}), Status: 400, Type: "general_argument_invalid"},
		{Name: "metadata", As: apitest.Key, Method: "POST", Path: root, Body: hook("w", body{"url": "http://169.254.169.254/"}), Status: 400, Type: "general_argument_invalid"},
		{Name: "a private network that is allowed", As: apitest.Key, Method: "POST", Path: root, Body: hook("w3", body{"url": "http://10.0.0.1/"}), Status: 201},
		{Name: "a name that need not be there", As: apitest.Key, Method: "POST", Path: root, Body: hook("w4", body{"url": "http://receiver:5000/"}), Status: 201},
		{Name: "list", As: apitest.Key, Method: "GET", Path: root + `?queries[]={"method":"equal","attribute":"authUsername","values":["me"]}&queries[]={"method":"equal","attribute":"enabled","values":[false]}`, Status: 200, Want: `{"total":1,"webhooks":[{"$id":"w2"}]}`},
		{Name: "list by event", As: apitest.Key, Method: "GET", Path: root + `?queries[]={"method":"contains","attribute":"events","values":["functions.*"]}&queries[]={"method":"limit","values":[1]}`, Status: 200, Want: `{"total":5,"webhooks":["*"]}`},
		{Name: "list of an older client", As: old, Method: "GET", Path: older + `?queries[]={"method":"equal","attribute":"security","values":[true]}&total=false`, Status: 200, Want: `{"total":0,"webhooks":[{"security":true},{"security":true}]}`},
		{Name: "get", As: apitest.Key, Method: "GET", Path: root + "/w2", Status: 200, Want: `{"$id":"w2","secret":"12345678"}`},
		{Name: "get of the oldest client", As: oldest, Method: "GET", Path: root + "/w2", Status: 200, Want: `{"$id":"w2","security":true,"signatureKey":"12345678"}`},
		{Name: "get nothing", As: apitest.Key, Method: "GET", Path: root + "/nope", Status: 404, Type: "webhook_not_found"},
		{Name: "of another project", As: apitest.Key, Method: "GET", Path: "/v1/projects/other/webhooks/w2", Status: 401, Type: "user_unauthorized"},
		{Name: "update", As: apitest.Key, Method: "PUT", Path: root + "/w2", Body: hook("w2", body{"name": "Renamed"}), Status: 200, Want: `{"name":"Renamed","tls":false,"authUsername":"","enabled":true,"secret":"12345678"}`},
		{Name: "choose a secret", As: apitest.Key, Method: "PATCH", Path: root + "/w2/secret", Body: body{"secret": "abcdefgh"}, Status: 200, Want: `{"secret":"abcdefgh"}`},
		{Name: "make a secret", As: old, Method: "PATCH", Path: older + "/w2/signature", Body: body{}, Status: 200, Want: `{"signatureKey":"*"}`},
		{Name: "delete", As: apitest.Key, Method: "DELETE", Path: root + "/w2", Status: 204},
		{Name: "delete again", As: apitest.Key, Method: "DELETE", Path: older + "/w2", Status: 404, Type: "webhook_not_found"},
		{Name: "guests may not", As: apitest.Guest, Method: "GET", Path: root, Status: 401, Type: "general_unauthorized_scope"},
	})
}
