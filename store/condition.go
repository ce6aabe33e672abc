package store

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"flint"
)

// column is what an attribute of a list is in SQL. The expression is ours; nothing of a client's gets into the text of
// a statement.
type column struct {
	expr string
	kind flint.AttributeType
	list bool // text with one item a line
}

func text(expr string) (column, bool) { return column{expr: expr, kind: flint.AttributeString}, true }

func integer(expr string) (column, bool) {
	return column{expr: expr, kind: flint.AttributeInteger}, true
}

func boolean(expr string) (column, bool) {
	return column{expr: expr, kind: flint.AttributeBoolean}, true
}

func (n noun[T]) condition(c *compiler, q flint.Query) (string, error) {
	if q.Method == "and" || q.Method == "or" {
		var parts []string
		for _, v := range q.Values {
			child, ok := v.(flint.Query)
			if !ok {
				return "", badValue(q)
			}
			p, err := n.condition(c, child)
			if err != nil {
				return "", err
			}
			parts = append(parts, p)
		}
		if len(parts) == 0 {
			return "", badValue(q)
		}
		return "(" + strings.Join(parts, " "+q.Method+" ") + ")", nil
	}
	col, values, err := n.operands(q)
	if err != nil {
		return "", err
	}
	return c.compare(col, q, values)
}

// operands returns the column that a condition is about, and its values as the column holds them.
func (n noun[T]) operands(q flint.Query) (column, []any, error) {
	col, err := n.attribute(q.Attribute)
	if err != nil {
		return col, nil, err
	}
	values := make([]any, len(q.Values))
	for i, v := range q.Values {
		var ok bool
		if values[i], ok = col.value(v); !ok {
			return col, nil, badValue(q)
		}
	}
	return col, values, nil
}

func badValue(q flint.Query) error {
	return flint.ErrInvalidQuery.Saying(`Query value is invalid for attribute "%s"`, q.Attribute)
}

// value turns a value of a query into what the column holds.
func (c column) value(v any) (any, bool) {
	switch x := v.(type) {
	case string:
		return x, c.kind == flint.AttributeString
	case bool:
		return x, c.kind == flint.AttributeBoolean
	case time.Time:
		return x.UnixMilli(), c.kind == flint.AttributeDatetime
	case int:
		return c.value(int64(x))
	case int64:
		if c.kind == flint.AttributeFloat {
			return float64(x), true
		}
		return x, c.kind == flint.AttributeInteger
	case float64:
		if c.kind == flint.AttributeInteger && x == math.Trunc(x) && math.Abs(x) < 1<<53 {
			return int64(x), true
		}
		return x, c.kind == flint.AttributeFloat
	}
	return nil, false
}

// compiler collects the arguments of a statement.
type compiler struct{ args []any }

func (c *compiler) bind(v any) string {
	c.args = append(c.args, v)
	return "$" + strconv.Itoa(len(c.args))
}

// compare compiles a condition on one column. The values fit the column.
func (c *compiler) compare(col column, q flint.Query, values []any) (string, error) {
	if least, most := arity(q.Method); len(values) < least || len(values) > most {
		return "", badValue(q)
	}
	if col.list {
		return c.compareList(col, q, values)
	}
	if fuzzy(q.Method) {
		if col.kind != flint.AttributeString {
			return "", badValue(q)
		}
		return c.compareText(col, q, values)
	}
	switch q.Method {
	case "equal":
		in := make([]string, len(values))
		for i, v := range values {
			in[i] = c.bind(v)
		}
		return col.expr + " in (" + strings.Join(in, ", ") + ")", nil
	case "notEqual":
		if values[0] == "" { // a range, which an index can serve
			return col.expr + " > " + c.bind(values[0]), nil
		}
		return col.expr + " <> " + c.bind(values[0]), nil
	case "lessThan":
		return col.expr + " < " + c.bind(values[0]), nil
	case "lessThanEqual":
		return col.expr + " <= " + c.bind(values[0]), nil
	case "greaterThan":
		return col.expr + " > " + c.bind(values[0]), nil
	case "greaterThanEqual":
		return col.expr + " >= " + c.bind(values[0]), nil
	case "between":
		return "(" + col.expr + " between " + c.bind(values[0]) + " and " + c.bind(values[1]) + ")", nil
	case "notBetween":
		return "(" + col.expr + " not between " + c.bind(values[0]) + " and " + c.bind(values[1]) + ")", nil
	case "isNull":
		return col.expr + " is null", nil
	case "isNotNull":
		return col.expr + " is not null", nil
	case "search", "notSearch":
		return "", flint.ErrInvalidQuery.Saying(`Searching by attribute "%s" requires a fulltext index.`, q.Attribute)
	}
	return "", flint.ErrInvalidQuery.Saying("Invalid query method: %s", q.Method)
}

func arity(method string) (least, most int) {
	switch method {
	case "isNull", "isNotNull":
		return 0, math.MaxInt
	case "between", "notBetween":
		return 2, 2
	case "equal", "contains", "containsAny", "containsAll", "notContains":
		return 1, math.MaxInt
	}
	return 1, 1
}

func fuzzy(method string) bool {
	switch method {
	case "contains", "containsAny", "containsAll", "notContains", "startsWith", "notStartsWith", "endsWith", "notEndsWith", "regex":
		return true
	}
	return false
}

// compareText compiles the conditions on parts of a text. They do not mind case.
func (c *compiler) compareText(col column, q flint.Query, values []any) (string, error) {
	var parts []string
	for _, v := range values {
		s, _ := v.(string)
		if q.Method == "regex" {
			if _, err := regexp.Compile(s); err != nil {
				return "", flint.ErrInvalidQuery.Saying("Invalid regular expression: %s", s)
			}
			return matches(col.expr, c.bind(s)), nil
		}
		pattern := escapeLike(s)
		if !strings.HasSuffix(q.Method, "tartsWith") {
			pattern = "%" + pattern
		}
		if !strings.HasSuffix(q.Method, "ndsWith") {
			pattern += "%"
		}
		parts = append(parts, like(col.expr, c.bind(pattern)))
	}
	join := " or "
	if q.Method == "containsAll" {
		join = " and "
	}
	cond := "(" + strings.Join(parts, join) + ")"
	if strings.HasPrefix(q.Method, "not") {
		return "not " + cond, nil
	}
	return cond, nil
}

// compareList compiles the conditions on a text that holds one item a line, in exact case.
func (c *compiler) compareList(col column, q flint.Query, values []any) (string, error) {
	join, found := " or ", " <> "
	switch q.Method {
	case "contains", "containsAny":
	case "containsAll":
		join = " and "
	case "notContains":
		join, found = " and ", " = "
	default:
		return "", badValue(q)
	}
	var parts []string
	for _, v := range values {
		s, _ := v.(string)
		parts = append(parts, "replace("+col.expr+", "+c.bind("\n"+s+"\n")+", '')"+found+col.expr)
	}
	return "(" + strings.Join(parts, join) + ")", nil
}

func escapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(s)
}
