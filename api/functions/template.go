package functions

import (
	"cmp"
	"context"
	_ "embed" // for the table
	"encoding/json"
	"slices"
	"strings"

	"flint"
	"flint/api"
	"flint/wire"
)

//go:embed templates.json
var templateTable []byte

// template is one row of the table. A variable with a star is required.
type template struct {
	ID, Name, UseCase, Version          string
	Score, Timeout                      int
	Families, Variables, Scopes, Events []string
}

// parseTemplates reads the table, best first. It panics on a broken one, which would be a broken build.
func parseTemplates() []template {
	var all []template
	if err := json.Unmarshal(templateTable, &all); err != nil {
		panic("functions: templates.json: " + err.Error())
	}
	slices.SortStableFunc(all, func(a, b template) int { return cmp.Compare(b.Score, a.Score) })
	return all
}

type listTemplatesIn struct {
	Runtimes []string `param:"runtimes" rule:"runtime" max:"100" doc:"Only templates for one of these runtimes."`
	UseCases []string `param:"useCases" rule:"enum starter databases ai messaging utilities dev-tools auth" max:"100" doc:"Only templates for one of these uses."`
	Limit    int      `param:"limit" default:"25" rule:"range 1 5000" doc:"Templates to return."`
	Offset   int      `param:"offset" default:"0" rule:"range 0 5000" doc:"Templates to pass over."`
	Total    bool     `param:"total" default:"true" rule:"loose" doc:"Count all templates. Without it the total is 0."`
}

func (s *Service) listTemplates(_ context.Context, in *listTemplatesIn) (*wire.TemplateFunctionList, error) {
	found := []*wire.TemplateFunction{}
	for _, t := range s.templates {
		m := s.templateModel(t)
		ofRuntime := func(r *wire.TemplateRuntime) bool { return slices.Contains(in.Runtimes, r.Name) }
		if len(in.Runtimes) > 0 && !slices.ContainsFunc(m.Runtimes, ofRuntime) || len(in.UseCases) > 0 && !slices.Contains(in.UseCases, t.UseCase) {
			continue
		}
		found = append(found, m)
	}
	list := &wire.TemplateFunctionList{Templates: found[min(in.Offset, len(found)):min(in.Offset+in.Limit, len(found))]}
	if in.Total {
		list.Total = len(found)
	}
	return list, nil
}

type oneTemplate struct {
	api.Request
	TemplateID string `param:"templateId" rule:"text 1 128" doc:"Template ID."`
}

func (s *Service) getTemplate(_ context.Context, in *oneTemplate) (*wire.TemplateFunction, error) {
	for _, t := range s.templates {
		if t.ID == in.TemplateID {
			return s.templateModel(t), nil
		}
	}
	return nil, flint.ErrTemplateNotFound
}

// templateModel shows a template in the runtimes that this platform may offer.
func (s *Service) templateModel(t template) *wire.TemplateFunction {
	m := &wire.TemplateFunction{
		ID: t.ID, Name: t.Name, Permissions: []string{"any"}, Events: append([]string{}, t.Events...), Timeout: cmp.Or(t.Timeout, 15),
		UseCases: []string{t.UseCase}, Runtimes: []*wire.TemplateRuntime{}, Variables: []*wire.TemplateVariable{}, Scopes: append([]string{}, t.Scopes...),
		VCSProvider: "github", ProviderRepositoryID: "templates", ProviderOwner: "appwrite", ProviderVersion: cmp.Or(t.Version, "1.0.1"),
	}
	for _, r := range s.config.Runtimes.All() {
		if slices.Contains(t.Families, r.Language.Key) {
			entrypoint, commands := convention(r.Language.Key)
			m.Runtimes = append(m.Runtimes, &wire.TemplateRuntime{Name: r.ID, Commands: commands, Entrypoint: entrypoint, ProviderRootDirectory: r.Language.Key + "/" + t.ID})
		}
	}
	for _, name := range t.Variables {
		name, required := strings.CutSuffix(name, "*")
		m.Variables = append(m.Variables, &wire.TemplateVariable{Name: name, Required: required, Type: variableType(name)})
	}
	return m
}

// variableType guesses from its name how a variable is asked for.
func variableType(name string) string {
	for _, c := range []struct{ part, is string }{
		{"MAX_TOKENS", "number"},
		{"PORT", "number"},
		{"TIMEOUT", "number"},
		{"KEY", "password"},
		{"TOKEN", "password"},
		{"SECRET", "password"},
		{"PASSWORD", "password"},
		{"EMAIL", "email"},
		{"URL", "url"},
		{"URI", "url"},
	} {
		if strings.Contains(name, c.part) && !strings.HasSuffix(name, "_ID") {
			return c.is
		}
	}
	return "text"
}

// convention returns what functions of a language have when nobody says otherwise: clients send it themselves.
func convention(language string) (entrypoint, commands string) {
	switch language {
	case "node":
		return "src/main.js", "npm install"
	case "bun":
		return "src/main.ts", "bun install"
	case "deno":
		return "src/main.ts", "deno cache src/main.ts"
	case "php":
		return "src/index.php", "composer install"
	case "ruby":
		return "lib/main.rb", "bundle install"
	case "python", "python-ml":
		return "src/main.py", "pip install -r requirements.txt"
	case "dart":
		return "lib/main.dart", "dart pub get"
	case "dotnet":
		return "src/Index.cs", "dotnet restore"
	case "java":
		return "src/Main.java", ""
	case "swift":
		return "Sources/index.swift", ""
	case "kotlin":
		return "src/Main.kt", ""
	case "cpp":
		return "src/main.cc", ""
	case "go":
		return "main.go", ""
	case "rust":
		return "main.rs", ""
	}
	return "", ""
}
