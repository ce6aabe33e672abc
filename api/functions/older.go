package functions

import (
	"encoding/json"
	"strings"

	"flint/api"
	"flint/wire"
)

// Older remembers how old the client is: its queries may be of another form, and name attributes as they were called.
func (in *page) Older(f wire.Format, _ api.Params) { in.format = f }

// olderQuery is a query as its JSON has it.
type olderQuery struct {
	Method    string            `json:"method"`
	Attribute string            `json:"attribute,omitempty"`
	Values    []json.RawMessage `json:"values,omitempty"`
}

// current returns the queries of a list in today's form. renamed are today's names of attributes that clients before
// 1.7.0 call otherwise. What cannot be read stays as it is, for the error that it deserves.
func (in *page) current(renamed map[string]string) []string {
	if !in.format.Before(1, 7, 0) {
		return in.Queries
	}
	all := make([]string, len(in.Queries))
	for i, text := range in.Queries {
		all[i] = text
		var q olderQuery
		ok := json.Unmarshal([]byte(text), &q) == nil
		if !ok && in.format.Before(1, 5, 0) {
			q, ok = parseCall(text)
		}
		if !ok {
			continue
		}
		q.rename(renamed)
		if b, err := json.Marshal(q); err == nil {
			all[i] = string(b)
		}
	}
	return all
}

func (q *olderQuery) rename(renamed map[string]string) {
	if name, ok := renamed[q.Attribute]; ok {
		q.Attribute = name
	}
	if q.Method != "and" && q.Method != "or" {
		return
	}
	for i, v := range q.Values {
		var child olderQuery
		if json.Unmarshal(v, &child) != nil {
			continue
		}
		child.rename(renamed)
		if b, err := json.Marshal(child); err == nil {
			q.Values[i] = b
		}
	}
}

// Older gives clients before 1.4.0 the body under its old name.
func (in *createExecutionIn) Older(f wire.Format, p api.Params) {
	if f.Before(1, 4, 0) {
		p.Copy("data", "body")
	}
}

// olderCommands returns what clients before 1.4.0 expect a runtime to run when nobody says: they could not say.
func olderCommands(runtime string) string {
	language := runtime
	if i := strings.LastIndexByte(runtime, '-'); i > 0 {
		language = runtime[:i]
	}
	_, commands := convention(language)
	return commands
}
