package wire

import "flint"

// Webhook is the model of a webhook.
type Webhook struct {
	ID           string   `json:"$id"`
	CreatedAt    string   `json:"$createdAt"`
	UpdatedAt    string   `json:"$updatedAt"`
	Name         string   `json:"name"`
	URL          string   `json:"url"`
	Events       []string `json:"events"`
	TLS          bool     `json:"tls"`
	AuthUsername string   `json:"authUsername"`
	AuthPassword string   `json:"authPassword"`
	Secret       string   `json:"secret"`
	Enabled      bool     `json:"enabled"`
	Logs         string   `json:"logs"`
	Attempts     int      `json:"attempts"`
}

// NewWebhook returns the model of a webhook. Events tell nobody its secret and its password.
func NewWebhook(w *flint.Webhook, secrets bool) *Webhook {
	m := &Webhook{
		ID: string(w.ID), CreatedAt: Date(w.CreatedAt), UpdatedAt: Date(w.UpdatedAt), Name: w.Name, URL: w.URL, Events: texts(w.Events),
		TLS: w.Verify, AuthUsername: w.AuthUser, Enabled: w.Enabled, Logs: w.Logs, Attempts: w.Failures,
	}
	if secrets {
		m.AuthPassword, m.Secret = w.AuthPassword, w.Secret
	}
	return m
}

// WebhookList is a page of webhooks.
type WebhookList struct {
	Total    int        `json:"total"`
	Webhooks []*Webhook `json:"webhooks"`
}

// NewWebhookList returns the model of a page.
func NewWebhookList(webhooks []*flint.Webhook, total int) *WebhookList {
	m := &WebhookList{Total: total, Webhooks: make([]*Webhook, 0, len(webhooks))}
	for _, w := range webhooks {
		m.Webhooks = append(m.Webhooks, NewWebhook(w, true))
	}
	return m
}
