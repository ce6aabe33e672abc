package proxyrules_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"flint"
	"flint/api/apitest"
	"flint/api/proxyrules"
)

// names is a resolver with records of its own.
type names struct {
	cname     map[string]string
	addresses map[string]string
}

func (n *names) LookupCNAME(_ context.Context, host string) (string, error) {
	if to, ok := n.cname[host]; ok {
		return to + ".", nil
	}
	if _, ok := n.addresses[host]; ok {
		return host + ".", nil
	}
	return "", &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, ok := n.addresses[host]; ok {
		return []netip.Addr{netip.MustParseAddr(a)}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

type body = map[string]any

func TestRules(t *testing.T) {
	t.Parallel()
	b := apitest.New(t)
	dns := &names{
		cname:     map[string]string{"right.shop.com": "entry.host.net", "wrong.shop.com": "elsewhere.net"},
		addresses: map[string]string{"address.shop.com": "203.0.113.9", "other.shop.com": "203.0.113.10"},
	}
	s := proxyrules.New(proxyrules.Config{
		Store: b.Store, Logger: b.Logger, Resolver: dns, Domain: "functions.test", Hostnames: []string{"api.host.net"},
		Targets: proxyrules.Targets{Names: []string{"entry.host.net"}, Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.9")}},
	})
	h := b.Serve(s.Routes())
	if err := b.Store.CreateFunction(t.Context(), &flint.Function{Project: apitest.Project, ID: "f", Name: "f", Runtime: "node-22"}, nil); err != nil {
		t.Fatal(err)
	}
	const root = "/v1/proxy/rules"
	id := ""
	function := func(domain string) body { return body{"domain": domain, "functionId": "f"} }
	apitest.Run(t, h, []apitest.Scenario{
		{
			Name: "a name of ours is verified at once", As: apitest.Key, Method: "POST", Path: root + "/function", Body: body{"domain": "Shop.functions.test", "functionId": "f", "branch": "main"}, Status: 201,
			Want: `{"$id":"*","$createdAt":"*","$updatedAt":"*","domain":"shop.functions.test","type":"deployment","trigger":"manual","redirectUrl":"",
				"redirectStatusCode":301,"deploymentId":"","deploymentResourceType":"function","deploymentResourceId":"f",
				"deploymentVcsProviderBranch":"main","status":"verified","logs":"","renewAt":""}`,
			Check: func(t *testing.T, r *http.Response, _ []byte) {
				if got := r.Header.Get("X-RateLimit-Limit") + "/" + r.Header.Get("X-RateLimit-Remaining"); got != "10/10" {
					t.Errorf("rate limit %s, want 10/10: keys are not bound", got)
				}
			},
		},
		{Name: "a name is taken once", As: apitest.Key, Method: "POST", Path: root + "/api", Body: body{"domain": "shop.functions.test"}, Status: 409, Type: "rule_already_exists"},
		{Name: "below the base one label is allowed", As: apitest.Key, Method: "POST", Path: root + "/function", Body: function("a.b.functions.test"), Status: 400, Type: "general_argument_invalid", Message: "This domain name is not allowed. Please use a different domain."},
		{Name: "the base itself is not", As: apitest.Key, Method: "POST", Path: root + "/function", Body: function("functions.test"), Status: 400, Message: "This domain name is not allowed. Please use a different domain.", Type: "general_argument_invalid"},
		{Name: "nor is the platform", As: apitest.Key, Method: "POST", Path: root + "/api", Body: body{"domain": "API.host.net"}, Status: 400, Type: "general_argument_invalid"},
		{Name: "a function must be there", As: apitest.Key, Method: "POST", Path: root + "/function", Body: body{"domain": "x.functions.test", "functionId": "g"}, Status: 404, Type: "rule_resource_not_found"},
		{Name: "there are no sites", As: apitest.Key, Method: "POST", Path: root + "/site", Body: body{"domain": "x.functions.test", "siteId": "g"}, Status: 404, Type: "rule_resource_not_found"},
		{Name: "a right CNAME verifies", As: apitest.Key, Method: "POST", Path: root + "/api", Body: body{"domain": "right.shop.com"}, Status: 201, Want: `{"type":"api","status":"verified","deploymentResourceType":null,"deploymentResourceId":""}`},
		{Name: "a right address verifies", As: apitest.Key, Method: "POST", Path: root + "/function", Body: function("address.shop.com"), Status: 201, Want: `{"status":"verified"}`},
		{
			Name: "a wrong CNAME does not", As: apitest.Key, Method: "POST", Path: root + "/function", Body: function("wrong.shop.com"), Status: 201,
			Want: `{"status":"unverified","logs":"Domain wrong.shop.com has incorrect CNAME value: it leads to elsewhere.net and should lead to functions.test or entry.host.net."}`,
		},
		{
			Name: "no record does not", As: apitest.Key, Method: "POST", Path: root + "/redirect", Status: 201,
			Body: body{"domain": "new.shop.com", "url": "https://shop.com/new", "statusCode": 307, "resourceId": "f", "resourceType": "function"},
			Want: `{"type":"redirect","redirectUrl":"https://shop.com/new","redirectStatusCode":307,"status":"unverified","deploymentId":"","deploymentResourceId":"f",
				"logs":"Domain new.shop.com is missing CNAME record: it should lead to functions.test or entry.host.net. Or give it an A or AAAA record of 203.0.113.9."}`,
			Check: func(t *testing.T, _ *http.Response, _ []byte) {
				r, err := b.Store.RuleByDomain(t.Context(), "new.shop.com")
				if err != nil {
					t.Fatal(err)
				}
				id = string(r.ID)
			},
		},
		{Name: "a reserved domain cannot be verified", As: apitest.Key, Method: "POST", Path: root + "/api", Body: body{"domain": "x.shop.test"}, Status: 201, Want: `{"status":"unverified"}`},
		{Name: "lists are filtered", As: apitest.Key, Method: "GET", Path: root + `?queries[0]={"method":"equal","attribute":"type","values":["api"]}`, Status: 200, Want: `{"total":2,"rules":[{"domain":"right.shop.com"},{"domain":"x.shop.test"}]}`},
		{Name: "what is owned by a function", As: apitest.Key, Method: "GET", Path: root + `?queries[0]={"method":"equal","attribute":"deploymentResourceType","values":["function"]}&total=false`, Status: 200, Want: `{"total":0}`},
		{Name: "search in the text is refused", As: apitest.Key, Method: "GET", Path: root + `?queries[0]={"method":"search","attribute":"domain","values":["x"]}`, Status: 400, Type: "general_query_invalid"},
		{
			Name: "older clients know other names", As: apitest.Key.With("X-Appwrite-Response-Format", "1.6.0"), Method: "GET", Path: root + `?queries[0]={"method":"equal","attribute":"resourceId","values":["f"]}&queries[1]={"method":"limit","values":[1]}`, Status: 200,
			Want: `{"total":4,"rules":[{"domain":"shop.functions.test","resourceType":"function","resourceId":"f"}]}`,
		},
	})
	path := root + "/" + id
	apitest.Run(t, h, []apitest.Scenario{
		{Name: "a domain that is still wrong", As: apitest.Key, Method: "PATCH", Path: path + "/status", Status: 400, Type: "rule_verification_failed"},
		{Name: "get", As: apitest.Key, Method: "GET", Path: path, Status: 200, Want: `{"domain":"new.shop.com"}`},
	})
	dns.cname["new.shop.com"] = "any.functions.test"
	apitest.Run(t, h, []apitest.Scenario{
		{Name: "and is set right", As: apitest.Key, Method: "PATCH", Path: path + "/verification", Status: 200, Want: `{"status":"verified","logs":""}`},
		{Name: "delete", As: apitest.Key, Method: "DELETE", Path: path, Status: 204},
		{Name: "gone", As: apitest.Key, Method: "GET", Path: path, Status: 404, Type: "rule_not_found"},
	})
	if err := b.Store.DeleteFunction(t.Context(), apitest.Project, "f"); err != nil {
		t.Fatal(err)
	}
	left, _, err := b.Store.Rules(t.Context(), apitest.Project, flint.List{})
	if err != nil || len(left) != 2 {
		t.Errorf("after the function %d rules are left, %v, want the two of the API", len(left), err)
	}
}
