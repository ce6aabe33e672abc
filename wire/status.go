package wire

import (
	"errors"
	"net/http"

	"flint"
)

// statuses is the status of each kind of error.
var statuses = [...]int{ //nolint:gochecknoglobals // read only
	flint.Internal:       http.StatusInternalServerError,
	flint.Invalid:        http.StatusBadRequest,
	flint.Unauthorized:   http.StatusUnauthorized,
	flint.Forbidden:      http.StatusForbidden,
	flint.NotFound:       http.StatusNotFound,
	flint.NotAllowed:     http.StatusMethodNotAllowed,
	flint.Timeout:        http.StatusRequestTimeout,
	flint.Conflict:       http.StatusConflict,
	flint.Gone:           http.StatusGone,
	flint.Precondition:   http.StatusPreconditionFailed,
	flint.RangeInvalid:   http.StatusRequestedRangeNotSatisfiable,
	flint.RateLimited:    http.StatusTooManyRequests,
	flint.NotImplemented: http.StatusNotImplemented,
	flint.Unavailable:    http.StatusServiceUnavailable,
	flint.TooLarge:       http.StatusRequestEntityTooLarge,
}

// Status returns the status of an answer with that error.
func Status(err error) int {
	var known *flint.Error
	if !errors.As(err, &known) || int(known.Kind) >= len(statuses) {
		return http.StatusInternalServerError
	}
	return statuses[known.Kind]
}
