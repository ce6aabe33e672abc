package flint_test

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"flint"
)

func TestKnown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want *flint.Error
	}{
		{fmt.Errorf("call: %w", flint.ErrTooBusy), flint.ErrTooBusy},
		{&fs.PathError{Op: "write", Path: "f", Err: syscall.ENOSPC}, flint.ErrStorageUnavailable},
		{errors.Join(errors.New("first"), syscall.EDQUOT), flint.ErrStorageUnavailable},
		{flint.ErrTooBusy.Because(syscall.ENOSPC), flint.ErrTooBusy},
		{errors.New("boom"), flint.ErrUnknown},
	} {
		if got := flint.Known(c.err); got.Type != c.want.Type {
			t.Errorf("Known(%v) = %v, want %v", c.err, got, c.want)
		}
	}
}
