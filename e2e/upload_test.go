package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"sync"
	"testing"
	"time"

	"flint/e2e/node"
)

const partSize = 5 << 20

// parts sends a file to a node in parts.
type parts struct {
	function string
	file     []byte
	id       string // of the deployment, once the first part is answered
}

func (p *parts) count() int { return (len(p.file) + partSize - 1) / partSize }

// request makes the request of a part. The body passes through what is given.
func (p *parts) request(ctx context.Context, n *node.Node, index int, through func(io.Reader) io.Reader) (*http.Request, error) {
	begin, end := index*partSize, min((index+1)*partSize, len(p.file))
	var head bytes.Buffer
	form := multipart.NewWriter(&head)
	if err := form.WriteField("activate", "true"); err != nil {
		return nil, err
	}
	if _, err := form.CreateFormFile("code", "code.tar.gz"); err != nil {
		return nil, err
	}
	before := head.Len()
	if err := form.Close(); err != nil {
		return nil, err
	}
	tail := bytes.Clone(head.Bytes()[before:])
	head.Truncate(before)
	length := int64(before + end - begin + len(tail))
	body := io.MultiReader(&head, through(bytes.NewReader(p.file[begin:end])), bytes.NewReader(tail))
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, n.Base+"/v1/functions/"+p.function+"/deployments", body)
	if err != nil {
		return nil, err
	}
	r.ContentLength = length
	r.Header.Set("Content-Type", form.FormDataContentType())
	r.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", begin, end-1, len(p.file)))
	r.Header.Set("X-Appwrite-Project", node.Project)
	r.Header.Set("X-Appwrite-Key", node.Key)
	if p.id != "" {
		r.Header.Set("X-Appwrite-Id", p.id)
	}
	return r, nil
}

// send sends a part and returns the deployment that is answered.
func (p *parts) send(ctx context.Context, n *node.Node, index int, through func(io.Reader) io.Reader) (*node.Deployment, error) {
	r, err := p.request(ctx, n, index, through)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusAccepted {
		return nil, fmt.Errorf("part %d: status %d: %s", index, resp.StatusCode, b)
	}
	d := &node.Deployment{}
	return d, json.Unmarshal(b, d)
}

// stalled passes the first half of a part, says so, and then waits.
type stalled struct {
	io.Reader
	left  int
	half  func()
	until <-chan struct{}
}

func (s *stalled) Read(b []byte) (int, error) {
	if s.left == 0 {
		s.half()
		<-s.until
		return 0, io.ErrUnexpectedEOF
	}
	n, err := s.Reader.Read(b[:min(len(b), s.left)])
	s.left -= n
	return n, err
}

func whole(r io.Reader) io.Reader { return r }

// download returns the source of a deployment.
func download(t *testing.T, n *node.Node, function, deployment string) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.Base+"/v1/functions/"+function+"/deployments/"+deployment+"/download", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Appwrite-Project", node.Project)
	r.Header.Set("X-Appwrite-Key", node.Key)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("download: status %d, %v: %.200s", resp.StatusCode, err, b)
	}
	return b
}

