// Package blob is the seam to where big bytes are kept: sources and packages of deployments, each under the SHA-256 of
// its content. The stores are its child packages; blobtest is the suite that each of them passes.
package blob

import (
	"context"
	"errors"
	"io"
	"regexp"
)

// ErrNotFound says that no blob has the digest.
var ErrNotFound = errors.New("blob not found")

// Store keeps blobs. Stores are safe for concurrent use.
type Store interface {
	// Put keeps what r holds, to its end, and returns its digest, 64 lower-case hexadecimal characters, and its size in
	// bytes. When it returns without error the blob is durable; when it returns an error nothing was kept. Putting the
	// same content twice keeps it once.
	Put(ctx context.Context, r io.Reader) (digest string, size int64, err error)
	// Get opens the blob for reading and seeking; the caller closes it. ErrNotFound when there is none.
	Get(ctx context.Context, digest string) (io.ReadSeekCloser, int64, error)
	// Delete removes the blob. Deleting what is not there is not an error.
	Delete(ctx context.Context, digest string) error
	// List calls each with every digest, in no order, until it returns an error.
	List(ctx context.Context, each func(digest string, size int64) error) error
}

var digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`) // compiled once

// ValidDigest reports whether s can be the name of a blob.
func ValidDigest(s string) bool { return digestPattern.MatchString(s) }
