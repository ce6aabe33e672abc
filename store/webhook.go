package store

import (
	"context"
	"database/sql"
	"errors"

	"flint"
)

const webhookColumns = `t.project, t.id, t.created_at, t.updated_at, t.name, t.url, t.events, t.verify, t.auth_user, t.auth_secret, t.secret,
	t.enabled, t.failures, t.logs`

func (s *Store) scanWebhook(r scanner) (*flint.Webhook, error) {
	var w flint.Webhook
	var created, updated int64
	var events, password, secret string
	err := r.Scan(&w.Project, &w.ID, &created, &updated, &w.Name, &w.URL, &events, &w.Verify, &w.AuthUser, &password, &secret,
		&w.Enabled, &w.Failures, &w.Logs)
	if err != nil {
		return nil, err
	}
	w.CreatedAt, w.UpdatedAt = instant(created), instant(updated)
	w.Events = unlines(events)
	if w.AuthPassword, err = s.unsealed(password, "webhook", string(w.Project), string(w.ID), "password"); err != nil {
		return nil, err
	}
	w.Secret, err = s.unsealed(secret, "webhook", string(w.Project), string(w.ID), "secret")
	return &w, err
}

// webhookArgs are the values of a webhook's columns: its key first, then those that may change.
func (s *Store) webhookArgs(w *flint.Webhook) []any {
	return []any{
		string(w.Project), string(w.ID), millis(w.UpdatedAt), w.Name, w.URL, lines(w.Events), w.Verify, w.AuthUser,
		s.sealed(w.AuthPassword, "webhook", string(w.Project), string(w.ID), "password"),
		s.sealed(w.Secret, "webhook", string(w.Project), string(w.ID), "secret"), w.Enabled, w.Failures, w.Logs,
	}
}

func (s *Store) webhookEvent(ctx context.Context, t *tx, w *flint.Webhook, action string) error {
	return s.emit(ctx, t, w.Project, w, "webhooks.[webhookId]."+action, string(w.ID))
}

// CreateWebhook adds a webhook: ErrWebhookExists when its id is taken in the project.
func (s *Store) CreateWebhook(ctx context.Context, w *flint.Webhook) error {
	stamp(&w.CreatedAt, &w.UpdatedAt)
	args := append(s.webhookArgs(w), newUID(), millis(w.CreatedAt))
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if found, err := t.one(ctx, "select 1 from projects where id = $1", args[:1], ignore); err != nil {
			return err
		} else if !found {
			return flint.ErrProjectNotFound
		}
		err := t.exec(ctx, `insert into webhooks (project, id, updated_at, name, url, events, verify, auth_user, auth_secret, secret, enabled, failures, logs,
			uid, created_at, waiting, due_at, lease_node, lease_until, claim)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 0, 0, '', 0, 0)`, args...)
		if isDuplicate(err) {
			return flint.ErrWebhookExists
		}
		if err != nil {
			return err
		}
		return s.webhookEvent(ctx, t, w, "create")
	})
}

const readWebhook = "select " + webhookColumns + " from webhooks t where t.project = $1 and t.id = $2"

// Webhook returns a webhook or ErrWebhookNotFound.
func (s *Store) Webhook(ctx context.Context, project flint.ProjectID, id flint.WebhookID) (w *flint.Webhook, err error) {
	err = s.one(ctx, readWebhook, []any{string(project), string(id)}, func(r scanner) (err error) {
		w, err = s.scanWebhook(r)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, flint.ErrWebhookNotFound
	}
	return w, err
}

func webhookColumn(attribute string) (column, bool) {
	switch attribute {
	case "name":
		return text("t.name")
	case "url":
		return text("t.url")
	case "authUsername":
		return text("t.auth_user")
	case "tls":
		return boolean("t.verify")
	case "events":
		return column{expr: "t.events", kind: flint.AttributeString, list: true}, true
	case "enabled":
		return boolean("t.enabled")
	case "logs":
		return text("t.logs")
	case "attempts":
		return integer("t.failures")
	}
	return column{}, false
}

// Webhooks returns the webhooks of a project that l asks for, and how many there are.
func (s *Store) Webhooks(ctx context.Context, project flint.ProjectID, l flint.List) ([]*flint.Webhook, int, error) {
	return list(ctx, s, noun[*flint.Webhook]{
		name: "Webhook", from: "webhooks t", columns: webhookColumns, scope: "t.project = $1", column: webhookColumn, scan: s.scanWebhook,
	}, []any{string(project)}, l)
}

// UpdateWebhook changes a webhook. One that is disabled gets nothing more, also not what was on its way; one that is
// enabled begins anew.
func (s *Store) UpdateWebhook(ctx context.Context, project flint.ProjectID, id flint.WebhookID, change func(*flint.Webhook) error) (w *flint.Webhook, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) (err error) {
		var uid int64
		if w, uid, err = s.webhook(ctx, t, project, id); err != nil {
			return err
		}
		if err := change(w); err != nil {
			return err
		}
		w.UpdatedAt = now()
		if w.Enabled {
			w.Failures = 0
		}
		return s.putWebhook(ctx, t, w, uid)
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (s *Store) webhook(ctx context.Context, t *tx, project flint.ProjectID, id flint.WebhookID) (w *flint.Webhook, uid int64, err error) {
	found, err := t.one(ctx, "select "+webhookColumns+", t.uid from webhooks t where t.project = $1 and t.id = $2", []any{string(project), string(id)}, func(r scanner) (err error) {
		w, err = s.scanWebhook(withLast(r, &uid))
		return err
	})
	if err == nil && !found {
		err = flint.ErrWebhookNotFound
	}
	return w, uid, err
}

// putWebhook writes a webhook that has changed, with its event.
func (s *Store) putWebhook(ctx context.Context, t *tx, w *flint.Webhook, uid int64) error {
	if err := t.exec(ctx, `update webhooks set updated_at = $3, name = $4, url = $5, events = $6, verify = $7, auth_user = $8, auth_secret = $9,
		secret = $10, enabled = $11, failures = $12, logs = $13 where project = $1 and id = $2`, s.webhookArgs(w)...); err != nil {
		return err
	}
	if !w.Enabled {
		if err := t.exec(ctx, "delete from webhook_deliveries where webhook = $1 and due_at > 0", uid); err != nil {
			return err
		}
		if err := t.exec(ctx, "update webhooks set waiting = 0, due_at = 0 where uid = $1", uid); err != nil {
			return err
		}
	}
	return s.webhookEvent(ctx, t, w, "update")
}

// DeleteWebhook removes a webhook with its deliveries, or returns ErrWebhookNotFound.
func (s *Store) DeleteWebhook(ctx context.Context, project flint.ProjectID, id flint.WebhookID) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		w, uid, err := s.webhook(ctx, t, project, id)
		if err != nil {
			return err
		}
		for _, query := range []string{"delete from webhook_deliveries where webhook = $1", "delete from webhooks where uid = $1"} {
			if err := t.exec(ctx, query, uid); err != nil {
				return err
			}
		}
		return s.webhookEvent(ctx, t, w, "delete")
	})
}
