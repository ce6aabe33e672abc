// Package admin is the operator's interface of a node: an HTTP handler that knows no keys, for a socket that only the
// operator can open. Package client speaks to it. It is not part of the public API and changes with the program.
package admin

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"flint"
	"flint/client"
	"flint/explain"
	"flint/feed"
	"flint/store"
)

// Config is what the interface needs.
type Config struct {
	Store     *store.Store
	Logger    *slog.Logger
	Explainer *explain.Explainer
	Feed      *feed.Feed // nil: nothing runs that could be followed

	Cancel  func(context.Context, flint.ProjectID, flint.FunctionID, flint.ExecutionID) (*flint.Execution, error) // ends an execution; nil: none runs
	Redrive func(context.Context, *flint.DeadLetter) (*flint.Execution, error)                                    // makes a dead letter a call; nil: nothing does

	Deleted func(flint.ProjectID, flint.FunctionID) error      // ends what runs of a function that is gone; nil: nothing does
	Collect func(ctx context.Context, digests ...string) error // removes blobs that nobody names

	MaxWorkers int // of this node; 0: not known
}

type admin struct{ config Config }

// New returns the handler.
func New(c Config) http.Handler {
	if c.Store == nil || c.Logger == nil || c.Explainer == nil || c.Collect == nil {
		panic("admin: Store, Logger, Explainer and Collect are required")
	}
	a := &admin{config: c}
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(*http.Request) (any, error){
		"GET /projects":                         a.projects,
		"POST /projects":                        a.createProject,
		"DELETE /projects/{project}":            a.deleteProject,
		"GET /projects/{project}/keys":          a.keys,
		"POST /projects/{project}/keys":         a.createKey,
		"DELETE /projects/{project}/keys/{key}": a.deleteKey,
		"GET /projects/{project}/functions":     a.functions,
		"GET /projects/{project}/executions":    a.executions,

		"GET /projects/{project}/executions/{execution}": a.execution,

		"GET /projects/{project}/webhooks":           a.webhooks,
		"GET /projects/{project}/webhooks/{webhook}": a.webhook,

		"GET /projects/{project}/functions/{function}/scaling":   a.scaling,
		"PATCH /projects/{project}/functions/{function}/scaling": a.updateScaling,

		"GET /projects/{project}/explain/{id}": a.explain,

		"GET /projects/{project}/functions/{function}/delivery":   a.delivery,
		"PATCH /projects/{project}/functions/{function}/delivery": a.updateDelivery,

		"POST /projects/{project}/executions/{execution}/cancel": a.cancel,

		"GET /projects/{project}/functions/{function}/deadletters":                      a.deadLetters,
		"DELETE /projects/{project}/functions/{function}/deadletters":                   a.purgeDeadLetters,
		"GET /projects/{project}/functions/{function}/deadletters/{execution}":          a.deadLetter,
		"DELETE /projects/{project}/functions/{function}/deadletters/{execution}":       a.deleteDeadLetter,
		"POST /projects/{project}/functions/{function}/deadletters/{execution}/redrive": a.redrive,
		"GET /projects/{project}/schedules":                                             a.schedules,
		"GET /projects/{project}/functions/{function}/schedule":                         a.schedule,
		"PATCH /projects/{project}/functions/{function}/schedule":                       a.updateSchedule,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			out, err := handle(r)
			if err != nil {
				a.refuse(w, err)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(out) // who has gone has gone
		})
	}
	mux.HandleFunc("GET /projects/{project}/executions/follow", a.follow)
	mux.HandleFunc("GET /projects/{project}/tail", a.tail)
	return mux
}

// refuse tells the operator everything: there is nobody to hide it from.
func (a *admin) refuse(w http.ResponseWriter, err error) {
	answer, status := client.Error{Type: flint.ErrUnknown.Type, Message: err.Error()}, http.StatusInternalServerError
	var known *flint.Error
	if errors.As(err, &known) && known.Kind != flint.Internal {
		answer, status = client.Error{Type: known.Type, Message: known.Message}, http.StatusBadRequest
	} else {
		a.config.Logger.Error("operator's request failed", slog.String("err", err.Error()))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

func (a *admin) projects(r *http.Request) (any, error) {
	found, err := a.config.Store.Projects(r.Context())
	all := make([]client.Project, 0, len(found))
	for _, p := range found {
		all = append(all, client.Project{ID: string(p.ID), Name: p.Name, CreatedAt: p.CreatedAt})
	}
	return all, err
}

// project reads the project that a path names.
func (a *admin) project(r *http.Request) (flint.ProjectID, error) {
	p, err := a.config.Store.Project(r.Context(), flint.ProjectID(r.PathValue("project")))
	if errors.Is(err, flint.ErrProjectNotFound) {
		return "", flint.ErrProjectNotFound.Saying("There is no project %s.", r.PathValue("project"))
	}
	if err != nil {
		return "", err
	}
	return p.ID, nil
}

func read(r *http.Request, in any) error {
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 1<<20)).Decode(in); err != nil {
		return flint.ErrBadRequest.Because(err)
	}
	return nil
}

