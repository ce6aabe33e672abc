package wire_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flint"
	"flint/wire"
)

func fields(t *testing.T, v any) []string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	var names []string
	depth, isName := 0, true
	for {
		token, err := d.Token()
		if err != nil {
			return names
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		default:
			if name, ok := token.(string); ok && depth == 1 && isName {
				names = append(names, name)
				isName = false
				continue
			}
		}
		isName = depth == 1
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	f := wire.NewFunction(&flint.Function{}, nil, wire.Format{})
	d := wire.NewDeployment(&flint.Deployment{})
	for _, c := range []struct {
		name string
		v    any
		want string
	}{
		{"function", f, "$id $createdAt $updatedAt execute name enabled live logging runtime deploymentRetention deploymentId deploymentCreatedAt latestDeploymentId latestDeploymentCreatedAt latestDeploymentStatus scopes vars events schedule timeout entrypoint commands version installationId providerRepositoryId providerBranch providerRootDirectory providerSilentMode providerBranches providerPaths buildSpecification runtimeSpecification"},
		{"deployment", d, "$id $createdAt $updatedAt type resourceId resourceType entrypoint sourceSize buildSize totalSize buildId activate screenshotLight screenshotDark status buildLogs buildDuration providerRepositoryName providerRepositoryOwner providerRepositoryUrl providerCommitHash providerCommitAuthorUrl providerCommitAuthor providerCommitMessage providerCommitUrl providerBranch providerBranchUrl"},
		{"variable", wire.NewVariable(&flint.Variable{}), "$id $createdAt $updatedAt key value secret resourceType resourceId"},
		{"rule", wire.NewRule(&flint.Rule{}, wire.Format{}), "$id $createdAt $updatedAt domain type trigger redirectUrl redirectStatusCode deploymentId deploymentResourceType deploymentResourceId deploymentVcsProviderBranch status logs renewAt"},
		{"runtime", &wire.Runtime{}, "$id key name version base image logo supports"},
		{"specification", &wire.Specification{}, "memory cpus enabled slug"},
		{"error", &wire.Error{}, "message code type version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(strings.Fields(c.want), fields(t, c.v)); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExecutionFollowsTheFormat(t *testing.T) {
	t.Parallel()
	e := &flint.Execution{Function: "f", Logs: "log", Errors: "err"}
	for format, want := range map[string][3]bool{ // functionId, resourceId, resourceType
		"": {true, true, true}, "nonsense": {true, true, true},
		"1.8.0": {true, false, false}, "1.9.5": {true, false, false},
		"2.0.0": {false, true, true}, "2.1.0": {false, true, true},
	} {
		names := strings.Join(fields(t, wire.NewExecution(e, true, wire.ParseFormat(format))), " ")
		got := [3]bool{strings.Contains(names, "functionId"), strings.Contains(names, "resourceId"), strings.Contains(names, "resourceType")}
		if got != want {
			t.Errorf("format %q shows %v, want %v", format, got, want)
		}
	}
	m := wire.NewExecution(e, false, wire.Format{})
	if m.Logs != "" || m.Errors != "" {
		t.Error("a client sees logs")
	}
	if m.ScheduledAt != nil {
		t.Error("an execution that was not delayed shows a date")
	}
}

func TestFunctionBefore190(t *testing.T) {
	t.Parallel()
	names := fields(t, wire.NewFunction(&flint.Function{BuildSpec: "s-1vcpu-1gb"}, nil, wire.ParseFormat("1.8.0")))
	text := strings.Join(names, " ")
	if !strings.Contains(text, " specification") || strings.Contains(text, "buildSpecification") || strings.Contains(text, "runtimeSpecification") {
		t.Errorf("fields of an old client: %s", text)
	}
}

func TestListsAreNeverNull(t *testing.T) {
	t.Parallel()
	for _, v := range []any{
		wire.NewFunction(&flint.Function{}, nil, wire.Format{}), wire.NewExecution(&flint.Execution{}, true, wire.Format{}),
		wire.NewDeploymentList(nil, 0, nil), wire.NewExecutionList(nil, 0, true, wire.Format{}), wire.NewVariableList(nil, 0), wire.NewSpecificationList(nil),
	} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if s := strings.ReplaceAll(string(text), `"scheduledAt":null`, ""); strings.Contains(s, "null") {
			t.Errorf("%s holds a null: %s", reflect.TypeOf(v), s)
		}
	}
}

func TestDeploymentSelection(t *testing.T) {
	t.Parallel()
	list := wire.NewDeploymentList([]*flint.Deployment{{ID: "d", Status: "ready"}}, 1, []string{"status"})
	if diff := cmp.Diff([]string{"$createdAt", "$id", "$updatedAt", "status"}, fields(t, list.Deployments[0])); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestDate(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 2, 3, 4, 5, 6, 7_890_000, time.FixedZone("x", 3600))
	if got, want := wire.Date(at), "2024-02-03T03:05:06.007+00:00"; got != want {
		t.Errorf("Date() = %q, want %q", got, want)
	}
	if got := wire.Date(time.Time{}); got != "" {
		t.Errorf("Date(zero) = %q", got)
	}
}

func TestSecretsAreHidden(t *testing.T) {
	t.Parallel()
	if m := wire.NewVariable(&flint.Variable{Value: "hush", Secret: true}); m.Value != "" {
		t.Errorf("a secret shows %q", m.Value)
	}
	if m := wire.NewVariable(&flint.Variable{Value: "open", Function: "f"}); m.Value != "open" || m.ResourceType != "function" {
		t.Errorf("NewVariable() = %+v", m)
	}
}
