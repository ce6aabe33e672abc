package seccomp

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// TestRulesSayWhatTheFilterSays asks both about every call, with arguments that matter and with random ones.
func TestRulesSayWhatTheFilterSays(t *testing.T) {
	t.Parallel()
	if !Known() {
		t.Skip("there is no profile for this architecture")
	}
	vm, err := bpf.NewVM(program())
	if err != nil {
		t.Fatal(err)
	}
	rules, err := Rules()
	if err != nil {
		t.Fatal(err)
	}
	names, err := parse(calls)
	if err != nil {
		t.Fatal(err)
	}
	values := slices.Concat([]uint32{0, 1, 0x80045430, unix.AF_NETLINK, unix.AF_ALG, unix.AF_PACKET, unix.CLONE_THREAD | unix.CLONE_VM, unix.NETLINK_AUDIT},
		commands, families)
	for bit := uint32(1); bit != 0; bit <<= 1 {
		values = append(values, bit, unix.TIOCSTI^bit, unix.AF_INET^bit)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		values = append(values, random.Uint32())
	}
	for number, name := range names {
		args := values[:2]
		if number == unix.SYS_CLONE || number == unix.SYS_IOCTL || number == unix.SYS_SOCKET {
			args = values
		}
		for _, a := range args {
			for _, b := range args {
				call := [3]uint32{a, b, b}
				// The interpreter reads packets, which are big-endian.
				data := make([]byte, 64)
				binary.BigEndian.PutUint32(data[offNumber:], number)
				binary.BigEndian.PutUint32(data[offArch:], auditArch)
				for i, off := range []int{offArg0, offArg1, offArg2} {
					binary.BigEndian.PutUint32(data[off:], call[i])
				}
				verdict, err := vm.Run(data)
				if err != nil {
					t.Fatal(err)
				}
				want := unix.Errno(uint32(verdict) & unix.SECCOMP_RET_DATA)
				if uint32(verdict) == actAllow {
					want = 0
				}
				if got := ask(t, rules, name, call); got != want {
					t.Fatalf("%s(%#x, %#x): the rules say %v, the filter says %v", name, a, b, got, want)
				}
			}
		}
	}
}

func ask(t *testing.T, rules []Rule, name string, call [3]uint32) unix.Errno {
	t.Helper()
	answer, asked := Otherwise, false
	for _, r := range rules {
		if !slices.Contains(r.Names, name) || slices.ContainsFunc(r.Args, func(a Arg) bool { return call[a.Index]&a.Mask != a.Value }) {
			continue
		}
		if asked && r.Errno != answer {
			t.Fatalf("%s%#x: rules contradict each other: %v and %v", name, call, answer, r.Errno)
		}
		answer, asked = r.Errno, true
	}
	return answer
}
