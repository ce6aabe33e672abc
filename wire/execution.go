package wire

import "flint"

// Execution is the model of an execution. Clients before 2.0.0 know the function as functionId, later ones as a resource;
// who does not say gets both.
type Execution struct {
	ID                 string         `json:"$id"`
	CreatedAt          string         `json:"$createdAt"`
	UpdatedAt          string         `json:"$updatedAt"`
	Permissions        []string       `json:"$permissions"`
	FunctionID         *string        `json:"functionId,omitempty"`
	ResourceID         *string        `json:"resourceId,omitempty"`
	ResourceType       string         `json:"resourceType,omitempty"`
	DeploymentID       string         `json:"deploymentId"`
	Trigger            string         `json:"trigger"`
	Status             string         `json:"status"`
	RequestMethod      string         `json:"requestMethod"`
	RequestPath        string         `json:"requestPath"`
	RequestHeaders     []flint.Header `json:"requestHeaders"`
	ResponseStatusCode int            `json:"responseStatusCode"`
	ResponseBody       string         `json:"responseBody"`
	ResponseHeaders    []flint.Header `json:"responseHeaders"`
	Logs               string         `json:"logs"`
	Errors             string         `json:"errors"`
	Duration           float64        `json:"duration"`
	ScheduledAt        *string        `json:"scheduledAt"`
}

// NewExecution returns the model of e. Only privileged callers see what the function logged.
func NewExecution(e *flint.Execution, privileged bool, format Format) *Execution {
	function := string(e.Function)
	m := &Execution{
		ID: string(e.ID), CreatedAt: Date(e.CreatedAt), UpdatedAt: Date(e.UpdatedAt), Permissions: texts(e.Permissions),
		DeploymentID: string(e.Deployment), Trigger: string(e.Trigger), Status: string(e.Status),
		RequestMethod: e.RequestMethod, RequestPath: e.RequestPath, RequestHeaders: headers(e.RequestHeaders),
		ResponseStatusCode: e.StatusCode, ResponseHeaders: headers(e.ResponseHeaders), Duration: e.Duration,
	}
	if !format.Stated() || format.Before(2, 0, 0) {
		m.FunctionID = &function
	}
	if !format.Before(2, 0, 0) {
		m.ResourceID, m.ResourceType = &function, "functions"
	}
	if privileged {
		m.Logs, m.Errors = e.Logs, e.Errors
	}
	if !e.ScheduledAt.IsZero() {
		at := Date(e.ScheduledAt)
		m.ScheduledAt = &at
	}
	return m
}

func headers(list []flint.Header) []flint.Header {
	if list == nil {
		return []flint.Header{}
	}
	return list
}

// ExecutionList is a page of executions.
type ExecutionList struct {
	Total      int          `json:"total"`
	Executions []*Execution `json:"executions"`
}

// NewExecutionList returns the model of a page.
func NewExecutionList(executions []*flint.Execution, total int, privileged bool, format Format) *ExecutionList {
	m := &ExecutionList{Total: total, Executions: make([]*Execution, 0, len(executions))}
	for _, e := range executions {
		m.Executions = append(m.Executions, NewExecution(e, privileged, format))
	}
	return m
}
