package api

import (
	"context"
	"io"
	"net/http"
	"reflect"
	"time"

	"flint/auth"
	"flint/wire"
)

// Route is one endpoint: everything that routing, authorisation, binding, rate limits, the OpenAPI document and the
// tests need to know of it.
type Route struct {
	Method  string
	Path    string   // parameters in braces
	Aliases []string // further paths of the same endpoint
	Name    string   // of the SDK's method, with its service: functions.create
	Summary string
	Scopes  []string     // one of them is needed; auth.Public is said, never implied
	Callers auth.Callers // for whom it is meant; auth.Unidentified: credentials are not looked at
	Also    []int        // statuses of success beside the handler's
	Limit   Limit
	Rules   map[string]Rule // rules of the service, by the names that tags use
	Handler Handler
}

// Limit is how often a project may call a route. A zero Max is no limit.
type Limit struct {
	Max    int
	Per    time.Duration
	Exempt bool // keys and administrators are told of the limit and not bound by it
}

// Request is what a handler may know of its request beside the parameters. Inputs embed it.
type Request struct {
	Principal *auth.Principal
	Format    wire.Format
	ClientIP  string
	Header    http.Header
}

func (r *Request) request() *Request { return r }

// NoContent is the answer of a handler that has nothing to say: 204 without a body.
type NoContent struct{}

// Statuser is an answer that chooses its status.
type Statuser interface{ StatusCode() int }

// Older is an input that older clients send in another shape. It changes what they sent before it is bound.
type Older interface {
	Older(f wire.Format, p Params)
}

// Handler is a typed handler with its input's parameters. Handle, Receive and Stream make it.
type Handler struct {
	in, out reflect.Type
	status  int
	file    string // the parameter that is a file; empty: none
	call    func(context.Context, *exchange) (any, error)
}

// Handle makes a Handler of fn. The fields of In with the tag param are bound from path, query and body:
//
//	Name string `param:"name,required" rule:"text 1 128" default:"x" max:"100" doc:"What it is."`
//
// A field whose name is in the route's path comes from there; else it comes from the query of a GET and from the body of
// everything else. Absent and null are the same and give the default. A pointer stays nil then. rule names a check (see
// Rule), max is the most items that a list may have.
func Handle[In, Out any](status int, fn func(context.Context, *In) (Out, error)) Handler {
	return Handler{
		in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), status: status,
		call: func(ctx context.Context, x *exchange) (any, error) {
			in := new(In)
			if err := x.receive(in); err != nil {
				return nil, err
			}
			return fn(ctx, in)
		},
	}
}

// receive binds all parameters, and refuses a request that may not be made.
func (x *exchange) receive(in any) error {
	if err := x.bindBase(in); err != nil {
		return err
	}
	params, err := x.params()
	if err != nil {
		return err
	}
	if err := x.bind(in, params); err != nil {
		return err
	}
	return x.admit()
}

// File is a file that a client is sending.
type File struct {
	io.Reader
	Name string
}

// Upload is an endpoint that takes a file as a part of a form. The file is not kept anywhere: Receive reads it while it
// arrives, when only the parameters of the path are sure to be bound. The others may come before or after it.
type Upload[In, Out any] struct {
	Field   string
	Receive func(context.Context, *In, *File) error
	Discard func(context.Context, *In)              // undoes Receive when the request turns out to be wrong
	Finish  func(context.Context, *In) (Out, error) // called when everything is bound, also if no file came
}

// Receive makes a Handler of u.
func Receive[In, Out any](status int, u Upload[In, Out]) Handler {
	return Handler{
		in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), status: status, file: u.Field,
		call: func(ctx context.Context, x *exchange) (any, error) {
			in := new(In)
			if err := x.bindBase(in); err != nil {
				return nil, err
			}
			received := false
			params, err := x.stream(u.Field, func(f *File) error {
				if received {
					return nil // a second file of the same name
				}
				err := u.Receive(ctx, in, f)
				received = err == nil
				return err
			})
			if err == nil {
				err = x.bind(in, params)
			}
			if err == nil {
				err = x.admit()
			}
			var out Out
			if err == nil {
				out, err = u.Finish(ctx, in)
			}
			if err != nil && received {
				u.Discard(context.WithoutCancel(ctx), in)
			}
			return out, err
		},
	}
}
