package worker

import (
	"io"
	"sync/atomic"

	"flint"
	"flint/runtimes"
)

// Target is what a worker serves: one deployment of a function with its environment. It does not change; a changed
// variable makes a new Target.
type Target struct {
	Key        string // equal for equal targets, different for different ones
	Project    flint.ProjectID
	Function   flint.FunctionID
	Deployment flint.DeploymentID
	Digest     string // of the package in the blob store
	Entrypoint string
	Runtime    *runtimes.Runtime
	Env        map[string]string
	Size       flint.Specification
	Scaling    flint.Scaling // not part of the key: it may change while workers live
	Order      uint64        // larger for targets that were read later

	group atomic.Pointer[group] // where its workers are; a shortcut past the pool's map
}

// Request is one call of a function.
type Request struct {
	Method      string
	Scheme      string
	Host        string
	Port        int
	Path        string // not decoded
	QueryString string // without "?", not decoded
	URL         string
	Headers     []flint.Header // names in lower case, each once
	Logging     bool
	Depth       int // how many functions wait for this call in turn; 0: it came from outside
	Body        []byte
	More        io.Reader        // what follows Body, when the whole is not in memory; nil: nothing
	Execution   *flint.Execution // of the call, for those who follow what it logs: only what does not change is looked at. nil: nobody can
	Said        func([]byte)     // called with what the call logs, while it runs; must not block, and must not keep the text. nil: nobody asks
	Begun       func()           // called when a worker has the call; nil: nobody asks
}

// Response is what a function answers, as its adapter sent it: the rules of the contract about headers are not applied.
// The body follows piece by piece from Next.
type Response struct {
	Status  int
	Headers []flint.Header // repeated names are repeated fields

	call *call
	body []byte // the piece that came with the head
}