var projectID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,35}$`)

func (a *admin) createProject(r *http.Request) (any, error) {
	var in client.Project
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if in.ID == "" {
		in.ID = flint.NewID()
	}
	if !projectID.MatchString(in.ID) || in.ID == "console" {
		return nil, flint.ErrInvalidArgument.Saying("%q cannot be the id of a project: at most 36 lower-case letters, digits and hyphens, and not console.", in.ID)
	}
	if in.Name == "" {
		in.Name = in.ID
	}
	p := &flint.Project{ID: flint.ProjectID(in.ID), Name: in.Name}
	if err := a.config.Store.CreateProject(r.Context(), p); err != nil {
		return nil, err
	}
	return client.Project{ID: in.ID, Name: in.Name, CreatedAt: p.CreatedAt}, nil
}

// deleteProject removes the functions one after the other: what was begun can be gone on with.
func (a *admin) deleteProject(r *http.Request) (any, error) {
	project, err := a.project(r)
	if err != nil {
		return nil, err
	}
	ctx := r.Context()
	for {
		found, _, err := a.config.Store.Functions(ctx, project, flint.List{Limit: 100, NoTotal: true})
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if err := a.deleteFunction(ctx, f); err != nil {
				return nil, err
			}
		}
		if len(found) > 0 {
			continue
		}
		if err := a.config.Store.DeleteProject(ctx, project); !errors.Is(err, flint.ErrProjectHasFunctions) {
			return struct{}{}, err
		}
	}
}

func (a *admin) deleteFunction(ctx context.Context, f *flint.Function) error {
	digests, err := a.config.Store.DeploymentDigests(ctx, f.Project, f.ID)
	if err != nil {
		return err
	}
	if err := a.config.Store.DeleteFunction(ctx, f.Project, f.ID); err != nil && !errors.Is(err, flint.ErrFunctionNotFound) {
		return err
	}
	var failed error
	if a.config.Deleted != nil {
		failed = a.config.Deleted(f.Project, f.ID)
	}
	return errors.Join(failed, a.config.Collect(ctx, digests...))
}

func keyModel(k *flint.Key, secret string) client.Key {
	return client.Key{ID: k.ID, Project: string(k.Project), Name: k.Name, Scopes: k.Scopes, Secret: secret, CreatedAt: k.CreatedAt, ExpireAt: k.ExpireAt}
}

func (a *admin) keys(r *http.Request) (any, error) {
	project, err := a.project(r)
	if err != nil {
		return nil, err
	}
	found, err := a.config.Store.Keys(r.Context(), project)
	all := make([]client.Key, 0, len(found))
	for _, k := range found {
		all = append(all, keyModel(k, ""))
	}
	return all, err
}

func (a *admin) createKey(r *http.Request) (any, error) {
	var in client.Key
	if err := read(r, &in); err != nil {
		return nil, err
	}
	project, err := a.project(r)
	if err != nil {
		return nil, err
	}
	switch i := slices.IndexFunc(in.Scopes, func(s string) bool { return !flint.ValidScope(s) }); {
	case i >= 0:
		return nil, flint.ErrInvalidArgument.Saying("There is no scope %q.", in.Scopes[i])
	case !in.ExpireAt.IsZero() && !in.ExpireAt.After(time.Now()):
		return nil, flint.ErrInvalidArgument.Saying("A key that has expired already is of no use.")
	}
	var b [128]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	k := &flint.Key{
		ID: flint.NewID(), Project: project, Name: in.Name, Scopes: in.Scopes, ExpireAt: in.ExpireAt.UTC().Truncate(time.Millisecond),
		Secret: "standard_" + hex.EncodeToString(b[:]),
	}
	if err := a.config.Store.CreateKey(r.Context(), k); err != nil {
		return nil, err
	}
	return keyModel(k, k.Secret), nil
}

func (a *admin) deleteKey(r *http.Request) (any, error) {
	project, err := a.project(r)
	if err != nil {
		return nil, err
	}
	return struct{}{}, a.config.Store.DeleteKey(r.Context(), project, r.PathValue("key"))
}

const batch = 1000

func (a *admin) functions(r *http.Request) (any, error) {
	project, err := a.project(r)
	if err != nil {
		return nil, err
	}
	domains := map[flint.FunctionID][]string{}
	for offset, n := 0, batch; n == batch; offset += batch {
		rules, _, err := a.config.Store.Rules(r.Context(), project, flint.List{Limit: batch, Offset: offset, NoTotal: true})
		if err != nil {
			return nil, err
		}
		for _, rule := range rules {
			if rule.Type == flint.RuleDeployment {
				domains[rule.Function] = append(domains[rule.Function], rule.Domain)
			}
		}
		n = len(rules)
	}
	all := []client.Function{}
	for offset, n := 0, batch; n == batch; offset += batch {
		found, _, err := a.config.Store.Functions(r.Context(), project, flint.List{Limit: batch, Offset: offset, NoTotal: true})
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			all = append(all, client.Function{
				ID: string(f.ID), Project: string(project), Name: f.Name, Runtime: f.Runtime, Enabled: f.Enabled, Schedule: f.Schedule,
				DeploymentID: string(f.DeploymentID), Latest: string(f.LatestDeploymentStatus), Domains: append([]string{}, domains[f.ID]...), CreatedAt: f.CreatedAt,
			})
		}
		n = len(found)
	}
	return all, nil
}

func executionModel(e *flint.Execution) client.Execution {
	return client.Execution{
		ID: string(e.ID), Project: string(e.Project), Function: string(e.Function), DeploymentID: string(e.Deployment), CreatedAt: e.CreatedAt.UTC(),
		Trigger: string(e.Trigger), Status: string(e.Status), Method: e.RequestMethod, Path: e.RequestPath, StatusCode: e.StatusCode,
		Duration: e.Duration, Logs: e.Logs, Errors: e.Errors, Receipt: receiptModel(e.Receipt),
	}
}

// recent reads the newest executions that a request asks for, oldest first.
func (a *admin) recent(r *http.Request) ([]client.Execution, error) {
	project, err := a.project(r)
	if err != nil {
		return nil, err
	}
	function := flint.FunctionID(r.URL.Query().Get("function"))
	if function != "" {
		if _, err := a.config.Store.Function(r.Context(), project, function); err != nil {
			return nil, err
		}
	}
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit < 0 || limit > batch {
		return nil, flint.ErrInvalidArgument.Saying("The limit must be between 0 and %d.", batch)
	}
	all := []client.Execution{}
	if limit == 0 {
		return all, nil
	}
	found, err := a.config.Store.RecentExecutions(r.Context(), project, function, limit)
	for _, e := range slices.Backward(found) {
		all = append(all, executionModel(e))
	}
	return all, err
}

func (a *admin) executions(r *http.Request) (any, error) {
	return a.recent(r)
}

// signOfLife is how often a follower hears something, so that it notices when it is alone.
const signOfLife = 15 * time.Second

// follow writes executions, one a line: the newest, then each that ends, until the follower goes or the node stops.
func (a *admin) follow(w http.ResponseWriter, r *http.Request) {
	if a.config.Feed == nil {
		a.refuse(w, flint.ErrBadRequest.Saying("No node runs on this data directory: there is nothing to follow."))
		return
	}
	project, err := a.project(r)
	if err != nil {
		a.refuse(w, err)
		return
	}
	filter := feed.Filter{Project: project}
	if function := r.URL.Query().Get("function"); function != "" {
		filter.Functions = []flint.FunctionID{flint.FunctionID(function)}
	}
	following := a.config.Feed.Follow(filter) // first, so that nothing falls between the two
	defer following.Close()
	all, err := a.recent(r)
	if err != nil {
		a.refuse(w, err)
		return
	}
	out := newLines(w)
	for _, e := range all {
		if out.encoder.Encode(e) != nil {
			return
		}
	}
	for out.flush() == nil {
		item, err := following.Next(r.Context(), signOfLife)
		var line any = struct{}{}
		switch {
		case err != nil:
			return
		case item.Ended != nil:
			line = executionModel(item.Ended)
		}
		if out.encoder.Encode(line) != nil {
			return
		}
	}
}

// lines writes JSON, one a line, to somebody who reads while more comes.
type lines struct {
	encoder *json.Encoder
	flush   func() error
}

func newLines(w http.ResponseWriter) lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	return lines{json.NewEncoder(w), http.NewResponseController(w).Flush}
}
