package functions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flint"
	"flint/api/apitest"
	"flint/api/functions"
	"flint/build"
	parts "flint/upload"
)

type chunkBed struct {
	*bed
	dir    string
	queued chan struct{}
	file   []byte

	patience time.Duration // 0: the Keeper's own
}

const uploads = "/v1/functions/f/deployments"

// uploadBed has a function and a file of three parts to upload.
func uploadBed(t *testing.T) *chunkBed {
	t.Helper()
	b := &chunkBed{bed: &bed{Bed: apitest.New(t)}, dir: t.TempDir(), queued: make(chan struct{}, 8), file: make([]byte, 2*flint.ChunkSize+12345)}
	b.Builder.Limit = 30_000_000
	random := rand.New(rand.NewPCG(1, 2))
	for i := range b.file {
		b.file[i] = byte(random.Uint32())
	}
	b.restart(t, b.Builder.Receive)
	b.function(t, "f")
	b.function(t, "g")
	return b
}

// restart gives the bed what a node that starts has.
func (b *chunkBed) restart(t *testing.T, receive func(context.Context, io.Reader) (build.Source, error)) {
	t.Helper()
	var err error
	b.Uploads, err = parts.New(parts.Config{
		Store: b.Store, Receive: receive, Collect: b.Builder.Collect, Logger: b.Logger, Dir: b.dir,
		Queued: func() { b.queued <- struct{}{} }, Patience: b.patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := functions.New(functions.Config{
		Store: b.Store, Invoker: b.Invoker, Builder: b.Builder, Uploads: b.Uploads, Blobs: b.Blobs, Signer: b.Signer, Runtimes: b.Runtimes, Logger: b.Logger,
	})
	b.Registry = prometheus.NewRegistry()
	b.Handler = b.Serve(s.Routes())
}

type deploymentModel struct {
	ID         string `json:"$id"`
	Type       string `json:"type"`
	Status     string `json:"status"`
	Entrypoint string `json:"entrypoint"`
	Activate   bool   `json:"activate"`
	SourceSize int    `json:"sourceSize"`
	TotalSize  int    `json:"totalSize"`
	BuildLogs  string `json:"buildLogs"`
}

// send sends one part of the file. id is empty for the first.
func (b *chunkBed) send(t *testing.T, id string, chunk int, more ...apitest.Field) (int, string, deploymentModel) {
	t.Helper()
	start := chunk * flint.ChunkSize
	end := min(start+flint.ChunkSize, len(b.file))
	form := append(apitest.Form{{Name: "code", Value: apitest.File{Name: "code.tar.gz", Content: string(b.file[start:end])}}, {Name: "activate", Value: "false"}}, more...)
	as := apitest.Key.With("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, len(b.file)))
	if id != "" {
		as = as.With("X-Appwrite-ID", id)
	}
	w := apitest.Send(t, b, as, "POST", uploads, "", form)
	var d deploymentModel
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
		t.Error(err)
	}
	var e struct{ Type string }
	if w.Code != http.StatusAccepted {
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
			t.Error(err)
		}
	}
	return w.Code, e.Type, d
}

func (b *chunkBed) mustSend(t *testing.T, id string, chunk int, more ...apitest.Field) deploymentModel {
	t.Helper()
	status, typ, d := b.send(t, id, chunk, more...)
	if status != http.StatusAccepted {
		t.Errorf("part %d: %d %s", chunk, status, typ)
	}
	return d
}

// holds checks that a deployment's source is the file.
func (b *chunkBed) holds(t *testing.T, id string) {
	t.Helper()
	d, err := b.Store.Deployment(t.Context(), apitest.Project, "f", flint.DeploymentID(id))
	if err != nil {
		t.Fatal(err)
	}
	r, size, err := b.Blobs.Get(t.Context(), d.SourceDigest)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }() // read only
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, b.file) || size != d.SourceSize {
		t.Errorf("the source has %d bytes, the row says %d, the file had %d: %v", len(got), d.SourceSize, len(b.file), err)
	}
	if left, _ := os.ReadDir(filepath.Join(b.dir, "parts", id)); len(left) > 0 {
		t.Errorf("parts stay: %v", left)
	}
}