// TestAnUploadSurvivesAKilledNode sends 20 MB in parts of 5 MiB, eight requests in flight and in no order, kills the
// node while most of them are half sent, and sends the parts again to the node that follows.
func TestAnUploadSurvivesAKilledNode(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	n := launch(t, data)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	noise := make([]byte, 20_000_000)
	if _, err := rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, seed))).Read(noise); err != nil {
		t.Fatal(err)
	}
	p := &parts{function: "large", file: node.Archive(t, map[string]string{
		"index.js": `module.exports = async ({ res }) => res.text(require('crypto').createHash('sha256').update(require('fs').readFileSync(__dirname + '/noise')).digest('hex'))`,
		"noise":    string(noise),
	})}
	if p.count() != 4 {
		t.Fatalf("the archive of %d bytes has %d parts", len(p.file), p.count())
	}
	f := node.Function{ID: p.function, Name: "large", Runtime: runtime(t, n, "node"), Entrypoint: "index.js", Timeout: 30, Execute: []string{"any"}, Enabled: true, Logging: true}
	if err := n.Create(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	order := random.Perm(p.count())
	d, err := p.send(t.Context(), n, order[0], whole)
	if err != nil {
		t.Fatal(err)
	}
	p.id = d.ID

	interrupted(t, n, p, order[1], order[2:])
	n = launch(t, data)
	if err := waits(t.Context(), n, p); err != nil {
		t.Error(err)
	}
	resume(t, n, p, random)
	if d, err = n.Built(t.Context(), p.function, p.id); err != nil || d.Status != "ready" {
		t.Fatalf("the build: %+v, %v", d, err)
	}
	if got := download(t, n, p.function, p.id); !bytes.Equal(got, p.file) {
		t.Errorf("the download has %d bytes with the sum %x, want %d with %x", len(got), sha256.Sum256(got), len(p.file), sha256.Sum256(p.file))
	}
	sum := sha256.Sum256(noise)
	if e, err := n.Execute(t.Context(), p.function, node.Call{}); err != nil || e.Body != hex.EncodeToString(sum[:]) {
		t.Errorf("the function sees other bytes: %+v, %v", e, err)
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

// interrupted kills the node when a part has been taken twice and the others, three times each, are half sent.
func interrupted(t *testing.T, n *node.Node, p *parts, taken int, half []int) {
	t.Helper()
	type answer struct {
		index int
		err   error
	}
	killed, halves, answers := make(chan struct{}), make(chan int, 6), make(chan answer, 8)
	requests := []int{taken, taken}
	for _, index := range half {
		requests = append(requests, index, index, index)
	}
	var senders sync.WaitGroup
	for _, index := range requests {
		senders.Go(func() {
			_, err := p.send(t.Context(), n, index, func(r io.Reader) io.Reader {
				if index == taken {
					return r
				}
				return &stalled{Reader: r, left: partSize / 2, half: func() { halves <- index }, until: killed}
			})
			answers <- answer{index, err}
		})
	}
	deadline := time.After(time.Minute)
	for waiting := len(requests); waiting > 0; waiting-- {
		select {
		case <-halves:
		case a := <-answers:
			if a.index != taken || a.err != nil {
				t.Errorf("part %d was answered before the node was killed: %v", a.index, a.err)
			}
		case <-deadline:
			t.Error("the parts are not sent within a minute")
			waiting = 1
		}
	}
	n.Kill()
	close(killed)
	senders.Wait()
	close(answers)
	for a := range answers {
		if a.err == nil {
			t.Errorf("part %d was taken without its second half", a.index)
		}
	}
}

// waits fails unless the deployment waits for the rest of its parts.
func waits(ctx context.Context, n *node.Node, p *parts) error {
	var d struct {
		Status     string `json:"status"`
		SourceSize int    `json:"sourceSize"`
	}
	if _, err := n.Do(ctx, http.MethodGet, "/v1/functions/"+p.function+"/deployments/"+p.id, nil, &d); err != nil {
		return err
	}
	if d.Status != "waiting" || d.SourceSize != len(p.file) {
		return fmt.Errorf("after the restart the deployment is %s with %d bytes, want waiting with %d", d.Status, d.SourceSize, len(p.file))
	}
	return nil
}

// resume sends every part twice, all at once: what was taken already is answered like what is new.
func resume(t *testing.T, n *node.Node, p *parts, random *rand.Rand) {
	t.Helper()
	var senders sync.WaitGroup
	for _, i := range random.Perm(2 * p.count()) {
		senders.Go(func() {
			if d, err := p.send(t.Context(), n, i%p.count(), whole); err != nil || d.ID != p.id {
				t.Errorf("resumed: %+v, %v", d, err)
			}
		})
	}
	senders.Wait()
}
