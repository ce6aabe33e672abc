package flint

import "time"

// Errors about functions.
var (
	ErrFunctionNotFound     = kind(NotFound, "function_not_found", "Function with the requested ID could not be found.")
	ErrFunctionExists       = kind(Conflict, "function_already_exists", "Function with the requested ID already exists. Try again with a different ID or use ID.unique() to generate a unique ID.")
	ErrRuntimeUnsupported   = kind(NotFound, "function_runtime_unsupported", "The requested runtime is either inactive or unsupported.")
	ErrEntrypointMissing    = kind(NotFound, "function_entrypoint_missing", "Entrypoint for your Appwrite Function is missing. Please specify it when making deployment or update the entrypoint under your function's \"Settings\" > \"Configuration\" > \"Entrypoint\".")
	ErrSynchronousTimeout   = kind(Timeout, "function_synchronous_timeout", "Synchronous function execution timed out. Use asynchronous execution instead, or ensure the execution duration doesn't exceed 30 seconds.")
	ErrAsynchronousTimeout  = kind(Timeout, "function_asynchronous_timeout", "Asynchronous function execution timed out. Ensure the execution duration doesn't exceed the configured function timeout.")
	ErrNoExecutePermission  = kind(Unauthorized, "function_execute_permission_missing", "To execute function using domain, execute permissions must include \"any\" or \"guests\".")
	ErrTemplateNotFound     = kind(NotFound, "function_template_not_found", "Function Template with the requested ID could not be found.")
	ErrInstallationNotFound = kind(NotFound, "installation_not_found", "Installation with the requested ID could not be found. Check to see if the ID is correct, or create the installation.")
)

// Limits of a function's settings, from the reference.
const (
	MaxFunctionTimeout     = 900 * time.Second
	DefaultFunctionTimeout = 15 * time.Second
	SynchronousTimeout     = 30 * time.Second // wall clock of a call whose caller waits, whatever the function's timeout
	AsynchronousGrace      = 15 * time.Second // added to the timeout of calls whose caller does not wait
	MaxVariablesInjected   = 1000
)

// Function is a piece of user code with its settings. Its code is a Deployment.
type Function struct {
	Project              ProjectID
	ID                   FunctionID
	CreatedAt, UpdatedAt time.Time

	Name        string
	Runtime     string   // a runtime key, such as node-22
	Execute     []string // roles that may execute it through the API
	Events      []string
	Scopes      []string // of the key that each execution gets
	Schedule    string
	Timeout     time.Duration // whole seconds
	Enabled     bool
	Logging     bool
	Live        bool // settings are those of the active deployment; informational
	Entrypoint  string
	Commands    string
	Retention   int    // days before inactive deployments are purged; 0 never
	BuildSpec   string // slugs of Specifications
	RuntimeSpec string

	InstallationID, ProviderRepositoryID, ProviderBranch, ProviderRootDirectory string

	ProviderSilentMode              bool
	ProviderBranches, ProviderPaths []string

	Domain   DomainSettings
	Scaling  Scaling
	Delivery Delivery

	DeploymentID        DeploymentID // active; empty: none
	DeploymentCreatedAt time.Time

	LatestDeploymentID        DeploymentID
	LatestDeploymentCreatedAt time.Time
	LatestDeploymentStatus    DeploymentStatus
}

// Specification is a size that builds and executions may have.
type Specification struct {
	Slug   string
	Memory int // MB
	CPUs   float64
}

// DefaultSpecification is what a function without a stored size has.
const DefaultSpecification = "s-1vcpu-512mb"

// Specifications returns the sizes with at most maxCPUs and maxMemory MB, smallest first. Zero is no limit.
func Specifications(maxCPUs float64, maxMemory int) []Specification {
	all := []Specification{
		{"s-0.5vcpu-512mb", 512, 0.5},
		{"s-1vcpu-512mb", 512, 1},
		{"s-1vcpu-1gb", 1024, 1},
		{"s-2vcpu-2gb", 2048, 2},
		{"s-2vcpu-4gb", 4096, 2},
		{"s-4vcpu-4gb", 4096, 4},
		{"s-4vcpu-8gb", 8192, 4},
		{"s-8vcpu-4gb", 4096, 8},
		{"s-8vcpu-8gb", 8192, 8},
	}
	allowed := all[:0]
	for _, s := range all {
		if (maxCPUs == 0 || s.CPUs <= maxCPUs) && (maxMemory == 0 || s.Memory <= maxMemory) {
			allowed = append(allowed, s)
		}
	}
	return allowed
}

// SpecificationBySlug returns the size called slug, or the default size.
func SpecificationBySlug(slug string) Specification {
	var fallback Specification
	for _, s := range Specifications(0, 0) {
		if s.Slug == slug {
			return s
		}
		if s.Slug == DefaultSpecification {
			fallback = s
		}
	}
	return fallback
}
