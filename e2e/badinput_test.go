package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flint/e2e/node"
)

// packed makes an archive of headers as they are; a regular file has a short text in it.
func packed(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range headers {
		body := ""
		if h.Typeflag == tar.TypeReg {
			body = "hostile"
			h.Size = int64(len(body))
		}
		h.Mode = 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// bomb is a small archive of a large file.
func bomb(t *testing.T) []byte {
	t.Helper()
	const size = 200 << 20
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: "zeros", Mode: 0o644, Size: size, Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for range size / len(block) {
		if _, err := w.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestHostileArchives(t *testing.T) {
	t.Parallel()
	n := shared.get(t)
	outside := filepath.Join(t.TempDir(), "intruder")
	f := node.Function{ID: "hostile", Name: "hostile", Runtime: runtime(t, n, "node"), Entrypoint: "index.js", Enabled: true, Logging: true}
	if err := n.Create(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	regular := tar.Header{Name: "index.js", Typeflag: tar.TypeReg}
	for _, c := range []struct {
		name    string
		archive []byte
	}{
		{"parent", packed(t, regular, tar.Header{Name: "../intruder", Typeflag: tar.TypeReg})},
		{"parent in the middle", packed(t, regular, tar.Header{Name: "a/../../intruder", Typeflag: tar.TypeReg})},
		{"absolute", packed(t, regular, tar.Header{Name: outside, Typeflag: tar.TypeReg})},
		{"absolute link", packed(t, regular, tar.Header{Name: "link", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink})},
		{"link that leaves", packed(t, regular, tar.Header{Name: "a/link", Linkname: "../../x", Typeflag: tar.TypeSymlink})},
		{"hard link that leaves", packed(t, regular, tar.Header{Name: "link", Linkname: "../../etc/passwd", Typeflag: tar.TypeLink})},
		{"through a link", packed(t, regular, tar.Header{Name: "dir", Linkname: filepath.Dir(outside), Typeflag: tar.TypeSymlink}, tar.Header{Name: "dir/intruder", Typeflag: tar.TypeReg})},
		{"character device", packed(t, regular, tar.Header{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3})},
		{"block device", packed(t, regular, tar.Header{Name: "disk", Typeflag: tar.TypeBlock, Devmajor: 8})},
		{"pipe", packed(t, regular, tar.Header{Name: "pipe", Typeflag: tar.TypeFifo})},
		{"bomb", bomb(t)},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := n.Upload(t.Context(), f.ID, "", c.archive)
			var refused *node.Error
			if !errors.As(err, &refused) || refused.Status != 400 || refused.Type != "storage_file_type_unsupported" {
				t.Errorf("got %v, want 400 storage_file_type_unsupported", err)
			}
			if _, err := os.Lstat(outside); err == nil {
				t.Error("a file was written outside")
			}
		})
	}
	t.Run("no archive at all fails its build", func(t *testing.T) {
		d, err := n.Upload(t.Context(), f.ID, "", []byte("this is no archive"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), node.BuildTimeout)
		defer cancel()
		if d, err = n.Built(ctx, f.ID, d.ID); err != nil || d.Status != "failed" || !strings.Contains(d.Logs, "not a gzip-compressed tar archive") {
			t.Errorf("the build is %+v, %v", d, err)
		}
	})
	var list struct {
		Total int `json:"total"`
	}
	if _, err := n.Do(t.Context(), http.MethodGet, "/v1/functions/hostile/deployments", nil, &list); err != nil || list.Total != 1 {
		t.Errorf("%d deployments, %v; want only the one that was no archive", list.Total, err)
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	n := shared.get(t)
	guest, wrong := n.As(""), n.As("standard_ffffffffffffffffffffffffffffffff")
	stranger := *n.Client
	stranger.Project = "nobody"
	nowhere := *n.Client
	nowhere.Project = ""
	id := map[string]any{"functionId": "bad", "name": "n", "runtime": runtime(t, n, "node")}
	with := func(key string, value any) map[string]any {
		m := map[string]any{}
		maps.Copy(m, id)
		m[key] = value
		return m
	}
	for _, c := range []struct {
		name, method, path string
		client             *node.Client
		in                 any
		status             int
		typ                string
	}{
		{"guest", "GET", "/v1/functions", guest, nil, 401, "general_unauthorized_scope"},
		{"wrong key", "GET", "/v1/functions", wrong, nil, 401, "user_unauthorized"},
		{"unknown project", "GET", "/v1/functions", &stranger, nil, 404, "project_not_found"},
		{"no project", "GET", "/v1/functions", &nowhere, nil, 403, "project_id_missing"},
		{"unknown route", "GET", "/v1/nothing", n.Client, nil, 404, "general_route_not_found"},
		{"unknown function", "GET", "/v1/functions/nothing", n.Client, nil, 404, "function_not_found"},
		{"unknown execution", "GET", "/v1/functions/nothing/executions/x", n.Client, nil, 404, "function_not_found"},
		{"impossible id", "GET", "/v1/functions/_bad", n.Client, nil, 400, "general_argument_invalid"},
		{"id with a path", "GET", "/v1/functions/..%2F..%2Fetc", n.Client, nil, 400, "general_argument_invalid"},
		{"long id", "GET", "/v1/functions/" + strings.Repeat("a", 37), n.Client, nil, 400, "general_argument_invalid"},
		{"missing name", "POST", "/v1/functions", n.Client, with("name", nil), 400, "general_argument_invalid"},
		{"long name", "POST", "/v1/functions", n.Client, with("name", strings.Repeat("n", 129)), 400, "general_argument_invalid"},
		{"unknown runtime", "POST", "/v1/functions", n.Client, with("runtime", "cobol-68"), 400, "general_argument_invalid"},
		{"timeout of 0", "POST", "/v1/functions", n.Client, with("timeout", 0), 400, "general_argument_invalid"},
		{"timeout of a day", "POST", "/v1/functions", n.Client, with("timeout", 86400), 400, "general_argument_invalid"},
		{"bad role", "POST", "/v1/functions", n.Client, with("execute", []string{"*"}), 400, "general_argument_invalid"},
		{"bad scope", "POST", "/v1/functions", n.Client, with("scopes", []string{"everything"}), 400, "general_argument_invalid"},
		{"bad schedule", "POST", "/v1/functions", n.Client, with("schedule", "now and then"), 400, "general_argument_invalid"},
		{"bad query", "GET", "/v1/functions?queries[]=" + `{"method":"drop"}`, n.Client, nil, 400, "general_argument_invalid"},
		{"query on nothing", "GET", "/v1/functions?queries[]=" + `{"method":"equal","attribute":"nothing","values":["a"]}`, n.Client, nil, 400, "general_argument_invalid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.client.Do(t.Context(), c.method, strings.NewReplacer(`"`, "%22", "{", "%7B", "}", "%7D").Replace(c.path), c.in, nil)
			refused(t, err, c.status, c.typ)
		})
	}
	t.Run("broken JSON", func(t *testing.T) {
		for _, body := range []string{"{", "[]", "null", `{"functionId":{"a":1}}`, strings.Repeat("[", 100_000), "\x00\xff"} {
			_, err := n.Send(t.Context(), "POST", "/v1/functions", "application/json", strings.NewReader(body), nil)
			refused(t, err, 400, "general_argument_invalid")
		}
	})
	t.Run("no file", func(t *testing.T) {
		f := node.Function{ID: "no-file", Name: "n", Runtime: runtime(t, n, "node"), Entrypoint: "index.js", Enabled: true}
		if err := n.Create(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		_, err := n.Do(t.Context(), "POST", "/v1/functions/no-file/deployments", map[string]any{"activate": true}, nil)
		refused(t, err, 400, "storage_file_empty")
		_, err = n.Execute(t.Context(), f.ID, node.Call{})
		refused(t, err, 404, "deployment_not_found")
		for name, call := range map[string]node.Call{
			"forged header": {Headers: map[string]string{"X-Appwrite-User-Id": "root"}},
			"bad header":    {Headers: map[string]string{"a b": "c"}},
			"bad method":    {Method: "BREW"},
			"long path":     {Path: "/" + strings.Repeat("p", 2048)},
		} {
			if _, err := n.Execute(t.Context(), f.ID, call); err == nil || !strings.Contains(err.Error(), "400 general_argument_invalid") {
				t.Errorf("%s: %v, want 400 general_argument_invalid", name, err)
			}
		}
	})
	t.Run("unknown domain", func(t *testing.T) {
		r, err := n.Visit(t.Context(), node.Request{Host: "nothing." + node.Domain})
		if err != nil || r.Status != 404 || !strings.Contains(string(r.Body), "rule_not_found") {
			t.Errorf("got %+v, %v; want a page with 404 rule_not_found", r, err)
		}
	})
}

func refused(t *testing.T, err error, status int, typ string) {
	t.Helper()
	var failed *node.Error
	if !errors.As(err, &failed) || failed.Status != status || failed.Type != typ {
		t.Errorf("got %v, want %s", err, fmt.Sprint(status, " ", typ))
	}
}
