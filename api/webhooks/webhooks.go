// Package webhooks is the REST service of a project's webhooks: who is told of what happens in it.
package webhooks

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/netip"
	"net/url"
	"strings"

	"flint"
	"flint/api"
	"flint/auth"
	"flint/store"
	"flint/wire"
)

// Config is what the service needs.
type Config struct {
	Store *store.Store
	Check func(netip.Addr) error // refuses addresses that nothing is delivered to; nil: none
}

// Service is the REST service.
type Service struct{ config Config }

// New returns the service.
func New(c Config) *Service {
	if c.Store == nil {
		panic("webhooks: Store is required")
	}
	return &Service{config: c}
}

// Routes returns the service's endpoints.
func (s *Service) Routes() []api.Route {
	const root, one = "/v1/webhooks", "/v1/webhooks/{webhookId}"
	const older, olderOne = "/v1/projects/{projectId}/webhooks", "/v1/projects/{projectId}/webhooks/{webhookId}"
	read, write := []string{"webhooks.read"}, []string{"webhooks.write"}
	routes := []api.Route{
		{Method: "GET", Path: root, Aliases: []string{older}, Name: "webhooks.list", Summary: "List webhooks", Scopes: read, Callers: auth.Servers, Handler: api.Handle(200, s.list)},
		{Method: "POST", Path: root, Aliases: []string{older}, Name: "webhooks.create", Summary: "Create webhook", Scopes: write, Callers: auth.Servers, Handler: api.Handle(201, s.create)},
		{Method: "GET", Path: one, Aliases: []string{olderOne}, Name: "webhooks.get", Summary: "Get webhook", Scopes: read, Callers: auth.Servers, Handler: api.Handle(200, s.get)},
		{Method: "PUT", Path: one, Aliases: []string{olderOne}, Name: "webhooks.update", Summary: "Update webhook", Scopes: write, Callers: auth.Servers, Handler: api.Handle(200, s.update)},
		{Method: "DELETE", Path: one, Aliases: []string{olderOne}, Name: "webhooks.delete", Summary: "Delete webhook", Scopes: write, Callers: auth.Servers, Handler: api.Handle(204, s.delete)},
		{Method: "PATCH", Path: one + "/secret", Aliases: []string{one + "/signature", olderOne + "/signature"}, Name: "webhooks.updateSecret", Summary: "Update webhook secret", Scopes: write, Callers: auth.Servers, Handler: api.Handle(200, s.updateSecret)},
	}
	rules := map[string]api.Rule{
		"event": api.TextRule(flint.ValidEventName, "Event is not valid.", nil),
		"url":   api.TextRule(s.reachable, "Value must be a valid URL that starts with http:// or https:// and is not of this machine or a private network", map[string]any{"maxLength": flint.MaxURLLength}),
	}
	for i := range routes {
		routes[i].Rules = rules
	}
	return routes
}

// reachable reports whether something may be delivered to a URL, as far as the URL says. What its name leads to is looked
// at when something is delivered.
func (s *Service) reachable(text string) bool {
	if !flint.ValidWebhookURL(text) {
		return false
	}
	if s.config.Check == nil {
		return true
	}
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	name := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		name = "127.0.0.1"
	}
	a, err := netip.ParseAddr(name)
	return err != nil || s.config.Check(a) == nil
}

type listIn struct {
	api.Request
	Queries []string `param:"queries" doc:"Queries, each a JSON text."`
	Total   bool     `param:"total" default:"true" rule:"loose" doc:"Count all rows. Without it the total is 0."`
}

// renamed are the names that clients before 1.9.1 use in queries.
var renamed = strings.NewReplacer( //nolint:gochecknoglobals // read only
	`"attribute":"security"`, `"attribute":"tls"`, `"attribute":"httpUser"`, `"attribute":"authUsername"`)

func (s *Service) list(ctx context.Context, in *listIn) (*wire.WebhookList, error) {
	if in.Format.Before(1, 9, 1) {
		for i := range in.Queries {
			in.Queries[i] = renamed.Replace(in.Queries[i])
		}
	}
	l, err := flint.ParseList(in.Queries, flint.WebhookAttributes())
	if err != nil {
		return nil, err
	}
	l.NoTotal = !in.Total
	found, total, err := s.config.Store.Webhooks(ctx, in.Principal.ProjectID(), l)
	if err != nil {
		return nil, err
	}
	return wire.NewWebhookList(found, total), nil
}

