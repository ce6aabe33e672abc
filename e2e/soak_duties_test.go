package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"flint/e2e/node"
)

// duty is something that is done again and again while the node is soaked. An error ends the soak as failed.
type duty struct {
	name   string
	weight int           // among the calls, which are made at half of what the node can do; 0: it is no call
	every  time.Duration // from the end of one time to the next, when it is no call
	do     func(context.Context) error
}

// soaked is a node with functions.
type soaked struct {
	*node.Node
	t                                *testing.T
	calm, py, rough, switched, grown *node.Function
	colds                            []*node.Function
	versions                         [2]string // deployments of switched
	code                             string
	runtime                          string
	round                            atomic.Int64
	refused                          atomic.Int64
}

const (
	soakColds    = 4
	soakTimeout  = 1 // second: of the function that misses it
	soakGenerous = 30
)

func newSoaked(t *testing.T, n *node.Node) *soaked {
	t.Helper()
	s := &soaked{Node: n, runtime: runtime(t, n, "node")}
	code := read(t, "functions/soak.js")
	s.t, s.code = t, code
	deploy := func(id string, timeout int, size string) *node.Function {
		return n.Deploy(t, node.Function{
			ID: id, Runtime: s.runtime, Entrypoint: "i.js", Execute: []string{"any"}, Timeout: timeout, Size: size, Scopes: []string{"functions.read"},
		}, map[string]string{"NAME": id}, map[string]string{"i.js": code})
	}
	s.calm = deploy("calm", soakGenerous, "")
	s.rough = deploy("rough", soakTimeout, "s-0.5vcpu-512mb")
	s.switched = deploy("switched", soakGenerous, "")
	s.grown = deploy("grown", soakGenerous, "")
	s.versions[0] = s.switched.DeploymentID
	s.versions[1] = n.Redeploy(t, s.switched, "", map[string]string{"i.js": strings.Replace(code, "'0'", "'1'", 1)}).ID
	for i := range soakColds {
		f := deploy(fmt.Sprintf("cold-%d", i), soakGenerous, "")
		if _, err := n.Do(t.Context(), http.MethodPut, "/v1/flint/functions/"+f.ID+"/scaling", map[string]any{"keepAlive": "1"}, nil); err != nil {
			t.Fatal(err)
		}
		s.colds = append(s.colds, f)
	}
	s.py = n.Deploy(t, node.Function{ID: "py", Runtime: runtime(t, n, "python"), Entrypoint: "main.py", Execute: []string{"any"}, Timeout: soakGenerous}, nil,
		map[string]string{"main.py": "def main(context):\n    context.log('asked')\n    return context.res.text('0')\n"})
	return s
}

// duties are what is done. Calls that are refused because there is too much to do are counted; they fail nothing, because
// the tests do not have the machine for themselves.
func (s *soaked) duties() []duty {
	return []duty{
		{name: "visit", weight: 40, do: s.visit(s.calm, "/", http.StatusOK, "0")},
		{name: "visit python", weight: 10, do: s.visit(s.py, "/", http.StatusOK, "0")},
		{name: "visit one that is replaced", weight: 10, do: s.visit(s.switched, "/", http.StatusOK, "")},
		{name: "send a body", weight: 8, do: s.echo},
		{name: "large answer", weight: 2, do: s.visit(s.calm, "/large", http.StatusOK, strings.Repeat("x", 1<<20))},
		{name: "many logs", weight: 1, do: s.visit(s.calm, "/logs", http.StatusOK, "logged")},
		{name: "error in the function", weight: 2, do: s.visit(s.calm, "/throw", http.StatusInternalServerError, "")},
		{name: "call the API from inside", weight: 2, do: s.visit(s.calm, "/api", http.StatusOK, "200")},
		{name: "execute", weight: 10, do: s.execute},
		{name: "enqueue", weight: 6, do: s.enqueue},
		{name: "list", weight: 3, do: s.list},
		{name: "leave in the middle", weight: 3, do: s.leave},
		{name: "break off a request", weight: 3, do: s.breakOff},

		{name: "start cold", every: 300 * time.Millisecond, do: s.startCold},
		{name: "misbehave", every: time.Second, do: s.misbehave},
		{name: "activate", every: time.Second, do: s.activate},
		{name: "deploy", every: 3 * time.Second, do: s.deploy},
		{name: "live and die", every: 3 * time.Second, do: s.live},
		{name: "break builds", every: 3 * time.Second, do: s.breakBuilds},
		{name: "change a variable", every: 4 * time.Second, do: s.change},
	}
}

