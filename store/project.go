package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"flint"
)

const projectColumns = "id, name, created_at, updated_at"

func scanProject(r scanner) (*flint.Project, error) {
	var p flint.Project
	var created, updated int64
	if err := r.Scan(&p.ID, &p.Name, &created, &updated); err != nil {
		return nil, err
	}
	p.CreatedAt, p.UpdatedAt = instant(created), instant(updated)
	return &p, nil
}

// CreateProject adds a project: ErrProjectExists when its id is taken.
func (s *Store) CreateProject(ctx context.Context, p *flint.Project) error {
	stamp(&p.CreatedAt, &p.UpdatedAt)
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		err := t.exec(ctx, "insert into projects (id, name, created_at, updated_at) values ($1, $2, $3, $4)",
			string(p.ID), p.Name, millis(p.CreatedAt), millis(p.UpdatedAt))
		if isDuplicate(err) {
			return flint.ErrProjectExists
		}
		return err
	})
	if err == nil {
		s.changed(Change{Kind: "project", Project: p.ID})
	}
	return err
}

const readProject = "select " + projectColumns + " from projects where id = $1"

// Project returns a project or ErrProjectNotFound.
func (s *Store) Project(ctx context.Context, id flint.ProjectID) (p *flint.Project, err error) {
	err = s.one(ctx, readProject, []any{string(id)}, func(r scanner) (err error) {
		p, err = scanProject(r)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, flint.ErrProjectNotFound
	}
	return p, err
}

// Projects returns all projects, oldest first.
func (s *Store) Projects(ctx context.Context) ([]*flint.Project, error) {
	all := []*flint.Project{}
	err := s.each(ctx, "select "+projectColumns+" from projects order by created_at, id", nil, func(r scanner) error {
		p, err := scanProject(r)
		all = append(all, p)
		return err
	})
	return all, err
}

// CreateKey adds a key. Its secret is kept sealed.
func (s *Store) CreateKey(ctx context.Context, k *flint.Key) error {
	stamp(&k.CreatedAt, &k.UpdatedAt)
	scopes, err := json.Marshal(k.Scopes)
	if err != nil {
		return fmt.Errorf("encode scopes: %w", err)
	}
	hash := HashSecret(k.Secret)
	sealed := s.sealed(k.Secret, "key", string(k.Project), k.ID)
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		found, err := t.one(ctx, "select 1 from projects where id = $1", []any{string(k.Project)}, ignore)
		if err != nil {
			return err
		}
		if !found {
			return flint.ErrProjectNotFound
		}
		err = t.exec(ctx, `insert into project_keys (project, id, name, secret_hash, secret, scopes, created_at, updated_at, expire_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, string(k.Project), k.ID, k.Name, hash, sealed, string(scopes),
			millis(k.CreatedAt), millis(k.UpdatedAt), millis(k.ExpireAt))
		if isDuplicate(err) {
			return flint.ErrKeyExists
		}
		return err
	})
	if err == nil {
		s.changed(Change{Kind: "key", Project: k.Project, KeyHash: hash})
	}
	return err
}

// ignore reads a row of which only the presence counts.
func ignore(r scanner) error {
	var v any
	return r.Scan(&v)
}

const keyColumns = "project, id, name, secret, scopes, created_at, updated_at, expire_at"

func (s *Store) scanKey(r scanner) (*flint.Key, error) {
	var k flint.Key
	var secret, scopes string
	var created, updated, expire int64
	if err := r.Scan(&k.Project, &k.ID, &k.Name, &secret, &scopes, &created, &updated, &expire); err != nil {
		return nil, err
	}
	k.CreatedAt, k.UpdatedAt, k.ExpireAt = instant(created), instant(updated), instant(expire)
	if err := json.Unmarshal([]byte(scopes), &k.Scopes); err != nil {
		return nil, fmt.Errorf("scopes of key %s: %w", k.ID, err)
	}
	var err error
	k.Secret, err = s.unsealed(secret, "key", string(k.Project), k.ID)
	return &k, err
}

// Keys returns the keys of a project, oldest first.
func (s *Store) Keys(ctx context.Context, project flint.ProjectID) ([]*flint.Key, error) {
	all := []*flint.Key{}
	err := s.each(ctx, "select "+keyColumns+" from project_keys where project = $1 order by created_at, id", []any{string(project)}, func(r scanner) error {
		k, err := s.scanKey(r)
		all = append(all, k)
		return err
	})
	return all, err
}

// DeleteKey removes a key: ErrKeyNotFound when there is none.
func (s *Store) DeleteKey(ctx context.Context, project flint.ProjectID, id string) error {
	var hash string
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		found, err := t.one(ctx, "delete from project_keys where project = $1 and id = $2 returning secret_hash",
			[]any{string(project), id}, func(r scanner) error { return r.Scan(&hash) })
		if err == nil && !found {
			return flint.ErrKeyNotFound
		}
		return err
	})
	if err == nil {
		s.changed(Change{Kind: "key", Project: project, KeyHash: hash})
	}
	return err
}

const readKey = "select " + keyColumns + " from project_keys where secret_hash = $1"

// KeyBySecret returns the key with that secret, expired or not, or nil.
func (s *Store) KeyBySecret(ctx context.Context, secret string) (k *flint.Key, err error) {
	err = s.one(ctx, readKey, []any{HashSecret(secret)}, func(r scanner) (err error) {
		k, err = s.scanKey(r)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // no key is no error
	}
	return k, err
}

// seconds and duration turn whole seconds into what the rows hold and back.
func seconds(d time.Duration) int64  { return int64(d / time.Second) }
func duration(n int64) time.Duration { return time.Duration(n) * time.Second }
