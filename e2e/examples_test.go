package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flint/e2e/node"
)

var update = flag.Bool("update", false, "rewrite the examples of the OpenAPI document with what the node answers")

// exchange is what is remembered of an operation: a request, and answers by status, or by "default" for an error. Further
// paths of an operation, which are under its name and a number, have requests of their own.
type exchange struct {
	Request any            `json:"request,omitempty"`
	Answers map[string]any `json:"answers,omitempty"`
}

// readAnswers reads what the script recorded.
func readAnswers(t *testing.T, file string) map[string]exchange {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var recorded map[string]exchange
	if err := json.Unmarshal(b, &recorded); err != nil {
		t.Fatal(err)
	}
	return recorded
}

// writeExamples makes the recorded answers the document's examples.
func writeExamples(t *testing.T, recorded map[string]exchange) {
	t.Helper()
	s := settler{ids: map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(recorded)) {
		x := recorded[name]
		x.Request = s.settle("", x.Request)
		for _, status := range slices.Sorted(maps.Keys(x.Answers)) {
			x.Answers[status] = s.settle("", x.Answers[status])
		}
		recorded[name] = x
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(recorded); err != nil {
		t.Fatal(err)
	}
	root, err := node.Root()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "api", "examples.json"), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

var (
	recordedID   = regexp.MustCompile(`\b[0-9a-f]{20}\b`)
	recordedTime = regexp.MustCompile(`\[\d\d:\d\d:\d\d\]`)
	recordedDate = regexp.MustCompile(`\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d[.]\d{3}\+00:00`)
)

// settler puts values that are always the same in the place of those that every run makes anew.
type settler struct{ ids map[string]string }

func (s *settler) settle(key string, value any) any {
	switch v := value.(type) {
	case map[string]any:
		settled := map[string]any{}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			settled[k] = s.settle(k, v[k])
		}
		return settled
	case []any:
		settled := make([]any, len(v))
		for i, one := range v {
			settled[i] = s.settle(key, one)
		}
		return settled
	case float64:
		switch key {
		case "duration":
			return 0.125
		case "buildDuration", "ping":
			return 1.0
		case "queueTime":
			return 0.000012
		case "coldStartTime":
			return 0.0085
		case "runTime":
			return 0.021
		case "cpuTime":
			return 0.0185
		case "peakMemory":
			return 50331648.0
		}
	case string:
		v = recordedDate.ReplaceAllString(v, "2026-01-02T03:04:05.678+00:00")
		v = recordedTime.ReplaceAllString(v, "[03:04:05]")
		return recordedID.ReplaceAllStringFunc(v, func(id string) string {
			if _, known := s.ids[id]; !known {
				s.ids[id] = fmt.Sprintf("69573335%012x", len(s.ids)+1)
			}
			return s.ids[id]
		})
	}
	return value
}

// describedExamples returns the examples in the document of a node.
func describedExamples(t *testing.T, n *node.Node) map[string]exchange {
	t.Helper()
	type content map[string]struct{ Example any }
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string
			RequestBody struct{ Content content }
			Responses   map[string]struct{ Content content }
		}
	}
	response, err := http.Get(n.Base + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(&document); err != nil {
		t.Fatal(err)
	}
	described := map[string]exchange{}
	for _, item := range document.Paths {
		for _, operation := range item {
			x := exchange{Request: operation.RequestBody.Content["application/json"].Example, Answers: map[string]any{}}
			for status, answer := range operation.Responses {
				if value := answer.Content["application/json"].Example; value != nil {
					x.Answers[status] = value
				}
			}
			described[operation.OperationID] = x
		}
	}
	return described
}

// compareExamples holds the examples against the answers: every operation has some, and they are as the answers are.
func compareExamples(t *testing.T, recorded, described map[string]exchange) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(described)) {
		x := described[name]
		if len(x.Answers) == 0 {
			t.Errorf("%s has no example", name)
		}
		answered := exchange{recorded[name].Request, recorded[strings.TrimRight(name, ".0123456789")].Answers}
		if got, want := shape(x), shape(answered); got != want {
			t.Errorf("%s: the examples differ from what the node answers, record them with -update (-answers +examples):\n%s", name, cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
		}
	}
}

// shape is a value without its values: the names and types in it. A list is the kinds of its items.
func shape(value any) string {
	switch v := value.(type) {
	case exchange:
		return "request " + shape(v.Request) + "\n" + shape(v.Answers)
	case map[string]any:
		var b strings.Builder
		for _, k := range slices.Sorted(maps.Keys(v)) {
			fmt.Fprintf(&b, "%s: %s\n", k, strings.ReplaceAll(shape(v[k]), "\n", "\n  "))
		}
		return "object\n" + b.String()
	case []any:
		kinds := map[string]bool{}
		for _, one := range v {
			kinds[shape(one)] = true
		}
		return "list of " + strings.Join(slices.Sorted(maps.Keys(kinds)), "or ")
	}
	return fmt.Sprintf("%T", value)
}
