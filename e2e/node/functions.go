package node

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"mime/multipart"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"testing"
	"time"
)

// Function is what tests set and read of a function.
type Function struct {
	ID           string   `json:"functionId"`
	Name         string   `json:"name"`
	Runtime      string   `json:"runtime,omitempty"`
	Execute      []string `json:"execute"`
	Entrypoint   string   `json:"entrypoint,omitempty"`
	Commands     string   `json:"commands"`
	Timeout      int      `json:"timeout,omitempty"`
	Scopes       []string `json:"scopes,omitempty"`
	Schedule     string   `json:"schedule,omitempty"`
	Events       []string `json:"events,omitempty"`
	Enabled      bool     `json:"enabled"`
	Logging      bool     `json:"logging"`
	Size         string   `json:"runtimeSpecification,omitempty"`
	BuildSize    string   `json:"buildSpecification,omitempty"`
	DeploymentID string   `json:"-"`
}

// Domain is the name under which the function is reached.
func (f *Function) Domain() string { return f.ID + "." + Domain }

// Deployment is what tests read of a deployment.
type Deployment struct {
	ID     string `json:"$id"`
	Status string `json:"status"`
	Logs   string `json:"buildLogs"`
}

// Header is a field of an execution's headers.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Execution is what tests read of an execution.
type Execution struct {
	ID              string   `json:"$id"`
	FunctionID      string   `json:"functionId"`
	DeploymentID    string   `json:"deploymentId"`
	Permissions     []string `json:"$permissions"`
	Trigger         string   `json:"trigger"`
	Status          string   `json:"status"`
	RequestMethod   string   `json:"requestMethod"`
	RequestPath     string   `json:"requestPath"`
	RequestHeaders  []Header `json:"requestHeaders"`
	Code            int      `json:"responseStatusCode"`
	Body            string   `json:"responseBody"`
	ResponseHeaders []Header `json:"responseHeaders"`
	Logs            string   `json:"logs"`
	Errors          string   `json:"errors"`
	Duration        float64  `json:"duration"`
}

// Final reports whether the execution has ended.
func (e *Execution) Final() bool { return e.Status == "completed" || e.Status == "failed" }

