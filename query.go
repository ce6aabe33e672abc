package flint

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Limits of lists.
const (
	DefaultListLimit = 25   // rows of a list that names no limit
	MaxListTotal     = 5000 // where the total of a list stops counting
	maxQueryValues   = 500  // values of one query
	maxListValues    = 2000 // values of all queries of a list
	maxQueryNodes    = 200  // queries of one list, nested ones included
	maxQueryDepth    = 8    // and/or inside and/or
)

// AttributeType is what the values of an attribute are.
type AttributeType uint8

// The types. AttributeSelect belongs to the name "*" only and says that the list accepts select.
const (
	AttributeString   AttributeType = iota + 1
	AttributeInteger                // int64
	AttributeFloat                  // float64
	AttributeBoolean                // bool
	AttributeDatetime               // time.Time
	AttributeSelect
)

// Attributes is what the queries of a list may name.
type Attributes map[string]AttributeType

// Query is one condition of a list. Values have the Go types named at AttributeType; those of and and or are queries.
type Query struct {
	Method    string
	Attribute string
	Values    []any
}

// Order is one sort key of a list. A random one stands for all of them.
type Order struct {
	Attribute          string
	Descending, Random bool
}

// List says which rows of a noun to return. The zero value is the first DefaultListLimit ones, oldest first.
type List struct {
	Filters       []Query
	Orders        []Order
	Select        []string // attributes to show; empty: all
	Limit, Offset int
	Cursor        string // start after the row with this id, or end before it
	CursorBefore  bool
	Search        string
	NoTotal       bool
}

func attributes(own Attributes) Attributes {
	own["$id"] = AttributeString
	own["$sequence"] = AttributeInteger
	own["$createdAt"] = AttributeDatetime
	own["$updatedAt"] = AttributeDatetime
	return own
}

// FunctionAttributes returns what queries on functions may name.
func FunctionAttributes() Attributes {
	return attributes(Attributes{
		"name": AttributeString, "enabled": AttributeBoolean, "runtime": AttributeString, "deploymentId": AttributeString,
		"schedule": AttributeString, "timeout": AttributeInteger, "entrypoint": AttributeString, "commands": AttributeString,
		"installationId": AttributeString,
	})
}

// DeploymentAttributes returns what queries on deployments may name.
func DeploymentAttributes() Attributes {
	return attributes(Attributes{
		"buildSize": AttributeInteger, "sourceSize": AttributeInteger, "totalSize": AttributeInteger,
		"buildDuration": AttributeInteger, "status": AttributeString, "activate": AttributeBoolean, "type": AttributeString,
		"*": AttributeSelect,
	})
}

// ExecutionAttributes returns what queries on executions may name.
func ExecutionAttributes() Attributes {
	return attributes(Attributes{
		"trigger": AttributeString, "status": AttributeString, "responseStatusCode": AttributeInteger, "duration": AttributeFloat,
		"requestMethod": AttributeString, "requestPath": AttributeString, "deploymentId": AttributeString,
	})
}

// VariableAttributes returns what queries on variables may name.
func VariableAttributes() Attributes {
	return attributes(Attributes{
		"key": AttributeString, "resourceType": AttributeString, "resourceId": AttributeString, "secret": AttributeBoolean,
	})
}

// RuleAttributes returns what queries on proxy rules may name.
func RuleAttributes() Attributes {
	return attributes(Attributes{
		"domain": AttributeString, "type": AttributeString, "trigger": AttributeString,
		"deploymentResourceType": AttributeString, "deploymentResourceId": AttributeString, "deploymentId": AttributeString,
		"deploymentVcsProviderBranch": AttributeString,
	})
}

// WebhookAttributes returns what queries on webhooks may name.
func WebhookAttributes() Attributes {
	return attributes(Attributes{
		"name": AttributeString, "url": AttributeString, "authUsername": AttributeString, "tls": AttributeBoolean, "events": AttributeString,
		"enabled": AttributeBoolean, "logs": AttributeString, "attempts": AttributeInteger, "*": AttributeSelect,
	})
}

// ParseList reads the queries of a list request, each one a JSON text, and checks them against what the list allows.
func ParseList(queries []string, allowed Attributes) (List, error) {
	p := queryParser{allowed: allowed}
	for _, text := range queries {
		q, err := p.decode([]byte(text), 0)
		if err != nil {
			return List{}, err
		}
		if err := p.apply(q); err != nil {
			return List{}, err
		}
	}
	if !p.limited {
		p.list.Limit = DefaultListLimit
	}
	return p.list, nil
}

type queryParser struct {
	allowed                      Attributes
	list                         List
	nodes, values                int
	limited, offsetted, cursored bool
}

