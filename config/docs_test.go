package config_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"flint/config"
)

var update = flag.Bool("update", false, "write docs/config.md")

func TestDocumentIsTheTable(t *testing.T) {
	const file = "../docs/config.md"
	want := document()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the table says: run go test ./config -update", file)
	}
}

func document() string {
	var b strings.Builder
	b.WriteString(`# Settings

Every setting is a flag of ` + "`flint serve`" + ` and a variable of the environment. A flag wins over a variable, a variable over a line of
the file that ` + "`--env-file`" + ` names, and that over the default. Variables of the reference that mean the same are understood too.
` + "`flint config`" + ` prints what a node would run with, secrets masked, as lines that ` + "`--env-file`" + ` reads.

Durations are written like ` + "`90s`" + ` or ` + "`15m`" + `; a bare number is seconds. Lists are separated by commas.

This page is written by ` + "`go test ./config -update`" + ` from the table in ` + "`config/config.go`" + `.
`)
	for _, s := range new(config.Config).Settings() {
		fmt.Fprintf(&b, "\n## `--%s`\n\n%s.\n\n- variable `%s`", s.Name, sentence(s.Help), s.Variable)
		for _, alias := range s.Aliases {
			fmt.Fprintf(&b, ", or `%s`", alias)
		}
		switch {
		case s.Default == "":
			b.WriteString("\n- default: empty\n")
		case strings.Contains(s.Default, ","):
			fmt.Fprintf(&b, "\n- default: `%s`\n", strings.ReplaceAll(s.Default, ",", "`, `"))
		default:
			fmt.Fprintf(&b, "\n- default: `%s`\n", s.Default)
		}
	}
	return b.String()
}

func sentence(help string) string { return strings.ToUpper(help[:1]) + help[1:] }
