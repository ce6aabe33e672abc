package functions

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// parseCall reads a query of the form method("attribute", ["value"]), as clients before 1.5.0 write them.
func parseCall(text string) (olderQuery, bool) {
	method, rest, found := strings.Cut(strings.TrimSpace(text), "(")
	inner, closed := strings.CutSuffix(strings.TrimSpace(rest), ")")
	if !found || !closed || method == "" {
		return olderQuery{}, false
	}
	args, ok := splitArguments(inner)
	if !ok {
		return olderQuery{}, false
	}
	q := olderQuery{Method: strings.TrimSpace(method)}
	switch q.Method {
	case "limit", "offset", "cursorAfter", "cursorBefore", "select":
	default:
		if len(args) == 0 {
			return q, true
		}
		if len(args[0]) != 1 || json.Unmarshal(argumentValue(args[0][0]), &q.Attribute) != nil {
			return olderQuery{}, false
		}
		args = args[1:]
	}
	for _, arg := range args {
		for _, item := range arg {
			q.Values = append(q.Values, argumentValue(item))
		}
	}
	return q, true
}

// splitArguments separates the arguments of a call; a list is an argument of several items. Texts are between quotes of
// either kind, and keep them. A backslash takes the meaning from quotes, commas and brackets, also outside texts, and is
// itself before anything else: those clients escape nothing. Spaces outside texts do not count.
func splitArguments(s string) (args [][]string, ok bool) {
	var item strings.Builder
	var list []string
	var quote byte
	inList, afterList := false, false
	end := func() { // of an argument that is no list, if there is one
		if item.Len() > 0 {
			args = append(args, []string{item.String()})
			item.Reset()
		}
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case afterList && c != ',' && c != ' ':
			return nil, false
		case c == '\\' && i+1 < len(s):
			i++
			if !strings.ContainsRune(`,[]"'`, rune(s[i])) {
				item.WriteByte(c)
			}
			item.WriteByte(s[i])
		case quote != 0:
			if c == quote {
				quote = 0
			}
			item.WriteByte(c)
		case c == '"' || c == '\'':
			quote = c
			item.WriteByte(c)
		case c == '[':
			if inList || item.Len() > 0 {
				return nil, false
			}
			inList, list = true, []string{}
		case c == ']':
			if !inList {
				return nil, false
			}
			if item.Len() > 0 {
				list = append(list, item.String())
				item.Reset()
			}
			inList, afterList, args = false, true, append(args, list)
		case c == ',' && inList:
			list = append(list, item.String())
			item.Reset()
		case c == ',':
			end()
			afterList = false
		case c != ' ':
			item.WriteByte(c)
		}
	}
	end()
	return args, quote == 0 && !inList
}

var numberPattern = regexp.MustCompile(`^[+-]?(\d+[.]?\d*|[.]\d+)([eE][+-]?\d+)?$`)

// argumentValue is the JSON of an item: a word, a number, a text in quotes, or else a text without them.
func argumentValue(item string) json.RawMessage {
	item = strings.TrimSpace(item)
	switch {
	case item == "true" || item == "false" || item == "null":
		return json.RawMessage(item)
	case numberPattern.MatchString(item):
		if n, err := strconv.ParseInt(item, 10, 64); err == nil {
			return strconv.AppendInt(nil, n, 10)
		}
		if f, err := strconv.ParseFloat(item, 64); err == nil {
			b, _ := json.Marshal(f) // it is finite: a number too large is an error
			return b
		}
	case item != "" && (item[0] == '"' || item[0] == '\''):
		item = item[1:max(1, len(item)-1)]
	}
	b, _ := json.Marshal(item) // texts always have a JSON
	return b
}
