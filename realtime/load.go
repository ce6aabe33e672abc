package realtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"flint"
	"flint/auth"
	"flint/wire"
)

// loadTime bounds the reading of one row.
const loadTime = 5 * time.Second

// payload is what an event is about, as one kind of caller sees it.
type payload struct {
	text   json.RawMessage
	fields map[string]any
}

// model is what an event is about.
type model struct {
	full    *payload // for servers
	public  *payload // for clients; nil: nothing
	readers []string // roles that may read it
}

// load reads what an event is about: what it carries, or the row where that says more.
func (h *Hub) load(ctx context.Context, e *flint.Event, about topic) (*model, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	text := e.Payload
	var noun any
	switch {
	case about.kind == "functions.executions" && len(text) == 0:
		x, err := h.config.Store.Execution(ctx, e.Project, flint.FunctionID(e.IDs[0]), flint.ExecutionID(e.IDs[1]))
		if err != nil && !errors.Is(err, flint.ErrExecutionNotFound) {
			return nil, err
		}
		if err == nil {
			noun = wire.NewExecution(x, true, wire.Format{})
		}
	case about.kind == "functions.deployments" && about.action != "delete":
		d, err := h.config.Store.Deployment(ctx, e.Project, flint.FunctionID(e.IDs[0]), flint.DeploymentID(e.IDs[1]))
		if err != nil && !errors.Is(err, flint.ErrDeploymentNotFound) {
			return nil, err
		}
		if err == nil {
			noun = wire.NewDeployment(d)
		}
	}
	if noun != nil {
		text = marshal(noun)
	}
	if len(text) == 0 { // it is gone, or was too large for the bus
		text = marshal(map[string]string{"$id": e.IDs[len(e.IDs)-1]})
	}
	full, err := newPayload(text)
	if err != nil {
		return nil, err
	}
	m := &model{full: full}
	if about.kind == "functions.executions" {
		m.readers = readers(full.fields["$permissions"])
	}
	if len(m.readers) > 0 {
		m.public, err = newPayload(withoutOutput(full.fields))
	}
	return m, err
}

func newPayload(text []byte) (*payload, error) {
	p := &payload{text: text}
	if err := json.Unmarshal(text, &p.fields); err != nil {
		return nil, fmt.Errorf("payload of an event: %w", err)
	}
	return p, nil
}

// withoutOutput is an execution as clients see it, who do not see what it logged.
func withoutOutput(fields map[string]any) []byte {
	public := make(map[string]any, len(fields))
	for name, v := range fields {
		if name == "logs" || name == "errors" {
			v = ""
		}
		public[name] = v
	}
	return marshal(public)
}

// readers returns the roles of the permissions to read: any of read("any").
func readers(permissions any) (roles []string) {
	list, _ := permissions.([]any)
	for _, p := range list {
		text, _ := p.(string)
		role, ok := strings.CutPrefix(text, `read("`)
		if role, closed := strings.CutSuffix(role, `")`); ok && closed {
			roles = append(roles, role)
		}
	}
	return roles
}

// scope is what a key must hold to hear of it. The variables of a function are of the function.
func (m *model) scope(about topic) string {
	if about.kind == "variables" && m.full.fields["resourceType"] == "function" {
		return "functions.read"
	}
	return about.scope()
}

// payload returns what a caller sees of it; nil: nothing.
func (m *model) payload(p *auth.Principal, about topic) *payload {
	if p.Privileged() {
		if p.Holds(m.scope(about)) {
			return m.full
		}
		return nil
	}
	if m.public != nil && slices.ContainsFunc(m.readers, func(role string) bool { return slices.Contains(p.Roles, role) }) {
		return m.public
	}
	return nil
}
