package flint

import (
	"strings"
	"time"
)

// Errors about proxy rules.
var (
	ErrRuleNotFound = kind(NotFound, "rule_not_found", "Rule with the requested ID could not be found. Please check if the ID provided is correct or if the rule even exists.")
	ErrRuleResource = kind(NotFound, "rule_resource_not_found", "Resource could not be found. Please check the ID of the function or site that the rule is for.")
	ErrRuleVerify   = kind(Invalid, "rule_verification_failed", "Domain verification failed. Please check if your DNS records are correct and try again.")
	ErrRuleExists   = kind(Conflict, "rule_already_exists", "Domain is already used. Please try again with a different domain.")
)

// RuleType is what a rule does with the requests of its domain.
type RuleType string

// The types of rules.
const (
	RuleDeployment RuleType = "deployment" // they call a function
	RuleRedirect   RuleType = "redirect"   // they are sent elsewhere
	RuleAPI        RuleType = "api"        // they are the API's
)

// RuleStatus says whether a domain is known to lead here. Rules are followed whatever their status.
type RuleStatus string

// The states of rules.
const (
	RuleUnverified RuleStatus = "unverified"
	RuleVerified   RuleStatus = "verified"
)

// Rule says what is served at a domain. A rule of a function always follows its active deployment.
type Rule struct {
	ID                   RuleID
	Project              ProjectID
	Domain               string     // lower case, unique on the platform
	Type                 RuleType   // empty: RuleDeployment
	Function             FunctionID // that a deployment rule calls, or that a redirect belongs to
	CreatedAt, UpdatedAt time.Time

	RedirectURL    string
	RedirectStatus int
	Branch         string     // as it was given; it decides nothing
	Status         RuleStatus // empty: RuleVerified
	Logs           string     // why it is not verified

	DeploymentID DeploymentID // the active one of a deployment rule's function, when the rule was read
}

// MaxDomainLength is the longest domain, in bytes.
const MaxDomainLength = 253

// ValidDomain reports whether s is a domain name of at least two labels, and no address.
func ValidDomain(s string) bool {
	labels := strings.Split(s, ".")
	if len(s) > MaxDomainLength || len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
				return false
			}
		}
	}
	last := labels[len(labels)-1]
	return strings.Trim(last, "0123456789") != ""
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
