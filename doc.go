// Package flint holds the nouns of the platform and the rules about them: functions, deployments, executions,
// variables, rules, keys, and what may be said of each. It is pure: no I/O, no goroutines, the standard library only.
// Everything else in the module imports it; it imports nothing of ours.
package flint

// Version is the version of this build, set by the linker.
var Version = "0.1.0-dev" //nolint:gochecknoglobals // -ldflags -X needs a variable

// ReferenceVersion is the server version whose API and function contract this build speaks. Clients see it in error
// bodies, functions in APPWRITE_VERSION.
const ReferenceVersion = "1.9.6"
