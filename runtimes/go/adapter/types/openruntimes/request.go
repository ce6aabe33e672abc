package openruntimes

import (
	"encoding/json"
	"errors"
	"strings"
)

var errBodyJSON = errors.New("could not parse body into a JSON")

// ContextRequest is the request that a function answers. Names of headers are lower-case.
type ContextRequest struct {
	Headers     map[string]string
	Method      string
	Url         string
	Path        string
	Port        int
	Scheme      string
	Host        string
	QueryString string
	Query       map[string]string

	body []byte
}

// BodyBinary returns the bytes of the body.
func (r ContextRequest) BodyBinary() []byte { return r.body }

// BodyText returns the body as text.
func (r ContextRequest) BodyText() string { return string(r.body) }

// BodyRaw returns the body as text.
//
// Deprecated: use BodyText.
func (r ContextRequest) BodyRaw() string { return r.BodyText() }

// BodyJson parses the body into v. An empty body is an error.
//

func (r ContextRequest) BodyJson(v any) error {
	if err := json.Unmarshal(r.body, v); err != nil {
		return errBodyJSON
	}
	return nil
}

// Body returns a map[string]interface{} when the content type is exactly application/json, else the text. What is
// not a JSON object becomes an empty map.
//
// Deprecated: use BodyText, BodyJson or BodyBinary.
func (r ContextRequest) Body() any {
	if !strings.EqualFold(r.Headers["content-type"], "application/json") {
		return r.BodyText()
	}
	object := map[string]any{}
	if err := json.Unmarshal(r.body, &object); err != nil || object == nil {
		return map[string]any{}
	}
	return object
}

// SetBodyBinary sets the bytes of the body.
func (r *ContextRequest) SetBodyBinary(body []byte) { r.body = body }
