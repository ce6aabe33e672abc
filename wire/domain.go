package wire

import "flint"

// FunctionDomain is the model of what a function does on its domains. It is ours; the reference has none.
type FunctionDomain struct {
	FunctionID         string   `json:"functionId"`
	Domains            []string `json:"domains"`
	Path               string   `json:"path"` // where the function is reached without a name
	IdentifyCallers    bool     `json:"identifyCallers"`
	CORSOrigins        []string `json:"corsOrigins"`
	CORSMethods        []string `json:"corsMethods"`
	CORSHeaders        []string `json:"corsHeaders"`
	CORSExposedHeaders []string `json:"corsExposedHeaders"`
	CORSCredentials    bool     `json:"corsCredentials"`
	CORSMaxAge         int      `json:"corsMaxAge"`
}

// NewFunctionDomain returns the model of a function's settings with its rules.
func NewFunctionDomain(f *flint.Function, rules []*flint.Rule) *FunctionDomain {
	c := f.Domain.CORS
	if c == nil {
		c = &flint.CORS{}
	}
	m := &FunctionDomain{
		FunctionID: string(f.ID), Domains: make([]string, 0, len(rules)), Path: "/fn/" + string(f.Project) + "/" + string(f.ID) + "/",
		IdentifyCallers: f.Domain.Identify, CORSOrigins: texts(c.Origins), CORSMethods: texts(c.Methods), CORSHeaders: texts(c.Headers),
		CORSExposedHeaders: texts(c.Exposed), CORSCredentials: c.Credentials, CORSMaxAge: c.MaxAge,
	}
	for _, r := range rules {
		m.Domains = append(m.Domains, r.Domain)
	}
	return m
}
