package admin

import (
	"net/http"
	"strconv"
	"strings"

	"flint"
	"flint/client"
)

func webhookModel(w *flint.Webhook) client.Webhook {
	return client.Webhook{
		ID: string(w.ID), Project: string(w.Project), Name: w.Name, URL: w.URL, Events: w.Events, Verify: w.Verify, Enabled: w.Enabled,
		Failures: w.Failures, Logs: w.Logs, CreatedAt: w.CreatedAt,
	}
}

func (a *admin) webhooks(r *http.Request) (any, error) {
	project, err := a.project(r)
	if err != nil {
		return nil, err
	}
	all := []client.Webhook{}
	for offset, n := 0, batch; n == batch; offset += batch {
		found, _, err := a.config.Store.Webhooks(r.Context(), project, flint.List{Limit: batch, Offset: offset, NoTotal: true})
		if err != nil {
			return nil, err
		}
		for _, w := range found {
			m := webhookModel(w)
			if _, m.Waiting, err = a.config.Store.Deliveries(r.Context(), project, w.ID, 0); err != nil {
				return nil, err
			}
			all = append(all, m)
		}
		n = len(found)
	}
	return all, nil
}

func (a *admin) webhook(r *http.Request) (any, error) {
	project, err := a.project(r)
	if err != nil {
		return nil, err
	}
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit < 0 || limit > batch {
		return nil, flint.ErrInvalidArgument.Saying("The limit must be between 0 and %d.", batch)
	}
	id := flint.WebhookID(r.PathValue("webhook"))
	w, err := a.config.Store.Webhook(r.Context(), project, id)
	if err != nil {
		return nil, err
	}
	m := webhookModel(w)
	found, waiting, err := a.config.Store.Deliveries(r.Context(), project, id, limit)
	for _, d := range found {
		name, _, _ := strings.Cut(d.Names, ",")
		m.Deliveries = append(m.Deliveries, client.WebhookDelivery{
			Event: name, CreatedAt: d.CreatedAt, EndedAt: d.EndedAt, DueAt: d.DueAt, Attempts: d.Attempts, Status: d.Status, Error: d.Error,
		})
	}
	m.Waiting = waiting
	return m, err
}
