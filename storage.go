package flint

import (
	"errors"
	"syscall"
)

// ErrStorageUnavailable is the answer while the database cannot be read or written: the disk is full, the file system
// fails, or the file is locked by someone else. What was acknowledged before is safe, and calls succeed again once the
// cause is gone.
var ErrStorageUnavailable = kind(Unavailable, "general_storage_unavailable", "The platform's storage is not available at the moment. Please try again later.")

// Known is what a caller is told of an error: the platform's own one in it, that there is no storage when the disk had no
// room, or nothing.
func Known(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS) {
		return ErrStorageUnavailable
	}
	return ErrUnknown
}

// Errors about keys, for those who manage them.
var (
	ErrKeyNotFound = kind(NotFound, "key_not_found", "Key with the requested ID could not be found.")
	ErrKeyExists   = kind(Conflict, "key_already_exists", "Key with the requested ID already exists. Try again with a different ID.")
)
