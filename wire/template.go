package wire

// TemplateFunction is the model of a function that one can begin with.
type TemplateFunction struct {
	Icon                 string              `json:"icon"`
	ID                   string              `json:"id"`
	Name                 string              `json:"name"`
	Tagline              string              `json:"tagline"`
	Permissions          []string            `json:"permissions"`
	Events               []string            `json:"events"`
	Cron                 string              `json:"cron"`
	Timeout              int                 `json:"timeout"`
	UseCases             []string            `json:"useCases"`
	Runtimes             []*TemplateRuntime  `json:"runtimes"`
	Instructions         string              `json:"instructions"`
	VCSProvider          string              `json:"vcsProvider"`
	ProviderRepositoryID string              `json:"providerRepositoryId"`
	ProviderOwner        string              `json:"providerOwner"`
	ProviderVersion      string              `json:"providerVersion"`
	Variables            []*TemplateVariable `json:"variables"`
	Scopes               []string            `json:"scopes"`
}

// TemplateRuntime is the model of a template in one runtime.
type TemplateRuntime struct {
	Name                  string `json:"name"`
	Commands              string `json:"commands"`
	Entrypoint            string `json:"entrypoint"`
	ProviderRootDirectory string `json:"providerRootDirectory"`
}

// TemplateVariable is the model of a variable that a template wants.
type TemplateVariable struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Value       string `json:"value"`
	Secret      bool   `json:"secret"`
	Placeholder string `json:"placeholder"`
	Required    bool   `json:"required"`
	Type        string `json:"type"`
}

// TemplateFunctionList is a page of templates.
type TemplateFunctionList struct {
	Total     int                 `json:"total"`
	Templates []*TemplateFunction `json:"templates"`
}

func (m *TemplateFunctionList) rows() (string, []older) { return "templates", models(m.Templates) }

func (m *TemplateFunction) older(f *fields, format Format) {
	variables := make([]any, 0, len(m.Variables))
	for _, v := range m.Variables {
		row, err := decode(v)
		if err != nil {
			return // a variable is texts
		}
		if format.Before(1, 7, 0) {
			row.drop("secret")
		}
		variables = append(variables, row)
	}
	f.set("variables", variables)
}