func TestChunksInAnyOrder(t *testing.T) {
	t.Parallel()
	b := uploadBed(t)
	first := b.mustSend(t, "", 2)
	if first.Status != "waiting" || first.SourceSize != len(b.file) || first.TotalSize != len(b.file) {
		t.Errorf("after the first part: %+v", first)
	}
	if d, _, err := b.Store.ClaimBuild(t.Context(), "n", time.Minute); d != nil || err != nil {
		t.Errorf("half an upload is built: %v, %v", d, err)
	}
	b.mustSend(t, first.ID, 0)
	b.mustSend(t, first.ID, 0)
	last := b.mustSend(t, first.ID, 1, apitest.Field{Name: "entrypoint", Value: "last.js"}, apitest.Field{Name: "commands", Value: "make"}, apitest.Field{Name: "activate", Value: "true"})
	if last.ID != first.ID || last.Status != "waiting" || last.Entrypoint != "last.js" || !last.Activate {
		t.Errorf("after the last part: %+v", last)
	}
	<-b.queued
	b.holds(t, first.ID)
	if again := b.mustSend(t, first.ID, 1, apitest.Field{Name: "entrypoint", Value: "other.js"}); again.Entrypoint != "last.js" || len(b.queued) > 0 {
		t.Errorf("a part that came again changed the deployment: %+v", again)
	}
	b.finish(t, first.ID)
}

func TestChunksAtOnceAndAfterARestart(t *testing.T) {
	t.Parallel()
	b := uploadBed(t)
	id := b.mustSend(t, "", 0).ID
	b.restart(t, b.Builder.Receive)
	if err := b.Uploads.Sweep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, chunk := range []int{2, 1, 2, 1} {
		all.Go(func() { b.mustSend(t, id, chunk) })
	}
	all.Wait()
	if len(b.queued) != 1 {
		t.Errorf("queued %d times", len(b.queued))
	}
	b.holds(t, id)
}

func TestANodeThatDiedBeforeItCouldFinish(t *testing.T) {
	t.Parallel()
	b := uploadBed(t)
	id := b.mustSend(t, "", 0).ID
	b.mustSend(t, id, 1)
	if err := os.WriteFile(filepath.Join(b.dir, "parts", id, "2"), b.file[2*flint.ChunkSize:], 0o600); err != nil {
		t.Fatal(err)
	}
	d := &flint.Deployment{Project: apitest.Project, Function: "f", ID: flint.DeploymentID(id), Entrypoint: "i.js"}
	if u, err := b.Store.AddChunk(t.Context(), d, 2); err != nil || !u.Complete() {
		t.Fatal(u, err)
	}
	b.restart(t, b.Builder.Receive)
	if err := b.Uploads.Sweep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	b.holds(t, id)
}

