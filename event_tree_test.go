package flint_test

import (
	"net/http"
	"strings"
	"testing"

	"flint"
)

func TestValidEventName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"rules.*": true, "rules.r": true, "rules.*.create": true, "functions.*": true, "functions.f.executions.*.update": true, "functions.f.deployments.d": true,
		"users.u.update.email": true, "databases.*.tables.*.rows.*.upsert": true,
		"": false, "rules": false, "*": false, "*.*": false, "webhooks.*": false, "variables.*.create": false, "rules.*.upsert": false,
		"rules.a b": false, "functions.f.executions": false, "users.u.create.email": false, "rules.*.create.x.y.z.w": false,
	} {
		if got := flint.ValidEventName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func FuzzValidEventName(f *testing.F) {
	for _, s := range []string{"rules.*.create", "users.u.update.email", "functions.f.executions.*", "..", "databases.*.tables.*.rows.*.upsert"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if parts := strings.Split(s, "."); flint.ValidEventName(s) && (len(parts) < 2 || len(parts) > 7 || strings.ContainsAny(s, " \r\n,")) {
			t.Errorf("%q is valid", s)
		}
	})
}

// FuzzValidWebhookURL holds that a request can be made to every URL that is accepted.
func FuzzValidWebhookURL(f *testing.F) {
	for _, s := range []string{"https://example.com/a?b=c#d", "http://u:p@[::1]:80", "http://x:70000", "ftp://x", "http://%41", "//x", "http://a\nb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !flint.ValidWebhookURL(s) {
			return
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s, nil)
		if err != nil || r.URL.Hostname() == "" {
			t.Errorf("%q is accepted: %v", s, err)
		}
	})
}
