package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"flint"
)

const ruleColumns = "t.id, t.project, t.domain, t.function, t.created_at, t.updated_at"

func scanRule(r scanner) (*flint.Rule, error) {
	var v flint.Rule
	var created, updated int64
	if err := r.Scan(&v.ID, &v.Project, &v.Domain, &v.Function, &created, &updated); err != nil {
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

func insertRule(ctx context.Context, t *tx, r *flint.Rule) error {
	stamp(&r.CreatedAt, &r.UpdatedAt)
	r.Domain = strings.ToLower(r.Domain)
	uid, err := owner(ctx, t, r.Project, r.Function)
	if err != nil {
		return err
	}
	err = t.exec(ctx, "insert into rules (id, project, domain, owner, function, created_at, updated_at) values ($1, $2, $3, $4, $5, $6, $7)",
		string(r.ID), string(r.Project), r.Domain, uid, string(r.Function), millis(r.CreatedAt), millis(r.UpdatedAt))
	if isDuplicate(err) {
		return flint.ErrRuleExists
	}
	return err
}

// CreateRule adds a rule: ErrRuleExists when the domain is taken by any project, ErrFunctionNotFound when its function
// is not there.
func (s *Store) CreateRule(ctx context.Context, r *flint.Rule) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error { return insertRule(ctx, t, r) })
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
		return text("'deployment'")
	case "trigger":
		return text("'manual'")
	case "deploymentResourceType":
		return text("'function'")
	case "deploymentResourceId":
		return text("t.function")
	case "deploymentId":
		return text("coalesce((select f.deployment_id from functions f where f.uid = t.owner), '')")
	case "deploymentVcsProviderBranch":
		return text("''")
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
	var v *flint.Rule
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		found, err := t.one(ctx, "delete from rules where project = $1 and id = $2 returning id, project, domain, function, created_at, updated_at",
			[]any{string(project), string(id)}, func(r scanner) (err error) {
				v, err = scanRule(r)
				return err
			})
		if err == nil && !found {
			return flint.ErrRuleNotFound
		}
		return err
	})
	if err == nil {
		s.ruleChanged(v)
	}
	return err
}
