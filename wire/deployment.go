package wire

import (
	"encoding/json"
	"slices"
	"strings"

	"flint"
)

// Deployment is the model of a deployment.
type Deployment struct {
	ID                      string `json:"$id"`
	CreatedAt               string `json:"$createdAt"`
	UpdatedAt               string `json:"$updatedAt"`
	Type                    string `json:"type"`
	ResourceID              string `json:"resourceId"`
	ResourceType            string `json:"resourceType"`
	Entrypoint              string `json:"entrypoint"`
	SourceSize              int64  `json:"sourceSize"`
	BuildSize               int64  `json:"buildSize"`
	TotalSize               int64  `json:"totalSize"`
	BuildID                 string `json:"buildId"`
	Activate                bool   `json:"activate"`
	ScreenshotLight         string `json:"screenshotLight"`
	ScreenshotDark          string `json:"screenshotDark"`
	Status                  string `json:"status"`
	BuildLogs               string `json:"buildLogs"`
	BuildDuration           int    `json:"buildDuration"`
	ProviderRepositoryName  string `json:"providerRepositoryName"`
	ProviderRepositoryOwner string `json:"providerRepositoryOwner"`
	ProviderRepositoryURL   string `json:"providerRepositoryUrl"`
	ProviderCommitHash      string `json:"providerCommitHash"`
	ProviderCommitAuthorURL string `json:"providerCommitAuthorUrl"`
	ProviderCommitAuthor    string `json:"providerCommitAuthor"`
	ProviderCommitMessage   string `json:"providerCommitMessage"`
	ProviderCommitURL       string `json:"providerCommitUrl"`
	ProviderBranch          string `json:"providerBranch"`
	ProviderBranchURL       string `json:"providerBranchUrl"`

	only []string // attributes that the client selected; nil: all
}

// MarshalJSON writes what the client selected, and what every row of a selection has.
func (d *Deployment) MarshalJSON() ([]byte, error) {
	type whole Deployment
	all, err := json.Marshal((*whole)(d))
	if err != nil || d.only == nil || slices.Contains(d.only, "*") {
		return all, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(all, &fields); err != nil {
		return nil, err
	}
	for name := range fields {
		if !strings.HasPrefix(name, "$") && !slices.Contains(d.only, name) {
			delete(fields, name)
		}
	}
	return json.Marshal(fields)
}

// NewDeployment returns the model of d.
func NewDeployment(d *flint.Deployment) *Deployment {
	return &Deployment{
		ID: string(d.ID), CreatedAt: Date(d.CreatedAt), UpdatedAt: Date(d.UpdatedAt),
		Type: d.Type, ResourceID: string(d.Function), ResourceType: "functions", Entrypoint: d.Entrypoint,
		SourceSize: d.SourceSize, BuildSize: d.BuildSize, TotalSize: d.SourceSize + d.BuildSize,
		Activate: d.Activate, Status: string(d.Status), BuildLogs: d.BuildLogs, BuildDuration: d.BuildDuration,
	}
}

// DeploymentList is a page of deployments.
type DeploymentList struct {
	Total       int           `json:"total"`
	Deployments []*Deployment `json:"deployments"`
}

// NewDeploymentList returns the model of a page whose rows show only the selected attributes; nil: all.
func NewDeploymentList(deployments []*flint.Deployment, total int, only []string) *DeploymentList {
	m := &DeploymentList{Total: total, Deployments: make([]*Deployment, 0, len(deployments))}
	for _, d := range deployments {
		row := NewDeployment(d)
		row.only = only
		m.Deployments = append(m.Deployments, row)
	}
	return m
}