// rawQuery is a query as it came: values are still JSON.
type rawQuery struct {
	method, attribute string
	values            []json.RawMessage
	nested            []rawQuery
}

func badQuery(format string, args ...any) *Error {
	return ErrInvalidArgument.Saying("Invalid `queries` param: Invalid query: %s", fmt.Sprintf(format, args...))
}

func badMethod(method string) *Error {
	return ErrInvalidArgument.Saying("Invalid `queries` param: Invalid query method: %s", method)
}

func (p *queryParser) decode(text []byte, depth int) (rawQuery, error) {
	if p.nodes++; p.nodes > maxQueryNodes {
		return rawQuery{}, badQuery("A list takes at most %d queries.", maxQueryNodes)
	}
	if depth > maxQueryDepth {
		return rawQuery{}, badQuery("Queries nest at most %d levels deep.", maxQueryDepth)
	}
	var in struct {
		Method    json.RawMessage `json:"method"`
		Attribute json.RawMessage `json:"attribute"`
		Values    json.RawMessage `json:"values"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		if _, ok := errors.AsType[*json.SyntaxError](err); ok {
			return rawQuery{}, badQuery("Syntax error")
		}
		return rawQuery{}, badQuery("A query must be a JSON object.")
	}
	var q rawQuery
	if json.Unmarshal(in.Method, &q.method) != nil {
		return rawQuery{}, badQuery("A query's method must be a string.")
	}
	if absent(in.Attribute) {
		in.Attribute = []byte(`""`)
	}
	if json.Unmarshal(in.Attribute, &q.attribute) != nil {
		return rawQuery{}, badQuery("A query's attribute must be a string.")
	}
	if !absent(in.Values) && json.Unmarshal(in.Values, &q.values) != nil {
		return rawQuery{}, badQuery("A query's values must be an array.")
	}
	if q.method == "and" || q.method == "or" {
		for _, v := range q.values {
			child, err := p.decode(v, depth+1)
			if err != nil {
				return rawQuery{}, err
			}
			q.nested = append(q.nested, child)
		}
	}
	return q, nil
}

func absent(text json.RawMessage) bool { return len(text) == 0 || string(text) == "null" }

// apply adds a top-level query to the list.
func (p *queryParser) apply(q rawQuery) error {
	switch q.method {
	case "limit":
		n, err := q.number("limit", 1)
		if err == nil && !p.limited { // the first of several counts
			p.list.Limit, p.limited = n, true
		}
		return err
	case "offset":
		n, err := q.number("offset", 0)
		if err == nil && !p.offsetted {
			p.list.Offset, p.offsetted = n, true
		}
		return err
	case "cursorAfter", "cursorBefore":
		return p.cursor(q)
	case "orderAsc", "orderDesc", "orderRandom":
		return p.order(q)
	case "select":
		return p.selection(q)
	}
	f, err := p.filter(q)
	if err != nil {
		return err
	}
	p.list.Filters = append(p.list.Filters, f)
	return nil
}

func (q rawQuery) number(what string, least int) (int, error) {
	if len(q.values) == 1 {
		var n int64
		if json.Unmarshal(q.values[0], &n) == nil && !absent(q.values[0]) && n >= int64(least) {
			return int(min(n, math.MaxInt)), nil
		}
	}
	return 0, badQuery("Invalid %s: Value must be a valid range between %d and 9,223,372,036,854,775,807", what, least)
}

func (p *queryParser) cursor(q rawQuery) error {
	var id string
	if len(q.values) != 1 || json.Unmarshal(q.values[0], &id) != nil || !ValidID(id) {
		return badQuery("Invalid cursor: UID must contain at most %d chars. Valid chars are a-z, A-Z, 0-9, and underscore. Can't start with a leading underscore", MaxIDLength)
	}
	if !p.cursored {
		p.list.Cursor, p.list.CursorBefore, p.cursored = id, q.method == "cursorBefore", true
	}
	return nil
}

func (p *queryParser) order(q rawQuery) error {
	if q.method == "orderRandom" {
		p.list.Orders = append(p.list.Orders, Order{Random: true})
		return nil
	}
	if q.attribute == "" {
		q.attribute = "$sequence"
	}
	if _, err := p.attribute(q.attribute); err != nil {
		return err
	}
	p.list.Orders = append(p.list.Orders, Order{Attribute: q.attribute, Descending: q.method == "orderDesc"})
	return nil
}

func (p *queryParser) selection(q rawQuery) error {
	if p.allowed["*"] != AttributeSelect {
		return badMethod("select")
	}
	if len(q.values) == 0 {
		return badQuery("No attributes selected")
	}
	for _, v := range q.values {
		var name string
		if json.Unmarshal(v, &name) != nil || name == "" {
			return badQuery("Attributes to select must be strings.")
		}
		p.list.Select = append(p.list.Select, name)
	}
	return nil
}

func (p *queryParser) attribute(name string) (AttributeType, error) {
	t, ok := p.allowed[name]
	if !ok || t == AttributeSelect {
		return 0, badQuery("Attribute not found in schema: %s", name)
	}
	return t, nil
}

// filter checks a condition and gives its values their Go types.
func (p *queryParser) filter(q rawQuery) (Query, error) {
	out := Query{Method: q.method, Attribute: q.attribute}
	var most, least int // values; most 0: any number
	switch q.method {
	case "and", "or":
		return p.combine(q)
	case "equal", "contains", "containsAny", "containsAll", "notContains":
		least = 1
	case "notEqual", "lessThan", "lessThanEqual", "greaterThan", "greaterThanEqual",
		"startsWith", "notStartsWith", "endsWith", "notEndsWith", "search", "notSearch", "regex":
		least, most = 1, 1
	case "between", "notBetween":
		least, most = 2, 2
	case "isNull", "isNotNull":
		_, err := p.attribute(q.attribute)
		return out, err
	default:
		return Query{}, badMethod(q.method)
	}
	t, err := p.attribute(q.attribute)
	if err != nil {
		return Query{}, err
	}
	if err := q.count(least, most); err != nil {
		return Query{}, err
	}
	if text := textMethod(q.method); text && t != AttributeString {
		return Query{}, badQuery(`Cannot query %s on attribute "%s" because it is not an array or string.`, q.method, q.attribute)
	}
	if p.values += len(q.values); p.values > maxListValues {
		return Query{}, badQuery("The queries of a list take at most %d values.", maxListValues)
	}
	for _, raw := range q.values {
		v, ok := attributeValue(raw, t)
		if !ok {
			return Query{}, badQuery(`Query value is invalid for attribute "%s"`, q.attribute)
		}
		out.Values = append(out.Values, v)
	}
	if q.method == "search" || q.method == "notSearch" {
		return Query{}, ErrInvalidQuery.Saying(`Searching by attribute "%s" requires a fulltext index.`, q.attribute)
	}
	return out, nil
}

func (q rawQuery) count(least, most int) error {
	name := strings.ToUpper(q.method[:1]) + q.method[1:]
	switch n := len(q.values); {
	case n > maxQueryValues:
		return badQuery("Query on attribute has greater than %d values: %s", maxQueryValues, q.attribute)
	case most == 1 && n != 1:
		return badQuery("%s queries require exactly one value.", name)
	case most == 2 && n != 2:
		return badQuery("%s queries require exactly two values.", name)
	case n < least:
		return badQuery("%s queries require at least one value.", name)
	}
	return nil
}

func (p *queryParser) combine(q rawQuery) (Query, error) {
	name := strings.ToUpper(q.method[:1]) + q.method[1:]
	if len(q.nested) < 2 {
		return Query{}, badQuery("%s queries require at least two queries", name)
	}
	out := Query{Method: q.method}
	for _, child := range q.nested {
		switch child.method {
		case "limit", "offset", "cursorAfter", "cursorBefore", "orderAsc", "orderDesc", "orderRandom", "select":
			return Query{}, badQuery("%s queries can only contain filter queries", name)
		}
		f, err := p.filter(child)
		if err != nil {
			return Query{}, err
		}
		out.Values = append(out.Values, f)
	}
	return out, nil
}

func textMethod(method string) bool {
	switch method {
	case "contains", "containsAny", "containsAll", "notContains", "startsWith", "notStartsWith", "endsWith", "notEndsWith", "regex":
		return true
	}
	return false
}

func attributeValue(raw json.RawMessage, t AttributeType) (any, bool) {
	if absent(raw) {
		return nil, false
	}
	switch t { //nolint:exhaustive // AttributeSelect is no type of values
	case AttributeString:
		var v string
		err := json.Unmarshal(raw, &v)
		return v, err == nil
	case AttributeInteger:
		var v int64
		err := json.Unmarshal(raw, &v)
		return v, err == nil
	case AttributeFloat:
		var v float64
		err := json.Unmarshal(raw, &v)
		return v, err == nil
	case AttributeBoolean:
		var v bool
		err := json.Unmarshal(raw, &v)
		return v, err == nil
	case AttributeDatetime:
		var v string
		if json.Unmarshal(raw, &v) != nil {
			return nil, false
		}
		return ParseTime(v)
	}
	return nil, false
}

// ParseTime reads a point in time as clients write it: a date, or a date and a time with or without fraction and zone.
// Without a zone it is UTC.
func ParseTime(s string) (time.Time, bool) {
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999",
		"2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly, "2006-01-02T15:04:05.999999999-0700",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
