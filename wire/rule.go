package wire

import (
	"encoding/json"

	"flint"
)

// Rule is the model of a proxy rule.
type Rule struct {
	ID                          string  `json:"$id"`
	CreatedAt                   string  `json:"$createdAt"`
	UpdatedAt                   string  `json:"$updatedAt"`
	Domain                      string  `json:"domain"`
	Type                        string  `json:"type"`
	Trigger                     string  `json:"trigger"`
	RedirectURL                 string  `json:"redirectUrl"`
	RedirectStatusCode          int     `json:"redirectStatusCode"`
	DeploymentID                string  `json:"deploymentId"`
	DeploymentResourceType      *string `json:"deploymentResourceType"`
	DeploymentResourceID        string  `json:"deploymentResourceId"`
	DeploymentVCSProviderBranch string  `json:"deploymentVcsProviderBranch"`
	Status                      string  `json:"status"`
	Logs                        string  `json:"logs"`
	RenewAt                     string  `json:"renewAt"`

	format Format
}

// NewRule returns the model of a rule.
func NewRule(r *flint.Rule, format Format) *Rule {
	m := &Rule{
		ID: string(r.ID), CreatedAt: Date(r.CreatedAt), UpdatedAt: Date(r.UpdatedAt), Domain: r.Domain,
		Type: string(r.Type), Trigger: "manual", RedirectURL: r.RedirectURL, RedirectStatusCode: r.RedirectStatus,
		DeploymentID: string(r.DeploymentID), DeploymentResourceID: string(r.Function), DeploymentVCSProviderBranch: r.Branch,
		Status: string(r.Status), Logs: r.Logs, format: format,
	}
	if r.Function != "" {
		kind := "function"
		m.DeploymentResourceType = &kind
	}
	return m
}

// ruleBefore17 is a rule as clients before 1.7 know it.
type ruleBefore17 struct {
	ID           string  `json:"$id"`
	CreatedAt    string  `json:"$createdAt"`
	UpdatedAt    string  `json:"$updatedAt"`
	Domain       string  `json:"domain"`
	ResourceType *string `json:"resourceType"`
	ResourceID   string  `json:"resourceId"`
	Status       string  `json:"status"`
	Logs         string  `json:"logs"`
	RenewAt      string  `json:"renewAt"`
}

// MarshalJSON writes the rule in the shape that its reader knows.
func (r *Rule) MarshalJSON() ([]byte, error) {
	if r.format.Before(1, 7, 0) {
		return json.Marshal(&ruleBefore17{
			r.ID, r.CreatedAt, r.UpdatedAt, r.Domain, r.DeploymentResourceType, r.DeploymentResourceID, r.Status, r.Logs, r.RenewAt,
		})
	}
	type plain Rule
	return json.Marshal((*plain)(r))
}

// RuleList is a page of rules.
type RuleList struct {
	Total int     `json:"total"`
	Rules []*Rule `json:"rules"`
}

// NewRuleList returns the model of a page.
func NewRuleList(rules []*flint.Rule, total int, format Format) *RuleList {
	m := &RuleList{Total: total, Rules: make([]*Rule, 0, len(rules))}
	for _, r := range rules {
		m.Rules = append(m.Rules, NewRule(r, format))
	}
	return m
}
