package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Field is an attribute of a model with its value as JSON.
type Field struct {
	Name  string
	Value json.RawMessage
}

// Text returns a value as forms have it: texts without quotes, nothing for null, everything else as JSON.
func (f Field) Text() string {
	var s string
	if string(f.Value) == "null" || json.Unmarshal(f.Value, &s) == nil {
		return s
	}
	return string(f.Value)
}

// fields is a model in its order.
type fields []Field

// MarshalJSON writes the model.
func (f *fields) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, field := range *f {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(field.Name)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(field.Value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func (f *fields) at(name string) int {
	return slices.IndexFunc(*f, func(field Field) bool { return field.Name == name })
}

func (f *fields) rename(from, to string) {
	if i := f.at(from); i >= 0 {
		(*f)[i].Name = to
	}
}

func (f *fields) drop(names ...string) {
	*f = slices.DeleteFunc(*f, func(field Field) bool { return slices.Contains(names, field.Name) })
}

func (f *fields) number(name string) (n int64) {
	if i := f.at(name); i >= 0 {
		_ = json.Unmarshal((*f)[i].Value, &n)
	}
	return n
}

// set gives an attribute a value, in its place or at the end.
func (f *fields) set(name string, v any) {
	value, _ := json.Marshal(v) // texts and numbers always marshal
	if i := f.at(name); i >= 0 {
		(*f)[i].Value = value
		return
	}
	*f = append(*f, Field{name, value})
}

// older is a model that clients before some version know in another shape. It gets the shape that the newest have and
// the steps to the oldest that apply, newest first.
type older interface {
	older(f *fields, format Format)
}

// list is a page of such models.
type list interface {
	rows() (name string, rows []older)
}

// Older returns what a client that expects the shapes of format gets to see instead of a model: the model itself for
// those of today.
func Older(model any, format Format) (any, error) {
	if !format.Before(1, 9, 1) {
		return model, nil
	}
	switch m := model.(type) {
	case older:
		return downgrade(m, format)
	case list:
		name, rows := m.rows()
		all := make([]any, len(rows))
		for i, row := range rows {
			var err error
			if all[i], err = downgrade(row, format); err != nil {
				return nil, err
			}
		}
		page, err := decode(model)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(all)
		if err != nil {
			return nil, fmt.Errorf("wire: %w", err)
		}
		page.set(name, json.RawMessage(value))
		return page, nil
	}
	return model, nil
}

// Fields returns a model's attributes in their order, in the shape that format asks for.
func Fields(model any, format Format) ([]Field, error) {
	model, err := Older(model, format)
	if err != nil {
		return nil, err
	}
	f, err := decode(model)
	if err != nil {
		return nil, err
	}
	return *f, nil
}

func downgrade(m older, format Format) (*fields, error) {
	f, err := decode(m)
	if err != nil {
		return nil, err
	}
	m.older(f, format)
	return f, nil
}

// decode takes a model apart.
func decode(model any) (*fields, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(model); err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	d := json.NewDecoder(&b)
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	f := fields{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("wire: %w", err)
		}
		text, _ := name.(string)
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, fmt.Errorf("wire: %w", err)
		}
		f = append(f, Field{text, value})
	}
	return &f, nil
}

func (m *Function) older(f *fields, format Format) {
	vars := make([]any, 0, len(m.Vars))
	for _, v := range m.Vars {
		row, err := downgrade(v, format)
		if err != nil {
			return // a variable is texts
		}
		vars = append(vars, row)
	}
	f.set("vars", vars)
	if format.Before(1, 7, 0) {
		f.rename("deploymentId", "deployment")
		f.drop("deploymentCreatedAt", "latestDeploymentId", "latestDeploymentCreatedAt", "latestDeploymentStatus")
	}
	if format.Before(1, 6, 0) {
		f.drop("scopes", "specification")
	}
	if format.Before(1, 4, 0) {
		f.set("schedulePrevious", "")
		f.set("scheduleNext", "")
	}
}

func (m *FunctionList) rows() (string, []older)   { return "functions", models(m.Functions) }
func (m *DeploymentList) rows() (string, []older) { return "deployments", models(m.Deployments) }
func (m *ExecutionList) rows() (string, []older)  { return "executions", models(m.Executions) }
func (m *VariableList) rows() (string, []older)   { return "variables", models(m.Variables) }
func (m *RuntimeList) rows() (string, []older)    { return "runtimes", models(m.Runtimes) }
func (m *RuleList) rows() (string, []older)       { return "rules", models(m.Rules) }

func (m *WebhookList) rows() (string, []older) { return "webhooks", models(m.Webhooks) }

func models[T older](list []T) []older {
	all := make([]older, len(list))
	for i, m := range list {
		all[i] = m
	}
	return all
}

func (*Deployment) older(f *fields, format Format) {
	if format.Before(1, 7, 0) {
		f.rename("sourceSize", "size")
		f.rename("buildDuration", "buildTime")
		f.drop("totalSize", "screenshotLight", "screenshotDark")
	}
	if format.Before(1, 4, 0) {
		if f.at("size") >= 0 {
			f.set("size", f.number("size")+f.number("buildSize"))
		}
		if f.at("buildLogs") >= 0 {
			f.rename("buildLogs", "buildStdout")
			f.set("buildStderr", "")
		}
	}
}

func (m *Execution) older(f *fields, format Format) {
	if format.Before(1, 6, 0) {
		f.drop("scheduledAt")
		if m.Status == "completed" && m.ResponseStatusCode >= 400 && m.ResponseStatusCode < 500 {
			f.set("status", "failed")
		}
	}
	if format.Before(1, 4, 0) {
		f.rename("responseStatusCode", "statusCode")
		f.rename("responseBody", "response")
		f.rename("logs", "stdout")
		f.rename("errors", "stderr")
	}
}

func (*Variable) older(f *fields, format Format) {
	if format.Before(1, 7, 0) {
		f.drop("secret")
	}
	if format.Before(1, 4, 0) {
		f.rename("resourceId", "functionId")
	}
}

func (*Runtime) older(f *fields, format Format) {
	if format.Before(1, 6, 0) {
		f.drop("key")
	}
}

func (*Rule) older(f *fields, format Format) {
	if format.Before(1, 7, 0) {
		f.drop("type", "trigger", "redirectUrl", "redirectStatusCode", "deploymentId", "deploymentVcsProviderBranch")
		f.rename("deploymentResourceType", "resourceType")
		f.rename("deploymentResourceId", "resourceId")
	}
}

func (*Webhook) older(f *fields, format Format) {
	f.rename("tls", "security")
	f.rename("authUsername", "httpUser")
	f.rename("authPassword", "httpPass")
	f.rename("secret", "signatureKey")
	if format.Before(1, 5, 0) {
		f.drop("enabled", "logs", "attempts")
	}
}
