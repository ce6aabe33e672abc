// Package handler is the function that the benchmarks call.
package handler

import (
	"sync/atomic"

	"github.com/open-runtimes/types-for-go/v4/openruntimes"
)

type greeting struct {
	Message string `json:"message"`
	OK      bool   `json:"ok"`
}

var served atomic.Int64

// Main answers a small JSON, or how many calls were served before.
func Main(Context openruntimes.Context) openruntimes.Response {
	before := served.Add(1) - 1
	if Context.Req.Path == "/served" {
		return Context.Res.Json(map[string]int64{"served": before})
	}
	Context.Log("a greeting for " + Context.Req.Method)
	return Context.Res.Json(greeting{Message: "Hello from a function", OK: true})
}
