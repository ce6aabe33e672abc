package wire

import "flint"

// Runtime is the model of a runtime.
type Runtime struct {
	ID       string   `json:"$id"`
	Key      string   `json:"key"`
	Name     string   `json:"name"`
	Version  string   `json:"version"`
	Base     string   `json:"base"`
	Image    string   `json:"image"`
	Logo     string   `json:"logo"`
	Supports []string `json:"supports"`
}

// RuntimeList is every runtime.
type RuntimeList struct {
	Total    int        `json:"total"`
	Runtimes []*Runtime `json:"runtimes"`
}

// Specification is the model of a size.
type Specification struct {
	Memory  int     `json:"memory"`
	CPUs    float64 `json:"cpus"`
	Enabled bool    `json:"enabled"`
	Slug    string  `json:"slug"`
}

// SpecificationList is every size.
type SpecificationList struct {
	Total          int              `json:"total"`
	Specifications []*Specification `json:"specifications"`
}

// NewSpecificationList returns the model of sizes.
func NewSpecificationList(specifications []flint.Specification) *SpecificationList {
	m := &SpecificationList{Total: len(specifications), Specifications: make([]*Specification, 0, len(specifications))}
	for _, s := range specifications {
		m.Specifications = append(m.Specifications, &Specification{Memory: s.Memory, CPUs: s.CPUs, Enabled: true, Slug: s.Slug})
	}
	return m
}

// HealthStatus is the model of a part's health.
type HealthStatus struct {
	Name   string `json:"name"`
	Ping   int    `json:"ping"` // milliseconds
	Status string `json:"status"`
}

// HealthVersion is the model of the server's version.
type HealthVersion struct {
	Version string `json:"version"`
}

// Error is what a failed request answers.
type Error struct {
	Message string `json:"message"`
	Code    int    `json:"code"`
	Type    string `json:"type"`
	Version string `json:"version"`

	Trace []string `json:"trace,omitempty"` // in development: what happened, from the outside in
}
