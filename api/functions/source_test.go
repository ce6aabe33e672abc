package functions_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"flint"
	"flint/api/apitest"
)

func TestDownloads(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.function(t, "f")
	b.function(t, "g")
	content := strings.Repeat("0123456789", 9_999)
	w := apitest.Send(t, b, apitest.Key, "POST", "/v1/functions/f/deployments", "", upload("c.tar.gz", content, 0))
	if w.Code != http.StatusAccepted {
		t.Fatal(w.Code, w.Body)
	}
	all, _, err := b.Store.Deployments(t.Context(), apitest.Project, "f", flint.List{})
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	id := all[0].ID
	path := "/v1/functions/f/deployments/" + string(id) + "/download"
	is := func(want string, headers ...string) func(*testing.T, *http.Response, []byte) {
		return func(t *testing.T, r *http.Response, got []byte) {
			t.Helper()
			if string(got) != want {
				t.Errorf("%d bytes, want %d", len(got), len(want))
			}
			for i := 0; i < len(headers); i += 2 {
				if have := r.Header.Get(headers[i]); have != headers[i+1] {
					t.Errorf("%s is %q, want %q", headers[i], have, headers[i+1])
				}
			}
		}
	}
	get := func(name string, as apitest.Actor, more string, status int, typ string) apitest.Scenario {
		return apitest.Scenario{Name: name, As: as, Method: "GET", Path: path + more, Status: status, Type: typ}
	}
	with := func(s apitest.Scenario, check func(*testing.T, *http.Response, []byte)) apitest.Scenario {
		s.Check = check
		return s
	}
	ranged := func(header string, status int, from, to int) apitest.Scenario {
		s := get(header, apitest.Key.With("Range", header), "", status, "")
		if status != http.StatusPartialContent {
			s.Type = "storage_invalid_range"
			return s
		}
		return with(s, is(content[from:to], "Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(content)), "Content-Length", fmt.Sprint(to-from), "Accept-Ranges", "bytes"))
	}
	token := "?project=demo&token=" + b.Signer.DownloadToken(id, "source", time.Minute)
	apitest.Run(t, b, []apitest.Scenario{
		with(get("whole", apitest.Key, "", 200, ""), is(content, "Content-Type", "application/gzip", "Cache-Control", "private, max-age=3888000", "Content-Disposition", `attachment; filename="`+string(id)+`-source.tar.gz"`)),
		with(get("with a token", apitest.Nobody, token, 200, ""), is(content)),
		get("with a token for the other file", apitest.Nobody, token+"&type=output", 401, "user_unauthorized"),
		get("with an old token", apitest.Guest, "?token="+b.Signer.DownloadToken(id, "source", -time.Minute), 401, "user_unauthorized"),
		get("with another key's token", apitest.Guest, "?token=x", 401, "user_unauthorized"),
		get("as a guest", apitest.Guest, "", 401, "user_unauthorized"),
		get("with a key that may not", apitest.NoScope, "", 401, "user_unauthorized"),
		get("what is not built", apitest.Key, "?type=output", 404, "deployment_not_found"),
		get("of older clients", apitest.Key.With("X-Appwrite-Response-Format", "1.6.0"), "?type=source", 404, "deployment_not_found"),
		{Name: "from another function", As: apitest.Key, Method: "GET", Path: "/v1/functions/g/deployments/" + string(id) + "/download", Status: 404, Type: "deployment_not_found"},
		{Name: "by the old path", As: apitest.Key, Method: "GET", Path: "/v1/functions/f/deployments/" + string(id) + "/build/download", Status: 200, Check: is(content)},
		{Name: "only the head", As: apitest.Key, Method: "HEAD", Path: path, Status: 200, Check: is("", "Content-Length", fmt.Sprint(len(content)))},
		ranged("bytes=0-9", 206, 0, 10), ranged("bytes=5-5", 206, 5, 6), ranged("bytes=99980-", 206, 99_980, 99_990), ranged("bytes=-4", 206, 99_986, 99_990),
		ranged("bytes=9-8", 416, 0, 0), ranged("bytes=0-99990", 416, 0, 0), ranged("bytes=99990-", 416, 0, 0), ranged("chunks=0-9", 416, 0, 0), ranged("bytes=0-1,3-4", 416, 0, 0), ranged("bytes=-0", 416, 0, 0), ranged("bytes", 416, 0, 0), ranged("bytes=+1-2", 416, 0, 0),
	})
}

func TestDuplicates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.function(t, "f")
	first := b.deployment(t, "f", true)
	const root = "/v1/functions/f/deployments"
	want := `{"status":"waiting","activate":true,"type":"manual","entrypoint":"new.js","sourceSize":2,"totalSize":2,"buildSize":0,"buildLogs":""}`
	other := func(t *testing.T, _ *http.Response, got []byte) {
		if strings.Contains(string(got), `"$id":"`+first) {
			t.Error("it is the same deployment")
		}
	}
	apitest.Run(t, b, []apitest.Scenario{
		{As: apitest.Key, Method: "PUT", Path: "/v1/functions/f", Body: body{"name": "f", "entrypoint": "new.js", "commands": "make"}, Status: 200},
		{Name: "duplicate", As: apitest.Key, Method: "POST", Path: root + "/duplicate", Body: body{"deploymentId": first}, Status: 202, Want: want, Check: other},
		{Name: "by the old path", As: apitest.Key, Method: "POST", Path: root + "/" + first + "/build", Status: 202, Want: want, Check: other},
		{Name: "by the oldest path", As: apitest.Key, Method: "POST", Path: root + "/" + first + "/builds/b1", Status: 202, Want: want, Check: other},
		{Name: "of nothing", As: apitest.Key, Method: "POST", Path: root + "/duplicate", Body: body{"deploymentId": "nope"}, Status: 404, Type: "deployment_not_found"},
		{Name: "from a template", As: apitest.Key, Method: "POST", Path: root + "/template", Body: body{"repository": "r", "owner": "o", "rootDirectory": ".", "type": "tag", "reference": "1.*"}, Status: 404, Type: "installation_not_found"},
		{Name: "from a repository", As: apitest.Key, Method: "POST", Path: root + "/vcs", Body: body{"type": "branch", "reference": "main"}, Status: 404, Type: "installation_not_found"},
	})
}
