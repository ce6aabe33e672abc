package flint

import (
	"errors"
	"fmt"
	"time"
)

// Kind is the class of an error. Package api maps each kind to one HTTP status.
type Kind uint8

// The kinds, in the order of their statuses.
const (
	Internal       Kind = iota // 500
	Invalid                    // 400
	Unauthorized               // 401
	Forbidden                  // 403
	NotFound                   // 404
	NotAllowed                 // 405
	Timeout                    // 408
	Conflict                   // 409
	Gone                       // 410
	Precondition               // 412
	RangeInvalid               // 416
	RateLimited                // 429
	NotImplemented             // 501
	Unavailable                // 503
	TooLarge                   // 413 on function domains; the API never sends it
)

// Error is what a caller is told. Type is stable and documented; Message is for people. A cause is logged, never sent.
// Two Errors are the same to errors.Is when their types are.
type Error struct {
	Kind    Kind
	Type    string
	Message string
	Retry   time.Duration // after which trying again makes sense; 0: not known
	cause   error
}

func (e *Error) Error() string {
	if e.cause != nil {
		return e.Type + ": " + e.Message + ": " + e.cause.Error()
	}
	return e.Type + ": " + e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is compares by type.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Type == e.Type
}

// Saying returns a copy with another message.
func (e *Error) Saying(format string, args ...any) *Error {
	c := *e
	c.Message = fmt.Sprintf(format, args...)
	return &c
}

// After returns a copy that says when to try again.
func (e *Error) After(d time.Duration) *Error {
	c := *e
	c.Retry = d
	return &c
}

// Because returns a copy with a cause.
func (e *Error) Because(err error) *Error {
	c := *e
	c.cause = err
	return &c
}

func kind(k Kind, typ, message string) *Error { return &Error{Kind: k, Type: typ, Message: message} }

// Errors that belong to no one noun. Types and messages are the reference's.
var (
	ErrUnknown           = kind(Internal, "general_unknown", "Server Error")
	ErrInvalidArgument   = kind(Invalid, "general_argument_invalid", "Invalid argument.")
	ErrInvalidQuery      = kind(Invalid, "general_query_invalid", "The query's syntax is invalid. Please check the query and try again.")
	ErrCursorNotFound    = kind(Invalid, "general_cursor_not_found", "The cursor is invalid. This can happen if the item represented by the cursor has been deleted.")
	ErrBadRequest        = kind(Invalid, "general_bad_request", "There was an error processing your request. Please check the inputs and try again.")
	ErrUnauthorizedScope = kind(Unauthorized, "general_unauthorized_scope", "The current user or API key does not have the required scopes to access the requested resource.")
	ErrAccessForbidden   = kind(Unauthorized, "general_access_forbidden", "Access to this API is forbidden.")
	ErrRouteNotFound     = kind(NotFound, "general_route_not_found", "Route not found. Please ensure the endpoint is configured correctly and that the API route is valid for this SDK version. Refer to the API docs for more details.")
	ErrRateLimited       = kind(RateLimited, "general_rate_limit_exceeded", "Rate limit for the current endpoint has been exceeded. Please try again after some time.")
	ErrUserUnauthorized  = kind(Unauthorized, "user_unauthorized", "The current user is not authorized to perform the requested action.")
	ErrInvalidJWT        = kind(Unauthorized, "user_jwt_invalid", "The JWT token is invalid. Please check the value of the X-Appwrite-JWT header to ensure the correct token is being used.")
	ErrTooBusy           = kind(Unavailable, "general_service_busy", "The platform has no free capacity for this call. Try again after the time in the Retry-After header.")
	ErrFunctionBusy      = kind(RateLimited, "function_calls_exceeded", "The function has as many calls as it can serve. Try again after the time in the Retry-After header.")
	ErrShuttingDown      = kind(Unavailable, "general_service_stopping", "This node is stopping. Try again.")
	ErrProtocol          = kind(Internal, "general_protocol_unsupported", "This is reached by https only.")
	ErrBodyTooLarge      = kind(Invalid, "general_argument_invalid", "The request is larger than the platform accepts.")
)

// Errors about uploads.
var (
	ErrFileEmpty           = kind(Invalid, "storage_file_empty", "No file sent")
	ErrFileTypeUnsupported = kind(Invalid, "storage_file_type_unsupported", "The given file extension is not supported.")
	ErrInvalidFile         = kind(Forbidden, "storage_invalid_file", "The uploaded file is invalid. Please check the file and try again.")
	ErrInvalidContentRange = kind(Invalid, "storage_invalid_content_range", "The content range is invalid. Please check the value of the Content-Range header.")
	ErrInvalidRange        = kind(RangeInvalid, "storage_invalid_range", "The requested range is not satisfiable. Please check the value of the Range header.")
)
