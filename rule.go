package flint

import (
	"strings"
	"time"
)

// Errors about proxy rules.
var (
	ErrRuleNotFound = kind(NotFound, "rule_not_found", "Rule with the requested ID could not be found. Please check if the ID provided is correct or if the rule even exists.")
	ErrRuleExists   = kind(Conflict, "rule_already_exists", "Domain is already used. Please try again with a different domain.")
)

// Rule says what is served at a domain. A rule of a function always follows its active deployment.
type Rule struct {
	ID                   RuleID
	Project              ProjectID
	Domain               string // lower case, unique on the platform
	Function             FunctionID
	CreatedAt, UpdatedAt time.Time
}

// DomainLabel makes the DNS label that a function's generated domain starts with: lower case, everything that a label
// cannot hold turned into hyphens.
func DomainLabel(id FunctionID) string {
	label := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, string(id))
	return strings.Trim(label, "-")
}
