package realtime

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Bounds of the queries of one subscription.
const (
	maxQueries     = 100 // nested ones included
	maxQueryDepth  = 8
	maxQueryValues = 100
)

// filter is one condition on the payload of events.
type filter struct {
	method    string
	attribute string
	values    []any // as encoding/json reads them
	nested    []filter
}

// parseFilters reads the queries of a subscription, each a JSON text. All of them must hold.
func parseFilters(queries []string) ([]filter, error) {
	p := filterParser{}
	var all []filter
	for _, text := range queries {
		f, err := p.parse([]byte(text), 0)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

type filterParser struct{ count int }

func (p *filterParser) parse(text []byte, depth int) (filter, error) {
	if p.count++; p.count > maxQueries || depth > maxQueryDepth {
		return filter{}, fmt.Errorf("A subscription takes at most %d queries, %d levels deep.", maxQueries, maxQueryDepth) //nolint:staticcheck,revive // shown as it is
	}
	var in struct {
		Method    string            `json:"method"`
		Attribute string            `json:"attribute"`
		Values    []json.RawMessage `json:"values"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return filter{}, fmt.Errorf("Invalid query: Syntax error") //nolint:staticcheck // shown as it is
	}
	f := filter{method: in.Method, attribute: in.Attribute}
	if in.Method == "and" || in.Method == "or" {
		for _, v := range in.Values {
			child, err := p.parse(v, depth+1)
			if err != nil {
				return filter{}, err
			}
			if child.method == "select" {
				return filter{}, fmt.Errorf("Invalid query: %s takes conditions only", in.Method) //nolint:staticcheck // shown as it is
			}
			f.nested = append(f.nested, child)
		}
	} else {
		if len(in.Values) > maxQueryValues {
			return filter{}, fmt.Errorf("Invalid query: more than %d values", maxQueryValues) //nolint:staticcheck // shown as it is
		}
		for _, raw := range in.Values {
			var v any
			if err := json.Unmarshal(raw, &v); err != nil {
				return filter{}, fmt.Errorf("Invalid query: Syntax error") //nolint:staticcheck // shown as it is
			}
			f.values = append(f.values, v)
		}
	}
	return f, f.check()
}

// check says what is wrong with a condition.
func (f *filter) check() error {
	var ok bool
	switch f.method {
	case "equal", "notEqual":
		ok = f.attribute != "" && len(f.values) > 0
	case "lessThan", "lessThanEqual", "greaterThan", "greaterThanEqual":
		ok = f.attribute != "" && len(f.values) == 1
	case "isNull", "isNotNull":
		ok = f.attribute != ""
	case "and", "or":
		ok = len(f.nested) > 1
	case "select":
		if len(f.values) != 1 || f.values[0] != "*" {
			return fmt.Errorf(`Invalid query: only select("*") is possible, which is everything`) //nolint:staticcheck // shown as it is
		}
		ok = true
	default:
		return fmt.Errorf("Invalid query method: %s", f.method) //nolint:staticcheck // shown as it is
	}
	if !ok {
		return fmt.Errorf("Invalid query: %s has not what it needs", f.method) //nolint:staticcheck // shown as it is
	}
	return nil
}

// holds reports whether the conditions hold of a payload.
func holds(all []filter, payload map[string]any) bool {
	return !slices.ContainsFunc(all, func(f filter) bool { return !f.holds(payload) })
}

func (f *filter) holds(payload map[string]any) bool {
	value, there := payload[f.attribute]
	there = there && value != nil
	switch f.method {
	case "select":
		return true
	case "and":
		return holds(f.nested, payload)
	case "or":
		return slices.ContainsFunc(f.nested, func(n filter) bool { return n.holds(payload) })
	case "isNull":
		return !there
	case "isNotNull":
		return there
	case "equal":
		return there && slices.ContainsFunc(f.values, func(v any) bool { return same(value, v) })
	case "notEqual":
		return there && !slices.ContainsFunc(f.values, func(v any) bool { return same(value, v) })
	}
	order, ok := compare(value, f.values[0])
	if !there || !ok {
		return false
	}
	switch f.method {
	case "lessThan":
		return order < 0
	case "lessThanEqual":
		return order <= 0
	case "greaterThan":
		return order > 0
	default:
		return order >= 0
	}
}

// same compares what has no order as well.
func same(a, b any) bool {
	switch a.(type) {
	case []any, map[string]any:
		return false
	}
	switch b.(type) {
	case []any, map[string]any:
		return false
	}
	return a == b
}

// compare orders two numbers or two texts; times are texts of one form.
func compare(a, b any) (int, bool) {
	switch a := a.(type) {
	case float64:
		if b, ok := b.(float64); ok {
			switch {
			case a < b:
				return -1, true
			case a > b:
				return 1, true
			}
			return 0, true
		}
	case string:
		if b, ok := b.(string); ok {
			return strings.Compare(a, b), true
		}
	}
	return 0, false
}
