package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"flint"
)

// functionSettings is the part of a function that no query looks into.
type functionSettings struct {
	Execute               []string `json:"execute,omitempty"`
	Events                []string `json:"events,omitempty"`
	Scopes                []string `json:"scopes,omitempty"`
	Logging               bool     `json:"logging,omitempty"`
	Retention             int      `json:"retention,omitempty"`
	BuildSpec             string   `json:"buildSpec,omitempty"`
	RuntimeSpec           string   `json:"runtimeSpec,omitempty"`
	ProviderRepositoryID  string   `json:"providerRepositoryId,omitempty"`
	ProviderBranch        string   `json:"providerBranch,omitempty"`
	ProviderRootDirectory string   `json:"providerRootDirectory,omitempty"`
	ProviderSilentMode    bool     `json:"providerSilentMode,omitempty"`
	ProviderBranches      []string `json:"providerBranches,omitempty"`
	ProviderPaths         []string `json:"providerPaths,omitempty"`

	Domain     flint.DomainSettings   `json:"domain,omitzero"`
	Scaling    flint.Scaling          `json:"scaling,omitzero"`
	Delivery   flint.Delivery         `json:"delivery,omitzero"`
	Scheduling flint.ScheduleSettings `json:"scheduling,omitzero"`
}

const functionColumns = `t.project, t.id, t.created_at, t.updated_at, t.name, t.runtime, t.enabled, t.live, t.schedule, t.timeout, t.entrypoint,
	t.commands, t.installation_id, t.deployment_id, t.deployment_created_at, t.latest_id, t.latest_created_at, t.latest_status, t.settings`

func scanFunction(r scanner) (*flint.Function, error) {
	var f flint.Function
	var created, updated, timeout, deployed, latest int64
	var settings []byte
	err := r.Scan(&f.Project, &f.ID, &created, &updated, &f.Name, &f.Runtime, &f.Enabled, &f.Live, &f.Schedule, &timeout, &f.Entrypoint,
		&f.Commands, &f.InstallationID, &f.DeploymentID, &deployed, &f.LatestDeploymentID, &latest, &f.LatestDeploymentStatus, &settings)
	if err != nil {
		return nil, err
	}
	var v functionSettings
	if err := json.Unmarshal(settings, &v); err != nil {
		return nil, fmt.Errorf("settings of function %s: %w", f.ID, err)
	}
	f.CreatedAt, f.UpdatedAt, f.Timeout = instant(created), instant(updated), duration(timeout)
	f.DeploymentCreatedAt, f.LatestDeploymentCreatedAt = instant(deployed), instant(latest)
	f.Execute, f.Events, f.Scopes, f.Logging = v.Execute, v.Events, v.Scopes, v.Logging
	f.Retention, f.BuildSpec, f.RuntimeSpec = v.Retention, v.BuildSpec, v.RuntimeSpec
	f.ProviderRepositoryID, f.ProviderBranch, f.ProviderRootDirectory = v.ProviderRepositoryID, v.ProviderBranch, v.ProviderRootDirectory
	f.ProviderSilentMode, f.ProviderBranches, f.ProviderPaths = v.ProviderSilentMode, v.ProviderBranches, v.ProviderPaths
	f.Domain, f.Scaling, f.Delivery, f.Scheduling = v.Domain, v.Scaling, v.Delivery, v.Scheduling
	return &f, nil
}

// functionArgs are the values of a function's columns: its key first, then those that may change.
func functionArgs(f *flint.Function) ([]any, error) {
	settings, err := json.Marshal(functionSettings{
		Execute: f.Execute, Events: f.Events, Scopes: f.Scopes, Logging: f.Logging, Retention: f.Retention,
		BuildSpec: f.BuildSpec, RuntimeSpec: f.RuntimeSpec, ProviderRepositoryID: f.ProviderRepositoryID, ProviderBranch: f.ProviderBranch,
		ProviderRootDirectory: f.ProviderRootDirectory, ProviderSilentMode: f.ProviderSilentMode,
		ProviderBranches: f.ProviderBranches, ProviderPaths: f.ProviderPaths, Domain: f.Domain, Scaling: f.Scaling, Delivery: f.Delivery, Scheduling: f.Scheduling,
	})
	if err != nil {
		return nil, fmt.Errorf("settings of function %s: %w", f.ID, err)
	}
	return []any{
		string(f.Project), string(f.ID), millis(f.UpdatedAt), f.Name, f.Runtime, f.Enabled, f.Live, f.Schedule, seconds(f.Timeout), f.Entrypoint,
		f.Commands, f.InstallationID, string(f.DeploymentID), millis(f.DeploymentCreatedAt), string(f.LatestDeploymentID),
		millis(f.LatestDeploymentCreatedAt), string(f.LatestDeploymentStatus), string(settings),
	}, nil
}

