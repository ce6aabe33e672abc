package e2e

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" // the contract's signature
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"flint/e2e/node"
)

// chain makes a rule for every rule that was made.
const chain = `module.exports = async ({ req, res, log }) => {
  const h = req.headers
  log([req.method, req.path, h['x-appwrite-trigger'], h['x-appwrite-event'] === 'rules.' + req.bodyJson.$id + '.create', h['x-appwrite-user-id'] === '', h['user-agent'], h['content-type'], req.bodyJson.domain].join(' '))
  const r = await fetch(process.env.APPWRITE_FUNCTION_API_ENDPOINT + '/proxy/rules/api', {
    method: 'POST', body: JSON.stringify({ domain: 'next.' + req.bodyJson.domain }),
    headers: { 'content-type': 'application/json', 'x-appwrite-project': process.env.APPWRITE_FUNCTION_PROJECT_ID, 'x-appwrite-key': h['x-appwrite-key'] }
  })
  return res.text(String(r.status))
}
`

// TestEventsTriggerFunctions has a function that triggers itself, and a webhook that hears of its executions.
func TestEventsTriggerFunctions(t *testing.T) {
	t.Parallel()
	heard := make(chan *http.Request, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mac := hmac.New(sha1.New, []byte("a secret of mine"))
		_, _ = io.WriteString(mac, "http://"+r.Host+"/hook"+string(body))
		if want := base64.StdEncoding.EncodeToString(mac.Sum(nil)); err != nil || r.Header.Get("X-Appwrite-Webhook-Signature") != want {
			t.Errorf("signature %q, want %q; %v", r.Header.Get("X-Appwrite-Webhook-Signature"), want, err)
		}
		heard <- r
	}))
	defer receiver.Close()
	data := t.TempDir()
	n := node.Start(t, node.Options{Data: data, Args: []string{"--trigger-hops=3", "--webhook-allow=127.0.0.0/8"}})
	f := n.Deploy(t, node.Function{
		ID: "chain", Runtime: runtime(t, n, "node"), Entrypoint: "i.js", Timeout: 60, Execute: []string{}, Scopes: []string{"rules.write"}, Events: []string{"rules.*.create", "rules.*"}, Logging: true,
	}, nil, map[string]string{"i.js": chain})
	if _, err := n.Do(t.Context(), http.MethodPost, "/v1/webhooks", map[string]any{
		"webhookId": "w", "name": "W", "url": receiver.URL + "/hook", "events": []string{"functions.chain.executions.*.update"}, "secret": "a secret of mine",
	}, nil); err != nil {
		t.Fatal(err)
	}
	rule(t, n, "api", map[string]any{"domain": "start.example.com"})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var found struct{ Executions []node.Execution }
	if err := node.Poll(ctx, func() error {
		query, _ := json.Marshal(map[string]any{"method": "orderAsc", "attribute": "$createdAt"})
		_, err := n.Do(ctx, http.MethodGet, "/v1/functions/"+f.ID+"/executions?queries[]="+url.QueryEscape(string(query)), nil, &found)
		if err == nil && (len(found.Executions) < 4 || !found.Executions[2].Final()) {
			err = fmt.Errorf("%d executions", len(found.Executions))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	domain := "start.example.com"
	for i, e := range found.Executions {
		want := "POST / event true true Appwrite/1.9.6 application/json " + domain
		switch {
		case i < 3 && (e.Status != "completed" || e.Trigger != "event" || !strings.Contains(e.Logs, want)):
			t.Errorf("execution %d: %+v, want %s", i, e, want)
		case i == 3 && (e.Status != "failed" || !strings.Contains(e.Errors, "it was triggered by 4 events in turn")):
			t.Errorf("the chain ends with %+v", e)
		case i > 3:
			t.Errorf("execution %d: %+v", i, e)
		}
		domain = "next." + domain
	}
	for range 4 {
		select {
		case r := <-heard:
			if got := r.Header.Get("X-Appwrite-Webhook-Events"); !strings.HasPrefix(got, "functions.chain.executions.") {
				t.Errorf("the webhook heard of %s", got)
			}
		case <-ctx.Done():
			t.Fatal("the webhook did not hear of all")
		}
	}
	if got := must(t, data, "webhook", "list"); !strings.Contains(got, receiver.URL) || !strings.Contains(got, "enabled") {
		t.Errorf("webhook list: %s", got)
	}
	if got := must(t, data, "webhook", "show", "w"); !strings.Contains(got, "functions.chain.executions.") || !strings.Contains(got, "delivered") {
		t.Errorf("webhook show: %s", got)
	}
	if got, err := n.Metric(ctx, "flint_event_runs_total"); got != 4 || err != nil {
		t.Errorf("%v runs are counted, want 4; %v", got, err)
	}
}
