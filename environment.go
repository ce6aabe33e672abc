package flint

import (
	"maps"
	"strconv"
)

// EnvironmentConfig is what the environment of a function is made from.
type EnvironmentConfig struct {
	Function                    *Function
	Deployment                  *Deployment
	RuntimeName, RuntimeVersion string // such as Node.js and 22
	Variables                   []*Variable
	Size                        Specification
	Endpoint                    string
	Region                      string
}

// Environment returns the variables that a function sees, built or running. Later ones win: those of the project, those of the function,
// the platform's.
func Environment(c EnvironmentConfig) map[string]string {
	env := map[string]string{}
	for _, ofFunction := range []bool{false, true} {
		for _, v := range c.Variables {
			if (v.Function != "") == ofFunction {
				env[v.Key] = v.Value
			}
		}
	}
	maps.Copy(env, map[string]string{
		"APPWRITE_FUNCTION_API_ENDPOINT":    c.Endpoint,
		"APPWRITE_FUNCTION_ID":              string(c.Function.ID),
		"APPWRITE_FUNCTION_NAME":            c.Function.Name,
		"APPWRITE_FUNCTION_DEPLOYMENT":      string(c.Deployment.ID),
		"APPWRITE_FUNCTION_PROJECT_ID":      string(c.Function.Project),
		"APPWRITE_FUNCTION_RUNTIME_NAME":    c.RuntimeName,
		"APPWRITE_FUNCTION_RUNTIME_VERSION": c.RuntimeVersion,
		"APPWRITE_FUNCTION_CPUS":            FormatCPUs(c.Size.CPUs),
		"APPWRITE_FUNCTION_MEMORY":          strconv.Itoa(c.Size.Memory),
		"APPWRITE_VERSION":                  ReferenceVersion,
		"APPWRITE_REGION":                   c.Region,
		"APPWRITE_DEPLOYMENT_TYPE":          c.Deployment.Type,
		"APPWRITE_VCS_ROOT_DIRECTORY":       c.Function.ProviderRootDirectory,
		"OPEN_RUNTIMES_ENTRYPOINT":          c.Deployment.Entrypoint,
		"OPEN_RUNTIMES_CPUS":                FormatCPUs(c.Size.CPUs),
		"OPEN_RUNTIMES_MEMORY":              strconv.Itoa(c.Size.Memory),
		"OPEN_RUNTIMES_HOSTNAME":            string(c.Function.ID),
		"OPEN_RUNTIMES_ENV":                 "production",
		"CI":                                "true",
	})
	for _, name := range []string{
		"REPOSITORY_ID", "REPOSITORY_NAME", "REPOSITORY_OWNER", "REPOSITORY_URL", "REPOSITORY_BRANCH", "REPOSITORY_BRANCH_URL",
		"COMMIT_HASH", "COMMIT_MESSAGE", "COMMIT_URL", "COMMIT_AUTHOR_NAME", "COMMIT_AUTHOR_URL",
	} {
		env["APPWRITE_VCS_"+name] = "" // no deployment comes from a repository yet
	}
	return env
}

// FormatCPUs writes a number of processors as functions see it: 1, 0.5.
func FormatCPUs(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