// tooMuch reports whether an answer says that there is too much to do.
func (s *soaked) tooMuch(status int) bool {
	full := status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
	if full {
		s.refused.Add(1)
	}
	return full
}

// pardon drops the error of a call that was refused.
func (s *soaked) pardon(err error) error {
	if failed, ok := errors.AsType[*node.Error](err); ok && s.tooMuch(failed.Status) {
		return nil
	}
	return err
}

// archive is a version of the function that nobody has had before.
func (s *soaked) archive(version int64) []byte {
	return node.Archive(s.t, map[string]string{
		"i.js": strings.Replace(s.code, "'0'", fmt.Sprintf("'%d'", version), 1), "unique.txt": fmt.Sprint(s.round.Add(1)),
	})
}

// visit calls a function on its domain. An empty body is any.
func (s *soaked) visit(f *node.Function, path string, status int, body string) func(context.Context) error {
	return func(ctx context.Context) error {
		r, err := s.Visit(ctx, node.Request{Host: f.Domain(), Path: path})
		if err != nil || s.tooMuch(r.Status) {
			return err
		}
		if r.Status != status || body != "" && string(r.Body) != body {
			return fmt.Errorf("%s%s: status %d: %.200q", f.ID, path, r.Status, r.Body)
		}
		return nil
	}
}

func (s *soaked) echo(ctx context.Context) error {
	body := strings.Repeat("z", 1<<(s.round.Add(1)%18))
	r, err := s.Visit(ctx, node.Request{Host: s.calm.Domain(), Path: "/echo", Method: http.MethodPost, Body: strings.NewReader(body)})
	if err != nil || s.tooMuch(r.Status) {
		return err
	}
	if r.Status != http.StatusOK || string(r.Body) != body {
		return fmt.Errorf("status %d with %d bytes instead of %d", r.Status, len(r.Body), len(body))
	}
	return nil
}

func (s *soaked) execute(ctx context.Context) error {
	e, err := s.Execute(ctx, s.calm.ID, node.Call{Path: "/wait?ms=20"})
	if err == nil && e.Code != http.StatusOK {
		err = fmt.Errorf("the execution is %s %d: %s", e.Status, e.Code, e.Errors)
	}
	return s.pardon(err)
}

func (s *soaked) enqueue(ctx context.Context) error {
	e, err := s.Execute(ctx, s.calm.ID, node.Call{Path: "/", Async: true})
	if err == nil && s.round.Add(1)%4 == 0 {
		limited, cancel := context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
		id := e.ID
		if e, err = s.Finished(limited, s.calm.ID, id); err != nil {
			// The node keeps so few executions that one which waited for long may go as soon as it has ended.
			if _, gone := s.Execution(ctx, s.calm.ID, id); isNotFound(gone) {
				return nil
			}
		}
		if err == nil && e.Status != "completed" {
			err = fmt.Errorf("the execution is %s: %s", e.Status, e.Errors)
		}
	}
	return err
}

func (s *soaked) list(ctx context.Context) error {
	_, err := s.Do(ctx, http.MethodGet, "/v1/functions/calm/executions?queries[]=%7B%22method%22:%22limit%22,%22values%22:[5]%7D&total=false", nil, nil)
	return err
}

