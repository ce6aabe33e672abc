package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"flint"
)

const ruleColumns = `t.id, t.project, t.domain, t.function, t.created_at, t.updated_at, t.type, t.redirect_url, t.redirect_status,
	t.branch, t.status, t.logs, ` + ruleDeployment

// ruleDeployment is the deployment that a rule leads to: its function's active one.
const ruleDeployment = "(case when t.type = 'deployment' then coalesce((select f.deployment_id from functions f where f.uid = t.owner), '') else '' end)"

func scanRule(r scanner) (*flint.Rule, error) {
	var v flint.Rule
	var created, updated int64
	if err := r.Scan(&v.ID, &v.Project, &v.Domain, &v.Function, &created, &updated, &v.Type, &v.RedirectURL, &v.RedirectStatus,
		&v.Branch, &v.Status, &v.Logs, &v.DeploymentID); err != nil {
		return nil, err
	}
	v.CreatedAt, v.UpdatedAt = instant(created), instant(updated)
	return &v, nil
}

// ruleChanged announces a rule, and its function, which is reached in another way now.
func (s *Store) ruleChanged(r *flint.Rule) {
	s.changed(Change{Kind: "rule", Project: r.Project, Function: r.Function, Domain: r.Domain})
	if r.Function != "" {
		s.functionChanged(r.Project, r.Function)
	}
}

func (s *Store) insertRule(ctx context.Context, t *tx, r *flint.Rule) error {
	if r.Type == "" {
		r.Type = flint.RuleDeployment
	}
	if r.Status == "" {
		r.Status = flint.RuleVerified
	}
	if r.RedirectStatus == 0 {
		r.RedirectStatus = 301
	}
	stamp(&r.CreatedAt, &r.UpdatedAt)
	r.Domain = strings.ToLower(r.Domain)
	uid, err := owner(ctx, t, r.Project, r.Function)
	if err != nil {
		return err
	}
	err = t.exec(ctx, `insert into rules (id, project, domain, owner, function, created_at, updated_at, type, redirect_url, redirect_status,
		branch, status, logs) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		string(r.ID), string(r.Project), r.Domain, uid, string(r.Function), millis(r.CreatedAt), millis(r.UpdatedAt), string(r.Type),
		r.RedirectURL, r.RedirectStatus, r.Branch, string(r.Status), r.Logs)
	if isDuplicate(err) {
		return flint.ErrRuleExists
	}
	if err != nil {
		return err
	}
	if r.Type == flint.RuleDeployment {
		f, err := functionByUID(ctx, t, uid)
		if err != nil {
			return err
		}
		if f != nil {
			r.DeploymentID = f.DeploymentID
		}
	}
	return s.ruleEvent(ctx, t, r, "create")
}

// CreateRule adds a rule: ErrRuleExists when the domain is taken by any project, ErrFunctionNotFound when its function
// is not there.
func (s *Store) CreateRule(ctx context.Context, r *flint.Rule) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error { return s.insertRule(ctx, t, r) })
	if err == nil {
		s.ruleChanged(r)
	}
	return err
}

const (
	readRule         = "select " + ruleColumns + " from rules t where t.project = $1 and t.id = $2"
	readRuleByDomain = "select " + ruleColumns + " from rules t where t.domain = $1"
)

// Rule returns a rule or ErrRuleNotFound.
func (s *Store) Rule(ctx context.Context, project flint.ProjectID, id flint.RuleID) (*flint.Rule, error) {
	return s.rule(ctx, readRule, string(project), string(id))
}

// RuleByDomain returns the rule of a domain, whatever its project, or ErrRuleNotFound.
func (s *Store) RuleByDomain(ctx context.Context, domain string) (*flint.Rule, error) {
	return s.rule(ctx, readRuleByDomain, strings.ToLower(domain))
}

func (s *Store) rule(ctx context.Context, query string, args ...any) (v *flint.Rule, err error) {
	err = s.one(ctx, query, args, func(r scanner) (err error) {
		v, err = scanRule(r)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, flint.ErrRuleNotFound
	}
	return v, err
}

func ruleColumn(attribute string) (column, bool) {
	switch attribute {
	case "domain":
		return text("t.domain")
	case "type":
		return text("t.type")
	case "trigger":
		return text("t.trigger")
	case "deploymentResourceType":
		return text("(case when t.function = '' then '' else 'function' end)")
	case "deploymentResourceId":
		return text("t.function")
	case "deploymentId":
		return text(ruleDeployment)
	case "deploymentVcsProviderBranch":
		return text("t.branch")
	}
	return column{}, false
}

// Rules returns the rules of a project that l asks for, and how many there are.
func (s *Store) Rules(ctx context.Context, project flint.ProjectID, l flint.List) ([]*flint.Rule, int, error) {
	return list(ctx, s, noun[*flint.Rule]{
		name: "Rule", from: "rules t", columns: ruleColumns, scope: "t.project = $1", column: ruleColumn,
		search: []string{"t.id", "t.domain", "t.function"}, scan: scanRule,
	}, []any{string(project)}, l)
}

// DeleteRule removes a rule or returns ErrRuleNotFound.
func (s *Store) DeleteRule(ctx context.Context, project flint.ProjectID, id flint.RuleID) error {
	v, err := s.changeRule(ctx, project, id, func(ctx context.Context, t *tx, v *flint.Rule) error {
		if err := t.exec(ctx, "delete from rules where project = $1 and id = $2", string(project), string(id)); err != nil {
			return err
		}
		return s.ruleEvent(ctx, t, v, "delete")
	})
	if err == nil {
		s.ruleChanged(v)
	}
	return err
}

// SetRuleStatus records what a look at a rule's domain found.
func (s *Store) SetRuleStatus(ctx context.Context, project flint.ProjectID, id flint.RuleID, status flint.RuleStatus, logs string) (*flint.Rule, error) {
	return s.changeRule(ctx, project, id, func(ctx context.Context, t *tx, v *flint.Rule) error {
		v.Status, v.Logs, v.UpdatedAt = status, logs, now()
		if err := t.exec(ctx, "update rules set status = $3, logs = $4, updated_at = $5 where project = $1 and id = $2",
			string(project), string(id), string(status), logs, millis(v.UpdatedAt)); err != nil {
			return err
		}
		return s.ruleEvent(ctx, t, v, "update")
	})
}

func (s *Store) changeRule(ctx context.Context, project flint.ProjectID, id flint.RuleID, change func(context.Context, *tx, *flint.Rule) error) (v *flint.Rule, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		found, err := t.one(ctx, readRule, []any{string(project), string(id)}, func(r scanner) (err error) {
			v, err = scanRule(r)
			return err
		})
		if err == nil && !found {
			err = flint.ErrRuleNotFound
		}
		if err != nil {
			return err
		}
		return change(ctx, t, v)
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// UnverifiedRules returns rules that are not verified and were made after a time, each time others if there are many.
func (s *Store) UnverifiedRules(ctx context.Context, after time.Time, limit int) ([]*flint.Rule, error) {
	var all []*flint.Rule
	err := s.each(ctx, "select "+ruleColumns+" from rules t where t.status <> 'verified' and t.created_at > $1 order by random() limit $2",
		[]any{millis(after), limit}, func(r scanner) error {
			v, err := scanRule(r)
			all = append(all, v)
			return err
		})
	return all, err
}
