package api

import (
	"embed"
	"encoding/json"
)

// examples.json is what a node answered to the script that checks the document: go test ./e2e -run TestOpenAPI -update.
//
//go:embed examples.json
var examples embed.FS

// recording is what was recorded of an operation: the last request that was right, the last answer of each status of
// success, and the first error, which is "default". Further paths of an operation have a request only.
type recording struct {
	Request json.RawMessage
	Answers map[string]json.RawMessage
}

// recordings returns what was recorded, by the names of operations.
func recordings() map[string]recording {
	b, err := examples.ReadFile("examples.json")
	if err != nil {
		panic("api: " + err.Error())
	}
	var all map[string]recording
	if err := json.Unmarshal(b, &all); err != nil {
		panic("api: examples.json: " + err.Error())
	}
	return all
}

// media describes a body, with an example if there is one.
func media(schema any, example json.RawMessage) object {
	m := object{"schema": schema}
	if example != nil {
		m["example"] = example
	}
	return m
}
