package api

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"flint"
)

// Rule is what a valid value of a parameter is, in code for requests and in words for people.
type Rule struct {
	Message  string                             // what is said of a value that is not even of the right type
	Text     func(string) string                // of a text or of each text of a list: what is wrong with it, or nothing
	Object   func(o Object, encoded int) string // of an object and its encoded length
	Min, Max *int                               // of an integer
	Loose    bool                               // of a boolean: words and numbers count too
	Scalar   bool                               // of a text: a number counts as its digits
	Schema   map[string]any                     // for the OpenAPI document
}

// Object is a parameter of names and texts, in the order in which they came.
type Object []flint.Header

const (
	customIDText = "Parameter must contain at most 36 chars. Valid chars are a-z, A-Z, 0-9, period, hyphen, and underscore. Can't start with a special char"
	uidText      = "UID must contain at most 36 chars. Valid chars are a-z, A-Z, 0-9, and underscore. Can't start with a leading underscore"
	uniqueID     = "unique()"
)

// ID returns the identifier that a client chose, or a new one if it left the choice to the server.
func ID(s string) string {
	if s == uniqueID {
		return flint.NewID()
	}
	return s
}

// RangeRule is an integer between two others.
func RangeRule(low, high int) Rule {
	return Rule{Min: &low, Max: &high, Schema: map[string]any{"minimum": low, "maximum": high}}
}

// EnumRule is one of some words.
func EnumRule(words ...string) Rule {
	return OneOf(words, "Value must be one of ("+strings.Join(words, ", ")+")")
}

// OneOf is one of some words, with a text of its own for others.
func OneOf(words []string, message string) Rule {
	return TextRule(func(s string) bool { return slices.Contains(words, s) }, message, map[string]any{"enum": words})
}

// TextRule is a text for which valid holds.
func TextRule(valid func(string) bool, message string, schema map[string]any) Rule {
	return Rule{Message: message, Schema: schema, Text: func(s string) string {
		if valid(s) {
			return ""
		}
		return message
	}}
}

// lengthRule is a text of some characters.
func lengthRule(low, high int) Rule {
	message := fmt.Sprintf("Value must be a valid string and at least %d chars and no longer than %d chars", low, high)
	if low == 0 {
		message = fmt.Sprintf("Value must be a valid string and no longer than %d chars", high)
	}
	schema := map[string]any{"maxLength": high}
	if low > 0 {
		schema["minLength"] = low
	}
	return TextRule(func(s string) bool {
		// Characters are counted only where the bytes do not settle it.
		if len(s) < low || len(s) > high*utf8.UTFMax {
			return false
		}
		if low <= 1 && len(s) <= high {
			return true
		}
		n := utf8.RuneCountInString(s)
		return low <= n && n <= high
	}, message, schema)
}

// parseRule makes the rule that a tag names. It panics on one that it does not know: a tag is code.
func parseRule(tag string, own map[string]Rule) Rule {
	if tag == "" {
		return Rule{}
	}
	if r, ok := own[tag]; ok {
		return r
	}
	words := strings.Fields(tag)
	switch words[0] {
	case "id":
		return TextRule(flint.ValidID, uidText, map[string]any{"maxLength": flint.MaxIDLength})
	case "customId":
		return TextRule(func(s string) bool { return s == uniqueID || flint.ValidID(s) }, customIDText, map[string]any{"maxLength": flint.MaxIDLength})
	case "text":
		return lengthRule(number(words, 1), number(words, 2))
	case "range":
		return RangeRule(number(words, 1), number(words, 2))
	case "enum":
		return EnumRule(words[1:]...)
	case "loose":
		return Rule{Loose: true}
	}
	panic("api: unknown rule " + strconv.Quote(tag))
}

func number(words []string, i int) int {
	if i >= len(words) {
		panic(fmt.Sprintf("api: rule %v wants more numbers", words))
	}
	n, err := strconv.Atoi(words[i])
	if err != nil {
		panic(fmt.Sprintf("api: rule %v: %v", words, err))
	}
	return n
}