// Call is a call by createExecution.
type Call struct {
	Body    string            `json:"body,omitempty"`
	Async   bool              `json:"async,omitempty"`
	Path    string            `json:"path,omitempty"`
	Method  string            `json:"method,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
}

// Execute makes an execution. The status is 201, or 202 for an asynchronous one.
func (c *Client) Execute(ctx context.Context, function string, call Call) (*Execution, error) {
	e := &Execution{}
	status, err := c.Do(ctx, http.MethodPost, "/v1/functions/"+function+"/executions", call, e)
	want := http.StatusCreated
	if call.Async {
		want = http.StatusAccepted
	}
	if err == nil && status != want {
		err = fmt.Errorf("status %d, want %d", status, want)
	}
	return e, err
}

// Execution reads an execution.
func (c *Client) Execution(ctx context.Context, function, id string) (*Execution, error) {
	e := &Execution{}
	_, err := c.Do(ctx, http.MethodGet, "/v1/functions/"+function+"/executions/"+url.PathEscape(id), nil, e)
	return e, err
}

// Finished waits for the end of an execution.
func (c *Client) Finished(ctx context.Context, function, id string) (e *Execution, err error) {
	err = Poll(ctx, func() error {
		var err error
		if e, err = c.Execution(ctx, function, id); err == nil && !e.Final() {
			err = fmt.Errorf("execution %s is %s", id, e.Status)
		}
		return err
	})
	return e, err
}

// Create makes a function.
func (c *Client) Create(ctx context.Context, f Function) error {
	_, err := c.Do(ctx, http.MethodPost, "/v1/functions", f, nil)
	return err
}

// Update changes the settings of a function.
func (c *Client) Update(ctx context.Context, f Function) error {
	_, err := c.Do(ctx, http.MethodPut, "/v1/functions/"+f.ID, f, nil)
	return err
}

// SetVariable makes a variable of a function.
func (c *Client) SetVariable(ctx context.Context, function, key, value string) error {
	_, err := c.Do(ctx, http.MethodPost, "/v1/functions/"+function+"/variables",
		map[string]any{"variableId": "unique()", "key": key, "value": value, "secret": false}, nil)
	return err
}

// Upload makes a deployment of an archive and activates it. An empty entrypoint is the function's.
func (c *Client) Upload(ctx context.Context, function, entrypoint string, archive []byte) (*Deployment, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("code", "code.tar.gz")
	if err != nil {
		return nil, err
	}
	_, err = part.Write(archive)
	if entrypoint != "" {
		err = errors.Join(err, form.WriteField("entrypoint", entrypoint))
	}
	if err := errors.Join(err, form.WriteField("activate", "true"), form.Close()); err != nil {
		return nil, err
	}
	d := &Deployment{}
	_, err = c.Send(ctx, http.MethodPost, "/v1/functions/"+function+"/deployments", form.FormDataContentType(), &body, d)
	return d, err
}

// Built waits for the end of a build, whatever it is.
func (c *Client) Built(ctx context.Context, function, deployment string) (d *Deployment, err error) {
	err = Poll(ctx, func() error {
		d = &Deployment{}
		_, err := c.Do(ctx, http.MethodGet, "/v1/functions/"+function+"/deployments/"+deployment, nil, d)
		if err == nil && d.Status != "ready" && d.Status != "failed" && d.Status != "canceled" {
			err = fmt.Errorf("deployment %s is %s; its log:\n%s", deployment, d.Status, d.Logs)
		}
		return err
	})
	return d, err
}

// BuildTimeout bounds a build of a test. The first one of a compiled language on a machine compiles its library.
const BuildTimeout = 8 * time.Minute

// Build makes a function, gives it variables and files, and waits for the end of its build.
func (c *Client) Build(t testing.TB, f Function, variables, files map[string]string) (*Function, *Deployment) {
	t.Helper()
	if f.Name == "" {
		f.Name = f.ID
	}
	f.Enabled, f.Logging = true, true
	ctx, cancel := context.WithTimeout(t.Context(), BuildTimeout)
	defer cancel()
	if err := c.Create(ctx, f); err != nil {
		t.Fatalf("create function %s: %v", f.ID, err)
	}
	for key, value := range variables {
		if err := c.SetVariable(ctx, f.ID, key, value); err != nil {
			t.Fatalf("variable %s of function %s: %v", key, f.ID, err)
		}
	}
	return &f, c.Redeploy(t, &f, "", files)
}

// Redeploy gives a function new files and waits for the end of their build. An empty entrypoint is the function's.
func (c *Client) Redeploy(t testing.TB, f *Function, entrypoint string, files map[string]string) *Deployment {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), BuildTimeout)
	defer cancel()
	d, err := c.Upload(ctx, f.ID, entrypoint, Archive(t, files))
	if err != nil {
		t.Fatalf("upload function %s: %v", f.ID, err)
	}
	if d, err = c.Built(ctx, f.ID, d.ID); err != nil {
		t.Fatalf("function %s is not built: %v", f.ID, err)
	}
	f.DeploymentID = d.ID
	return d
}

// Deploy is Build for what must become ready.
func (c *Client) Deploy(t testing.TB, f Function, variables, files map[string]string) *Function {
	t.Helper()
	made, d := c.Build(t, f, variables, files)
	if d.Status != "ready" {
		t.Fatalf("the build of function %s is %s; its log:\n%s", f.ID, d.Status, d.Logs)
	}
	return made
}

// Archive packs files into a code.tar.gz.
func Archive(t testing.TB, files map[string]string) []byte {
	t.Helper()
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range names {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg})
		if err == nil {
			_, err = w.Write([]byte(files[name]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Files reads all files of a tree.
func Files(t testing.TB, tree fs.FS) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		b, err := fs.ReadFile(tree, name)
		files[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Runtime is a runtime that a node offers.
type Runtime struct {
	ID  string `json:"$id"`
	Key string `json:"key"`
}

// Runtimes returns what functions may be written in, by language: the newest version that the node offers.
func (c *Client) Runtimes(ctx context.Context) (map[string]string, error) {
	var list struct {
		Runtimes []Runtime `json:"runtimes"`
	}
	_, err := c.Do(ctx, http.MethodGet, "/v1/functions/runtimes", nil, &list)
	newest := map[string]string{}
	for _, r := range list.Runtimes { // in the order of their versions
		newest[r.Key] = r.ID
	}
	return newest, err
}