// leave goes away before the answer has come.
func (s *soaked) leave(ctx context.Context) error {
	left, cancel := context.WithTimeout(ctx, time.Duration(1+s.round.Add(1)%40)*time.Millisecond)
	defer cancel()
	path := "/wait?ms=20"
	if s.round.Load()%2 == 0 {
		path = "/large"
	}
	r, err := s.Visit(left, node.Request{Host: s.calm.Domain(), Path: path})
	if err == nil && r.Status != http.StatusOK && !s.tooMuch(r.Status) {
		return fmt.Errorf("status %d: %.200q", r.Status, r.Body)
	}
	return nil // it may have been quicker, or not
}

// breakOff sends a part of a request and closes the connection.
func (s *soaked) breakOff(ctx context.Context) error {
	request := "POST /echo HTTP/1.1\r\nHost: " + s.calm.Domain() + "\r\nContent-Length: 1000\r\n\r\n" + strings.Repeat("q", 500)
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return err
	}
	_, err = io.WriteString(c, request[:1+int(s.round.Add(1))*31%len(request)])
	return errors.Join(err, c.Close())
}

func (s *soaked) startCold(ctx context.Context) error {
	return s.visit(s.colds[s.round.Add(1)%soakColds], "/", http.StatusOK, "0")(ctx)
}

// misbehave makes a call that ends its worker, or that outlives its deadline.
func (s *soaked) misbehave(ctx context.Context) error {
	paths := []string{"/exit", "/spin", "/wait?ms=5000", "/fork", "/eat", "/throw"}
	path := paths[s.round.Add(1)%int64(len(paths))]
	r, err := s.Visit(ctx, node.Request{Host: s.rough.Domain(), Path: path})
	if err == nil && r.Status == http.StatusOK && path != "/fork" {
		err = fmt.Errorf("%s: status %d: %.200q", path, r.Status, r.Body)
	}
	return err
}

// activate switches between two deployments, and looks whether the calls that come then meet the right one.
func (s *soaked) activate(ctx context.Context) error {
	version := s.round.Add(1) % 2
	_, err := s.Do(ctx, http.MethodPatch, "/v1/functions/switched/deployment", map[string]string{"deploymentId": s.versions[version]}, nil)
	if err != nil {
		return err
	}
	return s.visit(s.switched, "/", http.StatusOK, fmt.Sprint(version))(ctx)
}

// deploy gives a function new code, and deletes the deployment that it had.
func (s *soaked) deploy(ctx context.Context) error {
	version := s.round.Add(1) % 2
	d, err := s.Upload(ctx, "grown", "", s.archive(version))
	if err != nil {
		return err
	}
	if d, err = s.Built(ctx, "grown", d.ID); err != nil || d.Status != "ready" {
		return fmt.Errorf("the build is %s: %s, %w", d.Status, d.Logs, err)
	}
	old := s.grown.DeploymentID
	s.grown.DeploymentID = d.ID
	if err := s.visit(s.grown, "/", http.StatusOK, fmt.Sprint(version))(ctx); err != nil {
		return err
	}
	_, err = s.Do(ctx, http.MethodDelete, "/v1/functions/grown/deployments/"+old, nil, nil)
	return err
}

