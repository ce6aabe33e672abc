// Package handler is a function that says hello.
package handler

import (
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/open-runtimes/types-for-go/v4/openruntimes"
)

var started = time.Now()

// Main gets a context: the request, what answers it, and where its logs go.
func Main(Context openruntimes.Context) openruntimes.Response {
	name := Context.Req.Query["name"]
	if name == "" {
		name = "world"
	}
	Context.Log("Saying hello to " + name + ".")
	if name == "nobody" {
		Context.Error("Nobody to say hello to.")
		return Context.Res.Json(map[string]string{"error": "Give me a name."}, Context.Res.WithStatusCode(400))
	}
	return Context.Res.Json(map[string]string{
		"message":   "Hello, " + name + "!",
		"runtime":   os.Getenv("APPWRITE_FUNCTION_RUNTIME_NAME") + " " + os.Getenv("APPWRITE_FUNCTION_RUNTIME_VERSION"),
		"workerAge": humanize.RelTime(started, time.Now(), "old", ""),
	})
}
