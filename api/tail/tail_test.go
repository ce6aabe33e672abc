package tail_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint"
	"flint/api/apitest"
	"flint/api/tail"
	"flint/feed"
)

// bed serves the tail of a feed.
func bed(t *testing.T) (*feed.Feed, *httptest.Server) {
	t.Helper()
	b := apitest.New(t)
	if err := b.Store.CreateFunction(t.Context(), &flint.Function{Project: apitest.Project, ID: "f", Name: "f", Runtime: "node-22"}, nil); err != nil {
		t.Fatal(err)
	}
	f := &feed.Feed{}
	s := httptest.NewServer(b.Serve(tail.New(tail.Config{Store: b.Store, Feed: f}).Routes()))
	t.Cleanup(s.Close)
	return f, s
}

func follow(t *testing.T, s *httptest.Server, method, query string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/v1/flint/tail?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Appwrite-Project", string(apitest.Project))
	r.Header.Set("X-Appwrite-Key", "standard_full")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestTail(t *testing.T) {
	t.Parallel()
	f, s := bed(t)
	resp := follow(t, s, http.MethodGet, "functions[]=f&text=at") // the head comes when it is followed
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != "text/event-stream; charset=UTF-8" {
		t.Fatalf("%d %s", resp.StatusCode, got)
	}
	e := &flint.Execution{Project: apitest.Project, Function: "f", ID: "e", Trigger: flint.TriggerHTTP, Status: flint.ExecutionFailed, StatusCode: 500, RequestPath: "/cat", Errors: "boom"}
	f.Log(e, true, []byte("a mat\na dog\n"))
	f.Publish(e)
	f.Publish(&flint.Execution{Project: apitest.Project, Function: "g", ID: "x", RequestPath: "/cat"})
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := f.Run(ctx); err != nil { // the node stops
		t.Fatal(err)
	}
	var got []string
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if line := lines.Text(); line != "" && !strings.HasPrefix(line, "id:") {
			if before, _, ok := strings.Cut(line, `"time":`); ok {
				line = before
			}
			got = append(got, line)
		}
	}
	want := []string{
		"event: log", `data: {"executionId":"e","functionId":"f",`,
		"event: execution", `data: {"executionId":"e","functionId":"f","deploymentId":"","createdAt":"0001-01-01T00:00:00Z","trigger":"http","status":"failed","requestMethod":"","requestPath":"/cat","responseStatusCode":500,"duration":0,"errors":"boom"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("followed (-want +got):\n%s", diff)
	}
}

func TestTailRefuses(t *testing.T) {
	t.Parallel()
	_, s := bed(t)
	if resp := follow(t, s, http.MethodGet, "functions[]=nope"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown function: %d", resp.StatusCode)
	}
	one := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: 20 * time.Second}
	defer one.CloseIdleConnections()
	for range 2 { // the second needs the connection of the first, whose answer has ended
		r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, s.URL+"/v1/flint/tail", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Appwrite-Project", string(apitest.Project))
		r.Header.Set("X-Appwrite-Key", "standard_full")
		resp, err := one.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != http.StatusOK {
			t.Errorf("its head alone: %d", resp.StatusCode)
		}
	}
}