// live makes a function with all that belongs to it and deletes it while it is called.
func (s *soaked) live(ctx context.Context) error {
	id := fmt.Sprintf("mortal-%d", s.round.Add(1))
	err := s.Create(ctx, node.Function{ID: id, Name: id, Runtime: s.runtime, Entrypoint: "i.js", Execute: []string{"any"}, Timeout: soakGenerous, Enabled: true, Logging: true})
	if err != nil {
		return err
	}
	if err := s.SetVariable(ctx, id, "NAME", id); err != nil {
		return err
	}
	d, err := s.Upload(ctx, id, "", s.archive(0))
	if err != nil {
		return err
	}
	if d, err = s.Built(ctx, id, d.ID); err != nil || d.Status != "ready" {
		return fmt.Errorf("the build is %s: %s, %w", d.Status, d.Logs, err)
	}
	var rule struct {
		ID string `json:"$id"`
	}
	domain := id + ".example.test"
	if _, err := s.Do(ctx, http.MethodPost, "/v1/proxy/rules/redirect", map[string]any{
		"domain": domain, "url": "https://example.test", "statusCode": 308, "resourceId": id, "resourceType": "function",
	}, &rule); err != nil {
		return err
	}
	if _, err := s.Visit(ctx, node.Request{Host: domain}); err != nil {
		return err
	}
	if err := s.visit(&node.Function{ID: id}, "/", http.StatusOK, "0")(ctx); err != nil {
		return err
	}
	for range 3 {
		if _, err := s.Execute(ctx, id, node.Call{Path: "/wait?ms=1000", Async: true}); err != nil {
			return err
		}
	}
	_, err = s.Do(ctx, http.MethodDelete, "/v1/proxy/rules/"+rule.ID, nil, nil)
	if err == nil {
		_, err = s.Do(ctx, http.MethodDelete, "/v1/functions/"+id, nil, nil)
	}
	return err
}

// breakBuilds has a build that fails, one that is canceled, an upload that is no archive and one that never ends.
func (s *soaked) breakBuilds(ctx context.Context) error {
	id := fmt.Sprintf("broken-%d", s.round.Add(1))
	f := node.Function{ID: id, Name: id, Runtime: s.runtime, Entrypoint: "i.js", Commands: "echo it fails && exit 7", Enabled: true, Logging: true}
	if err := s.Create(ctx, f); err != nil {
		return err
	}
	d, err := s.Upload(ctx, id, "", s.archive(0))
	if err != nil {
		return err
	}
	if d, err = s.Built(ctx, id, d.ID); err != nil || d.Status != "failed" {
		return fmt.Errorf("a build that fails is %s: %w", d.Status, err)
	}
	f.Commands = "sleep 100 & sleep 100"
	if err := s.Update(ctx, f); err != nil {
		return err
	}
	if d, err = s.Upload(ctx, id, "", s.archive(0)); err != nil {
		return err
	}
	err = node.Poll(ctx, func() error {
		if _, err := s.Do(ctx, http.MethodGet, "/v1/functions/"+id+"/deployments/"+d.ID, nil, d); err != nil || d.Status == "building" {
			return err
		}
		return fmt.Errorf("the build is %s", d.Status)
	})
	if err != nil {
		return err
	}
	if _, err := s.Do(ctx, http.MethodPatch, "/v1/functions/"+id+"/deployments/"+d.ID+"/status", nil, nil); err != nil {
		return fmt.Errorf("cancel a build: %w", err)
	}
	if d, err = s.Upload(ctx, id, "", []byte("this is no archive")); err != nil {
		return err
	}
	if d, err = s.Built(ctx, id, d.ID); err != nil || d.Status != "failed" {
		return fmt.Errorf("a deployment of what is no archive is %s: %w", d.Status, err)
	}
	p := &parts{function: id, file: make([]byte, partSize+1)}
	if _, err := p.send(ctx, s.Node, 0, whole); err != nil {
		return err
	}
	_, err = s.Do(ctx, http.MethodDelete, "/v1/functions/"+id, nil, nil)
	return err
}

// change makes and deletes a variable of a function that is being called.
func (s *soaked) change(ctx context.Context) error {
	var variable struct {
		ID string `json:"$id"`
	}
	_, err := s.Do(ctx, http.MethodPost, "/v1/functions/calm/variables", map[string]any{"variableId": "unique()", "key": "PASSING", "value": "x", "secret": false}, &variable)
	if err != nil {
		return err
	}
	if err := s.visit(s.calm, "/", http.StatusOK, "0")(ctx); err != nil {
		return err
	}
	_, err = s.Do(ctx, http.MethodDelete, "/v1/functions/calm/variables/"+variable.ID, nil, nil)
	return err
}

func isNotFound(err error) bool {
	e, ok := errors.AsType[*node.Error](err)
	return ok && e.Status == http.StatusNotFound
}