// settings is what may be said of a webhook.
type settings struct {
	Name         string   `param:"name,required" rule:"text 1 128" doc:"Name of the webhook."`
	URL          string   `param:"url,required" rule:"url" doc:"Where deliveries are sent to."`
	Events       []string `param:"events,required" rule:"event" max:"100" doc:"Names of the events that are delivered."`
	Enabled      bool     `param:"enabled" default:"true" rule:"loose" doc:"Whether anything is delivered."`
	TLS          bool     `param:"tls" default:"false" rule:"loose" doc:"Verify the certificate of the receiver."`
	AuthUsername string   `param:"authUsername" rule:"text 0 256" doc:"User name for basic authentication."`
	AuthPassword string   `param:"authPassword" rule:"text 0 256" doc:"Password for basic authentication."`
}

func (v *settings) put(w *flint.Webhook) {
	w.Name, w.URL, w.Events, w.Enabled = v.Name, v.URL, v.Events, v.Enabled
	w.Verify, w.AuthUser, w.AuthPassword = v.TLS, v.AuthUsername, v.AuthPassword
}

// older renames what clients before 1.9.1 say.
func older(f wire.Format, p api.Params) {
	if f.Before(1, 9, 1) {
		p.Copy("security", "tls")
		p.Copy("httpUser", "authUsername")
		p.Copy("httpPass", "authPassword")
		p.Copy("signatureKey", "secret")
	}
}

type createIn struct {
	api.Request
	WebhookID string `param:"webhookId,required" rule:"customId" doc:"Webhook ID, or unique()."`
	settings
	Secret *string `param:"secret" rule:"text 8 256" doc:"What deliveries are signed with; absent: one is made."`
}

// Older gives an identifier to webhooks of clients that could not choose one.
func (in *createIn) Older(f wire.Format, p api.Params) {
	if f.Before(1, 9, 0) {
		p.Default("webhookId", "unique()")
	}
	older(f, p)
}

func (s *Service) create(ctx context.Context, in *createIn) (*wire.Webhook, error) {
	w := &flint.Webhook{Project: in.Principal.ProjectID(), ID: flint.WebhookID(api.ID(in.WebhookID)), Secret: secret(in.Secret)}
	in.put(w)
	if err := s.config.Store.CreateWebhook(ctx, w); err != nil {
		return nil, err
	}
	return wire.NewWebhook(w, true), nil
}

// secret returns what was chosen, or makes one.
func secret(chosen *string) string {
	if chosen != nil {
		return *chosen
	}
	var b [64]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}

type oneIn struct {
	api.Request
	WebhookID string `param:"webhookId" rule:"id" doc:"Webhook ID."`
}

func (s *Service) get(ctx context.Context, in *oneIn) (*wire.Webhook, error) {
	w, err := s.config.Store.Webhook(ctx, in.Principal.ProjectID(), flint.WebhookID(in.WebhookID))
	if err != nil {
		return nil, err
	}
	return wire.NewWebhook(w, true), nil
}

type updateIn struct {
	oneIn
	settings
}

// Older takes the names that older clients use.
func (*updateIn) Older(f wire.Format, p api.Params) { older(f, p) }

func (s *Service) update(ctx context.Context, in *updateIn) (*wire.Webhook, error) {
	return s.change(ctx, &in.oneIn, in.put)
}

type secretIn struct {
	oneIn
	Secret *string `param:"secret" rule:"text 8 256" doc:"What deliveries are signed with from now on; absent: one is made."`
}

// Older takes the names that older clients use.
func (*secretIn) Older(f wire.Format, p api.Params) { older(f, p) }

func (s *Service) updateSecret(ctx context.Context, in *secretIn) (*wire.Webhook, error) {
	return s.change(ctx, &in.oneIn, func(w *flint.Webhook) { w.Secret = secret(in.Secret) })
}

func (s *Service) change(ctx context.Context, in *oneIn, put func(*flint.Webhook)) (*wire.Webhook, error) {
	w, err := s.config.Store.UpdateWebhook(ctx, in.Principal.ProjectID(), flint.WebhookID(in.WebhookID), func(w *flint.Webhook) error {
		put(w)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return wire.NewWebhook(w, true), nil
}

func (s *Service) delete(ctx context.Context, in *oneIn) (api.NoContent, error) {
	return api.NoContent{}, s.config.Store.DeleteWebhook(ctx, in.Principal.ProjectID(), flint.WebhookID(in.WebhookID))
}
