package client

import (
	"context"
	"net/http"
	"net/url"
)

// Receipt is what an execution took: times in seconds, sizes in bytes. docs/receipts.md says what they hold.
type Receipt struct {
	QueueTime       float64  `json:"queueTime"`
	ColdStart       bool     `json:"coldStart"`
	ColdStartTime   float64  `json:"coldStartTime"`
	RunTime         float64  `json:"runTime"`
	CPUTime         *float64 `json:"cpuTime"`         // nil: not known
	PeakMemory      *int64   `json:"peakMemory"`      // nil: not known
	PeakMemorySince string   `json:"peakMemorySince"` // call or worker
	Shared          bool     `json:"shared"`
	Estimated       bool     `json:"estimated"`
	RequestBytes    int64    `json:"requestBytes"`
	ResponseBytes   int64    `json:"responseBytes"`
}

// Execution returns an execution of a project.
func (c *Client) Execution(ctx context.Context, project, id string) (e Execution, err error) {
	return e, c.do(ctx, http.MethodGet, "/projects/"+url.PathEscape(project)+"/executions/"+url.PathEscape(id), nil, nil, &e)
}
