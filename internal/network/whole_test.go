package network

import (
	"errors"
	"io"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestWholeListsAreAskedForAgain(t *testing.T) {
	t.Parallel()
	asked := 0
	list := func(interrupted int, err error) func() ([]int, error) {
		asked = 0
		return func() ([]int, error) {
			if asked++; asked <= interrupted {
				return []int{asked}, netlink.ErrDumpInterrupted
			}
			return []int{1, 2}, err
		}
	}
	if all, err := whole(list(3, nil)); err != nil || len(all) != 2 || asked != 4 {
		t.Errorf("whole() = %v, %v after %d answers", all, err, asked)
	}
	if _, err := whole(list(0, io.EOF)); !errors.Is(err, io.EOF) || asked != 1 {
		t.Errorf("whole() = %v after %d answers", err, asked)
	}
	if _, err := whole(list(1000, nil)); !errors.Is(err, netlink.ErrDumpInterrupted) {
		t.Errorf("whole() of a list that always changes = %v", err)
	}
}
