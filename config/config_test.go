package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"flint/config"
)

func load(t *testing.T, env map[string]string, args ...string) (config.Config, error) {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	config.Flags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return config.Load(fs, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
}

func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("# mine\nFLINT_ADDR=:1\nexport FLINT_DATA='/from file'\n_APP_REGION=fra\n_APP_FUNCTIONS_TIMEOUT=60\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, map[string]string{"FLINT_ADDR": ":2", "FLINT_KEEP_ALIVE": "90"}, "--env-file", file, "--keep-alive=2m")
	if err != nil {
		t.Fatal(err)
	}
	if c.Addr != ":2" || c.Data != "/from file" || c.Region != "fra" || c.MaxTimeout != time.Minute || c.KeepAlive != 2*time.Minute {
		t.Errorf("got %+v", c)
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		args []string
		want string
	}{
		{nil, []string{"--sandbox=none"}, "--insecure-no-sandbox"},
		{nil, []string{"--sandbox=docker"}, "bubblewrap, oci and none"},
		{nil, []string{"--call-lease=500ms"}, "1s to 10m"},
		{map[string]string{"FLINT_MAX_WORKERS": "many"}, nil, "FLINT_MAX_WORKERS"},
		{map[string]string{"_APP_FUNCTIONS_TIMEOUT": "soon"}, nil, "_APP_FUNCTIONS_TIMEOUT"},
		{map[string]string{"_APP_ENV": "staging"}, nil, "production and development"},
		{map[string]string{"_APP_SYSTEM_RESPONSE_FORMAT": "1.9"}, nil, "--response-format=1.9"},
		{map[string]string{"FLINT_BOOTSTRAP_PROJECT": "demo"}, nil, "go together"},
		{map[string]string{"FLINT_BOOTSTRAP_PROJECT": "demo", "FLINT_BOOTSTRAP_KEY": "x"}, nil, "standard_"},
		{map[string]string{"FLINT_ENV_FILE": "/does/not/exist"}, nil, "/does/not/exist"},
	} {
		if _, err := load(t, c.env, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v %v: %v, want it to name %q", c.env, c.args, err, c.want)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	c, err := load(t, map[string]string{"FLINT_BOOTSTRAP_PROJECT": "demo", "FLINT_BOOTSTRAP_KEY": "standard_0123456789abcdef"})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "0123456789abcdef") || !strings.Contains(b.String(), "FLINT_BOOTSTRAP_KEY=***") {
		t.Errorf("printed:\n%s", b.String())
	}
}

func TestEverySettingHasOneRow(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range new(config.Config).Settings() {
		for _, name := range append([]string{s.Name, s.Variable}, s.Aliases...) {
			if seen[name] {
				t.Errorf("%s appears twice", name)
			}
			seen[name] = true
		}
	}
}
