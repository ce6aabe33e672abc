package seccomp

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Rule says what happens to system calls. Of a call that several rules name, those whose arguments match agree.
type Rule struct {
	Names []string
	Args  []Arg      // all of them hold; none: whatever the arguments
	Errno unix.Errno // 0 allows the call
}

// Arg holds when the argument, masked, is the value. Only the low half of an argument is looked at: the kernel ignores the
// other half of those that are in rules, so that a rule must do so too.
type Arg struct {
	Index       uint
	Mask, Value uint32
}

// Otherwise is what calls meet that no rule is about: they do not exist.
const Otherwise = unix.ENOSYS

// Rules says the same as [Filter] for runtimes that make a filter of their own from names. It is empty where Filter is.
func Rules() ([]Rule, error) {
	if !Known() {
		return nil, nil
	}
	names, err := parse(calls)
	if err != nil {
		return nil, err
	}
	var allowed, denied, gone []string
	for number, name := range names {
		switch {
		case slices.Contains(refused, number):
			denied = append(denied, name)
		case number > newest || slices.Contains(absent, number):
			gone = append(gone, name)
		case number != unix.SYS_CLONE && number != unix.SYS_IOCTL && number != unix.SYS_SOCKET:
			allowed = append(allowed, name)
		}
	}
	slices.Sort(allowed)
	slices.Sort(denied)
	slices.Sort(gone)
	rules := []Rule{{Names: allowed}, {Names: denied, Errno: unix.EPERM}, {Names: gone, Errno: Otherwise}}
	rules = append(rules, Rule{Names: []string{"clone"}, Args: []Arg{{Index: 0, Mask: namespaceFlags}}})
	for bit := uint32(1); bit != 0; bit <<= 1 {
		if namespaceFlags&bit != 0 {
			rules = append(rules, Rule{Names: []string{"clone"}, Args: []Arg{{Index: 0, Mask: bit, Value: bit}}, Errno: unix.EPERM})
		}
	}
	for _, c := range commands {
		rules = append(rules, Rule{Names: []string{"ioctl"}, Args: []Arg{exactly(1, c)}, Errno: unix.EPERM})
	}
	for _, other := range others(1, commands) {
		rules = append(rules, Rule{Names: []string{"ioctl"}, Args: []Arg{other}})
	}
	return append(rules, sockets()...), nil
}

func sockets() []Rule {
	var rules []Rule
	rule := func(errno unix.Errno, args ...Arg) {
		rules = append(rules, Rule{Names: []string{"socket"}, Args: args, Errno: errno})
	}
	for _, f := range families {
		rule(0, exactly(0, f))
	}
	rule(0, exactly(0, unix.AF_NETLINK), exactly(2, unix.NETLINK_ROUTE))
	for _, protocol := range others(2, []uint32{unix.NETLINK_ROUTE}) {
		rule(unix.EAFNOSUPPORT, exactly(0, unix.AF_NETLINK), protocol)
	}
	for _, family := range others(0, append([]uint32{unix.AF_NETLINK}, families...)) {
		rule(unix.EAFNOSUPPORT, family)
	}
	return rules
}

func exactly(index uint, value uint32) Arg { return Arg{Index: index, Mask: ^uint32(0), Value: value} }

// others returns conditions of which one holds exactly for the arguments that are none of the values. Each fixes the
// upper bits down to the first in which it departs from all of them.
func others(index uint, values []uint32) []Arg {
	var out []Arg
	for bit := uint32(1) << 31; bit != 0; bit >>= 1 {
		mask := -bit // this bit and those above
		for i, v := range values {
			a := Arg{Index: index, Mask: mask, Value: (v ^ bit) & mask}
			near := func(w uint32) bool { return w&mask == a.Value }
			seen := func(w uint32) bool { return w&mask == v&mask }
			if !slices.ContainsFunc(values, near) && !slices.ContainsFunc(values[:i], seen) {
				out = append(out, a)
			}
		}
	}
	return out
}

func parse(table string) (map[uint32]string, error) {
	names := map[uint32]string{}
	for line := range strings.Lines(table) {
		var name string
		var number uint32
		if _, err := fmt.Sscan(line, &name, &number); err != nil {
			return nil, fmt.Errorf("system call table: line %q: %w", line, err)
		}
		names[number] = name
	}
	return names, nil
}