// CreateFunction adds a function and, if rule is not nil, the domain that it is reached at: ErrFunctionExists when the
// id is taken in the project, ErrRuleExists when the domain is taken on the platform; nothing is added then.
func (s *Store) CreateFunction(ctx context.Context, f *flint.Function, rule *flint.Rule) error {
	stamp(&f.CreatedAt, &f.UpdatedAt)
	args, err := functionArgs(f)
	if err != nil {
		return err
	}
	uid := newUID()
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if found, err := t.one(ctx, "select 1 from projects where id = $1", []any{string(f.Project)}, ignore); err != nil {
			return err
		} else if !found {
			return flint.ErrProjectNotFound
		}
		var born int64 // when the last namesake was deleted
		if _, err := t.one(ctx, "select coalesce(max(deleted_at), 0) from buried where project = $1 and id = $2",
			args[:2], func(r scanner) error { return r.Scan(&born) }); err != nil {
			return err
		}
		err := t.exec(ctx, `insert into functions (project, id, updated_at, name, runtime, enabled, live, schedule, timeout, entrypoint,
			commands, installation_id, deployment_id, deployment_created_at, latest_id, latest_created_at, latest_status, settings,
			uid, created_at, born_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)`,
			append(args, uid, millis(f.CreatedAt), born)...)
		if isDuplicate(err) {
			return flint.ErrFunctionExists
		}
		if err != nil {
			return err
		}
		if err := s.reschedule(ctx, t, f, s.config.ScheduleClock()); err != nil {
			return err
		}
		if err := s.functionEvent(ctx, t, f, "create"); err != nil || rule == nil {
			return err
		}
		return s.insertRule(ctx, t, rule)
	})
	if err != nil {
		return err
	}
	s.functionChanged(f.Project, f.ID)
	if rule != nil {
		s.ruleChanged(rule)
	}
	return nil
}

// newUID returns the number of one life of a function.
func newUID() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return int64(binary.BigEndian.Uint64(b[:])>>2) + 1
}

const readFunction = "select " + functionColumns + " from functions t where t.project = $1 and t.id = $2"

