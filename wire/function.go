package wire

import "flint"

// Function is the model of a function.
type Function struct {
	ID                        string      `json:"$id"`
	CreatedAt                 string      `json:"$createdAt"`
	UpdatedAt                 string      `json:"$updatedAt"`
	Execute                   []string    `json:"execute"`
	Name                      string      `json:"name"`
	Enabled                   bool        `json:"enabled"`
	Live                      bool        `json:"live"`
	Logging                   bool        `json:"logging"`
	Runtime                   string      `json:"runtime"`
	DeploymentRetention       int         `json:"deploymentRetention"`
	DeploymentID              string      `json:"deploymentId"`
	DeploymentCreatedAt       string      `json:"deploymentCreatedAt"`
	LatestDeploymentID        string      `json:"latestDeploymentId"`
	LatestDeploymentCreatedAt string      `json:"latestDeploymentCreatedAt"`
	LatestDeploymentStatus    string      `json:"latestDeploymentStatus"`
	Scopes                    []string    `json:"scopes"`
	Vars                      []*Variable `json:"vars"`
	Events                    []string    `json:"events"`
	Schedule                  string      `json:"schedule"`
	Timeout                   int         `json:"timeout"`
	Entrypoint                string      `json:"entrypoint"`
	Commands                  string      `json:"commands"`
	Version                   string      `json:"version"`
	InstallationID            string      `json:"installationId"`
	ProviderRepositoryID      string      `json:"providerRepositoryId"`
	ProviderBranch            string      `json:"providerBranch"`
	ProviderRootDirectory     string      `json:"providerRootDirectory"`
	ProviderSilentMode        bool        `json:"providerSilentMode"`
	ProviderBranches          []string    `json:"providerBranches"`
	ProviderPaths             []string    `json:"providerPaths"`
	BuildSpecification        string      `json:"buildSpecification,omitempty"`
	RuntimeSpecification      string      `json:"runtimeSpecification,omitempty"`
	Specification             string      `json:"specification,omitempty"` // both of them, for clients before 1.9.0
}

// contract is the generation of the function contract, which the model calls version.
const contract = "v5"

// NewFunction returns the model of f with its variables.
func NewFunction(f *flint.Function, vars []*flint.Variable, format Format) *Function {
	m := &Function{
		ID: string(f.ID), CreatedAt: Date(f.CreatedAt), UpdatedAt: Date(f.UpdatedAt),
		Execute: texts(f.Execute), Name: f.Name, Enabled: f.Enabled, Live: f.Live, Logging: f.Logging, Runtime: f.Runtime,
		DeploymentRetention: f.Retention, DeploymentID: string(f.DeploymentID), DeploymentCreatedAt: Date(f.DeploymentCreatedAt),
		LatestDeploymentID: string(f.LatestDeploymentID), LatestDeploymentCreatedAt: Date(f.LatestDeploymentCreatedAt),
		LatestDeploymentStatus: string(f.LatestDeploymentStatus),
		Scopes:                 texts(f.Scopes), Vars: make([]*Variable, 0, len(vars)), Events: texts(f.Events), Schedule: f.Schedule,
		Timeout: int(f.Timeout.Seconds()), Entrypoint: f.Entrypoint, Commands: f.Commands, Version: contract,
		InstallationID: f.InstallationID, ProviderRepositoryID: f.ProviderRepositoryID, ProviderBranch: f.ProviderBranch,
		ProviderRootDirectory: f.ProviderRootDirectory, ProviderSilentMode: f.ProviderSilentMode,
		ProviderBranches: texts(f.ProviderBranches), ProviderPaths: texts(f.ProviderPaths),
		BuildSpecification: f.BuildSpec, RuntimeSpecification: f.RuntimeSpec,
	}
	if m.BuildSpecification == "" {
		m.BuildSpecification = flint.DefaultSpecification
	}
	if m.RuntimeSpecification == "" {
		m.RuntimeSpecification = flint.DefaultSpecification
	}
	for _, v := range vars {
		m.Vars = append(m.Vars, NewVariable(v))
	}
	if format.Before(1, 9, 0) {
		m.Specification, m.BuildSpecification, m.RuntimeSpecification = m.BuildSpecification, "", ""
	}
	return m
}

// FunctionList is a page of functions.
type FunctionList struct {
	Total     int         `json:"total"`
	Functions []*Function `json:"functions"`
}

// Variable is the model of a variable. The value of a secret one is never shown.
type Variable struct {
	ID           string `json:"$id"`
	CreatedAt    string `json:"$createdAt"`
	UpdatedAt    string `json:"$updatedAt"`
	Key          string `json:"key"`
	Value        string `json:"value"`
	Secret       bool   `json:"secret"`
	ResourceType string `json:"resourceType"`
	ResourceID   string `json:"resourceId"`
}

// NewVariable returns the model of v.
func NewVariable(v *flint.Variable) *Variable {
	m := &Variable{
		ID: string(v.ID), CreatedAt: Date(v.CreatedAt), UpdatedAt: Date(v.UpdatedAt),
		Key: v.Key, Value: v.Value, Secret: v.Secret, ResourceType: "function", ResourceID: string(v.Function),
	}
	if v.Function == "" {
		m.ResourceType = "project"
	}
	if v.Secret {
		m.Value = ""
	}
	return m
}

// VariableList is a page of variables.
type VariableList struct {
	Total     int         `json:"total"`
	Variables []*Variable `json:"variables"`
}

// NewVariableList returns the model of a page.
func NewVariableList(vars []*flint.Variable, total int) *VariableList {
	m := &VariableList{Total: total, Variables: make([]*Variable, 0, len(vars))}
	for _, v := range vars {
		m.Variables = append(m.Variables, NewVariable(v))
	}
	return m
}
