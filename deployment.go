package flint

import "time"

// Errors about deployments and their builds.
var (
	ErrDeploymentNotFound    = kind(NotFound, "deployment_not_found", "Deployment with the requested ID could not be found.")
	ErrDeploymentSize        = kind(Invalid, "deployment_invalid_file_size", "The deployment's archive is larger than the platform accepts.")
	ErrBuildNotReady         = kind(Invalid, "build_not_ready", "Build with the requested ID is building and not ready for execution.")
	ErrBuildCompleted        = kind(Invalid, "build_already_completed", "Build with the requested ID is already completed and cannot be canceled.")
	ErrBuildFailed           = kind(Invalid, "build_failed", "Build with the requested ID failed. Please check the logs for more information.")
	ErrBuildCanceled         = kind(Invalid, "build_canceled", "Build with the requested ID was canceled.")
	ErrDeploymentToExecute   = ErrDeploymentNotFound.Saying("Deployment not found. Create a deployment before trying to execute a function")
	ErrDeploymentFileMissing = ErrDeploymentNotFound.Saying("The deployment has no such file.")
)

// DeploymentStatus is the state of a deployment's build.
type DeploymentStatus string

// The states. Waiting and building have one owner, the builder that holds the lease; the last three are final.
const (
	DeploymentWaiting    DeploymentStatus = "waiting"
	DeploymentProcessing DeploymentStatus = "processing"
	DeploymentBuilding   DeploymentStatus = "building"
	DeploymentReady      DeploymentStatus = "ready"
	DeploymentFailed     DeploymentStatus = "failed"
	DeploymentCanceled   DeploymentStatus = "canceled"
)

// Final reports whether the state can no longer change.
func (s DeploymentStatus) Final() bool {
	return s == DeploymentReady || s == DeploymentFailed || s == DeploymentCanceled
}

// MaxBuildLog is how many bytes of a build's log are kept: the newest.
const MaxBuildLog = 1_000_000

// Deployment is one uploaded version of a function's code, and what became of it.
type Deployment struct {
	Project              ProjectID
	ID                   DeploymentID
	Function             FunctionID
	CreatedAt, UpdatedAt time.Time

	Type       string // manual, cli or vcs
	Runtime    string // the function's at creation: the build is for this one
	Entrypoint string
	Commands   string
	Activate   bool // becomes the active one when ready
	Status     DeploymentStatus

	SourceSize, BuildSize     int64  // bytes of the archives
	SourceDigest, BuildDigest string // names in the blob store; empty: none
	BuildLogs                 string
	BuildStartedAt            time.Time
	BuildDuration             int // whole seconds
}