// Function returns a function or ErrFunctionNotFound.
func (s *Store) Function(ctx context.Context, project flint.ProjectID, id flint.FunctionID) (f *flint.Function, err error) {
	err = s.one(ctx, readFunction, []any{string(project), string(id)}, func(r scanner) (err error) {
		f, err = scanFunction(r)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, flint.ErrFunctionNotFound
	}
	return f, err
}

func function(ctx context.Context, t *tx, project flint.ProjectID, id flint.FunctionID) (f *flint.Function, uid int64, err error) {
	found, err := t.one(ctx, "select "+functionColumns+", t.uid from functions t where t.project = $1 and t.id = $2",
		[]any{string(project), string(id)}, func(r scanner) (err error) {
			f, err = scanFunction(withLast(r, &uid))
			return err
		})
	if err == nil && !found {
		err = flint.ErrFunctionNotFound
	}
	return f, uid, err
}

// withLast reads one more column than the scan function that it is given to knows of.
func withLast(r scanner, last any) scanner { return extended{r, last} }

type extended struct {
	scanner
	last any
}

func (e extended) Scan(dest ...any) error { return e.scanner.Scan(append(dest, e.last)...) }

func functionColumn(attribute string) (column, bool) {
	switch attribute {
	case "name":
		return text("t.name")
	case "runtime":
		return text("t.runtime")
	case "enabled":
		return boolean("t.enabled")
	case "deploymentId":
		return text("t.deployment_id")
	case "schedule":
		return text("t.schedule")
	case "timeout":
		return integer("t.timeout")
	case "entrypoint":
		return text("t.entrypoint")
	case "commands":
		return text("t.commands")
	case "installationId":
		return text("t.installation_id")
	}
	return column{}, false
}

// Functions returns the functions of a project that l asks for, and how many there are.
func (s *Store) Functions(ctx context.Context, project flint.ProjectID, l flint.List) ([]*flint.Function, int, error) {
	return s.functionLister(project, l).read(ctx)
}

func (s *Store) functionLister(project flint.ProjectID, l flint.List) *lister[*flint.Function] {
	return &lister[*flint.Function]{store: s, scope: []any{string(project)}, list: l, noun: noun[*flint.Function]{
		name: "Function", from: "functions t", columns: functionColumns, scope: "t.project = $1", column: functionColumn,
		search: []string{"t.name", "t.id", "t.runtime"}, scan: scanFunction, row: "t.uid", found: functionSearch(),
	}}
}

// UpdateFunction lets change work on a function and stores what it leaves, unless it returns an error. Id, project and
// time of creation stay. The change runs inside the writer: it must not wait for anything.
func (s *Store) UpdateFunction(ctx context.Context, project flint.ProjectID, id flint.FunctionID, change func(*flint.Function) error) (*flint.Function, error) {
	var f *flint.Function
	err := s.write(ctx, func(ctx context.Context, t *tx) (err error) {
		var uid int64
		if f, uid, err = function(ctx, t, project, id); err != nil {
			return err
		}
		created, limit := f.CreatedAt, f.Delivery.MaxConcurrent
		if err := change(f); err != nil {
			return err
		}
		if f.Delivery.MaxConcurrent != limit { // those that wait for the old limit are looked at anew
			if err := t.unpark(ctx, uid, f.Delivery.MaxConcurrent); err != nil {
				return err
			}
		}
		f.Project, f.ID, f.CreatedAt = project, id, created
		if err := s.updateFunction(ctx, t, f); err != nil {
			return err
		}
		return s.functionEvent(ctx, t, f, "update")
	})
	if err != nil {
		return nil, err
	}
	s.functionChanged(project, id)
	return f, nil
}

// updateFunction stores a function as it is now, and with it when it runs by itself.
func (s *Store) updateFunction(ctx context.Context, t *tx, f *flint.Function) error {
	f.UpdatedAt = now()
	args, err := functionArgs(f)
	if err != nil {
		return err
	}
	if err := t.exec(ctx, `update functions set updated_at = $3, name = $4, runtime = $5, enabled = $6, live = $7, schedule = $8, timeout = $9,
		entrypoint = $10, commands = $11, installation_id = $12, deployment_id = $13, deployment_created_at = $14, latest_id = $15,
		latest_created_at = $16, latest_status = $17, settings = $18 where project = $1 and id = $2`, args...); err != nil {
		return err
	}
	return s.reschedule(ctx, t, f, s.config.ScheduleClock())
}

// DeleteFunction removes a function with all that belongs to it. Its deployments and executions cannot be seen from
// then on; their rows are removed in the background.
func (s *Store) DeleteFunction(ctx context.Context, project flint.ProjectID, id flint.FunctionID) error {
	var rules []*flint.Rule
	s.records.settle(ctx) // a record is told from those of a later namesake by its time: the fewer are on their way the better
	err := s.write(ctx, func(ctx context.Context, t *tx) (err error) {
		f, uid, err := function(ctx, t, project, id)
		if err != nil {
			return err
		}
		rules, err = s.bury(ctx, t, f, uid)
		return err
	})
	if err != nil {
		return err
	}
	s.sweep.Ring()
	s.functionChanged(project, id)
	for _, r := range rules {
		s.changed(Change{Kind: "rule", Project: project, Function: id, Domain: r.Domain})
	}
	return nil
}

// bury removes a function and returns the rules that went with it.
func (s *Store) bury(ctx context.Context, t *tx, f *flint.Function, uid int64) (rules []*flint.Rule, err error) {
	if err := s.functionEvent(ctx, t, f, "delete"); err != nil {
		return nil, err
	}
	if err := t.each(ctx, "select "+ruleColumns+" from rules t where t.owner = $1", []any{uid}, func(r scanner) error {
		v, err := scanRule(r)
		rules = append(rules, v)
		return err
	}); err != nil {
		return nil, err
	}
	for _, r := range rules {
		if err := s.ruleEvent(ctx, t, r, "delete"); err != nil {
			return nil, err
		}
	}
	if err := t.exec(ctx, `update deployments set status = 'canceled', lease_node = '', attempt = attempt + 1
		where owner = $1 and status in ('waiting', 'processing', 'building')`, uid); err != nil {
		return nil, err
	}
	if err := t.exec(ctx, "delete from schedules where owner = $1", uid); err != nil {
		return nil, err
	}
	for _, query := range []string{
		"delete from rules where project = $2 and owner = $1",
		"delete from variables where project = $2 and owner = $1",
		"delete from functions where project = $2 and uid = $1",
	} {
		if err := t.exec(ctx, query, uid, string(f.Project)); err != nil {
			return nil, err
		}
	}
	clear(t.spans) // a namesake has none
	return rules, t.exec(ctx, "insert into buried (uid, project, id, deleted_at, swept) values ($1, $2, $3, $4, $5)",
		uid, string(f.Project), string(f.ID), now().UnixMilli(), false)
}