func TestUploadsThatEndOtherwise(t *testing.T) {
	t.Parallel()
	b := uploadBed(t)
	ctx := t.Context()
	gone := func(id string) bool {
		_, statErr := os.Stat(filepath.Join(b.dir, "parts", id))
		u, err := b.Store.Upload(ctx, flint.DeploymentID(id))
		return os.IsNotExist(statErr) && u == nil && err == nil
	}
	forgotten := b.mustSend(t, "", 0).ID
	canceled := b.mustSend(t, "", 0).ID
	deleted := b.mustSend(t, "", 0).ID
	apitest.Run(t, b, []apitest.Scenario{
		{Name: "cancel", As: apitest.Key, Method: "PATCH", Path: uploads + "/" + canceled + "/status", Status: 200, Want: `{"status":"canceled"}`},
		{Name: "delete", As: apitest.Key, Method: "DELETE", Path: uploads + "/" + deleted, Status: 204},
	})
	if d := b.mustSend(t, canceled, 1); d.Status != "canceled" {
		t.Errorf("a canceled upload goes on: %+v", d)
	}
	if status, typ, _ := b.send(t, deleted, 1); status != 404 || typ != "deployment_not_found" {
		t.Errorf("a part for a deleted deployment: %d %s", status, typ)
	}
	if err := b.Uploads.Sweep(ctx, time.Now().Add(23*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if gone(forgotten) || !gone(canceled) || !gone(deleted) {
		t.Errorf("after 23 hours: %v %v %v", gone(forgotten), gone(canceled), gone(deleted))
	}
	if err := b.Uploads.Sweep(ctx, time.Now().Add(25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if !gone(forgotten) {
		t.Error("an upload that nobody continued stays")
	}
	apitest.Run(t, b, []apitest.Scenario{
		{Name: "its deployment is gone", As: apitest.Key, Method: "GET", Path: uploads + "/" + forgotten, Status: 404, Type: "deployment_not_found"},
		{Name: "the canceled one is not", As: apitest.Key, Method: "GET", Path: uploads + "/" + canceled, Status: 200},
	})
}

func TestChunksThatAreRefused(t *testing.T) {
	t.Parallel()
	b := uploadBed(t)
	id := b.mustSend(t, "", 0).ID
	part := string(b.file[:flint.ChunkSize])
	post := func(name, contentRange, id, content string, status int, typ string) apitest.Scenario {
		return apitest.Scenario{Name: name, As: apitest.Key.With("Content-Range", contentRange).With("X-Appwrite-ID", id), Method: "POST", Path: uploads, Body: upload2(content), Status: status, Type: typ}
	}
	apitest.Run(t, b, []apitest.Scenario{
		post("another total", "bytes 0-5242879/5242881", id, part, 400, "storage_invalid_content_range"),
		post("between the parts", fmt.Sprintf("bytes 1-5242880/%d", len(b.file)), id, part, 400, "storage_invalid_content_range"),
		post("too short", fmt.Sprintf("bytes 5242880-10485759/%d", len(b.file)), id, "x", 400, "storage_invalid_content_range"),
		post("too long", fmt.Sprintf("bytes 5242880-10485759/%d", len(b.file)), id, part+"x", 400, "storage_invalid_content_range"),
		post("beyond", "bytes 0-11/10", id, part, 400, "storage_invalid_content_range"),
		post("too large", "bytes 0-5242879/30000001", id, part, 400, "deployment_invalid_file_size"),
		post("of nothing", "bytes 0-5242879/20000000", "nope", part, 404, "deployment_not_found"),
		{Name: "of another function", As: apitest.Key.With("Content-Range", "bytes 0-5242879/20000000").With("X-Appwrite-ID", id), Method: "POST", Path: "/v1/functions/g/deployments", Body: upload2(part), Status: 404, Type: "deployment_not_found"},
		{Name: "an invalid field after a part", As: apitest.Key.With("Content-Range", fmt.Sprintf("bytes 0-5242879/%d", len(b.file))), Method: "POST", Path: uploads, Body: upload("c.tar.gz", part, "maybe"), Status: 400, Type: "general_argument_invalid"},
		{Name: "an id without a range is nothing", As: apitest.Key.With("X-Appwrite-ID", id), Method: "POST", Path: uploads, Body: upload2("x"), Status: 202, Want: `{"sourceSize":1}`},
	})
	if left, err := os.ReadDir(filepath.Join(b.dir, "incoming")); err != nil || len(left) > 0 {
		t.Errorf("refused parts stay: %v, %v", left, err)
	}
	// What the builder refuses is told to the request that brought the last part.
	b.Builder.Limit = 100
	b.mustSend(t, id, 1)
	if status, typ, _ := b.send(t, id, 2); status != 400 || typ != "deployment_invalid_file_size" {
		t.Errorf("the last part of a refused archive: %d %s", status, typ)
	}
	if d := b.mustSend(t, id, 2); d.Status != "failed" || d.BuildLogs == "" {
		t.Errorf("after it: %+v", d)
	}
}

func upload2(content string) apitest.Form { return upload("c.tar.gz", content, "0") }

func TestContention(t *testing.T) {
	t.Parallel()
	b := uploadBed(t)
	id := b.mustSend(t, "", 0).ID
	b.mustSend(t, id, 1)
	entered, leave := make(chan struct{}), make(chan struct{})
	b.patience = time.Millisecond
	b.restart(t, func(ctx context.Context, r io.Reader) (build.Source, error) {
		close(entered)
		<-leave
		return b.Builder.Receive(ctx, r)
	})
	var last sync.WaitGroup
	last.Go(func() { b.mustSend(t, id, 2) })
	<-entered
	apitest.Run(t, b, []apitest.Scenario{{
		Name: "while the source is put together", As: apitest.Key.With("Content-Range", fmt.Sprintf("bytes 0-5242879/%d", len(b.file))).With("X-Appwrite-ID", id), Method: "POST", Path: uploads,
		Body: upload2(string(b.file[:flint.ChunkSize])), Status: 429, Type: "general_rate_limit_exceeded",
		Check: func(t *testing.T, r *http.Response, _ []byte) {
			if got := r.Header.Get("Retry-After"); got != "5" {
				t.Errorf("Retry-After %q", got)
			}
		},
	}})
	close(leave)
	last.Wait()
	b.holds(t, id)
}
