package openruntimes

import (
	"encoding/json"
	"maps"
	"strings"
)

// Response is an answer of a function. A status of zero means 200.
type Response struct {
	Body       []byte
	StatusCode int
	Headers    map[string]string
}

// New returns an empty answer with status 200.
func (r Response) New() *Response {
	return &Response{Body: []byte{}, StatusCode: 200, Headers: map[string]string{}}
}

// ResponseOption changes an answer while it is built.
type ResponseOption func(*Response)

// ContextResponse builds answers. Building one has no effect: a function returns the one that counts.
type ContextResponse struct{}

// WithStatusCode sets the status.
func (ContextResponse) WithStatusCode(code int) ResponseOption {
	return func(r *Response) { r.StatusCode = code }
}

// WithHeaders sets the headers. The map is copied: one map may serve many requests at once.
func (ContextResponse) WithHeaders(headers map[string]string) ResponseOption {
	return func(r *Response) {
		r.Headers = maps.Clone(headers)
		if r.Headers == nil {
			r.Headers = map[string]string{}
		}
	}
}

// Text answers with text.
func (ContextResponse) Text(body string, options ...ResponseOption) Response {
	return answer([]byte(body), 200, options)
}

// Json answers with the JSON of a value, or with status 500 if it has none.
//

func (ContextResponse) Json(body any, options ...ResponseOption) Response {
	text, err := json.Marshal(body)
	if err != nil {
		return answer([]byte("Error encoding JSON."), 500, nil)
	}
	r := answer(text, 200, options)
	r.set("content-type", "application/json")
	return r
}

// Binary answers with bytes.
func (ContextResponse) Binary(body []byte, options ...ResponseOption) Response {
	return answer(body, 200, options)
}

// Send answers with text.
//
// Deprecated: use Text.
func (c ContextResponse) Send(body string, options ...ResponseOption) Response {
	return c.Text(body, options...)
}

// Empty answers with status 204 and no body.
func (ContextResponse) Empty() Response { return answer(nil, 204, nil) }

// Redirect answers with the address to go to, with status 301 unless an option says another.
func (ContextResponse) Redirect(url string, options ...ResponseOption) Response {
	r := answer(nil, 301, options)
	r.set("location", url)
	return r
}

func answer(body []byte, status int, options []ResponseOption) Response {
	r := Response{Body: body, StatusCode: status}
	if body == nil {
		r.Body = []byte{}
	}
	for _, option := range options {
		option(&r)
	}
	if r.Headers == nil { // functions add to it
		r.Headers = map[string]string{}
	}
	return r
}

// set sets a header and removes other spellings of its name, which would race with it once names are lower-cased.
func (r *Response) set(name, value string) {
	for other := range r.Headers {
		if strings.EqualFold(other, name) {
			delete(r.Headers, other)
		}
	}
	r.Headers[name] = value
}
