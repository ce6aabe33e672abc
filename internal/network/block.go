package network

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Several nodes may share a host. Each has a block of the range to itself.
const (
	mostBlocks  = 64
	leastBits   = 12 // of a range
	mostBits    = 24 // of a range, so that a block has room for more than a few
	buildShare  = 3  // bits: an eighth of a block is for builds
	gatewayHost = 1  // the first address that networks use; the gateway is no interface's, only a name for the way out
)

// block is a node's share of the range.
type block struct {
	number int
	prefix netip.Prefix
}

// blocks cuts a range into what nodes take.
func blocks(of netip.Prefix) ([]block, error) {
	of = of.Masked()
	if !of.Addr().Is4() || of.Bits() < leastBits || of.Bits() > mostBits {
		return nil, fmt.Errorf("range %s of the sandboxes' addresses is not an IPv4 network between /%d and /%d", of, leastBits, mostBits)
	}
	bits := max(of.Bits(), min(of.Bits()+6, mostBits))
	all := make([]block, 1<<(bits-of.Bits()))
	for i := range all {
		all[i] = block{i, netip.PrefixFrom(nth(of.Addr(), i<<(32-bits)), bits)}
	}
	return all, nil
}

// nth is the address n after a.
func nth(a netip.Addr, n int) netip.Addr {
	b := a.As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n))
	return netip.AddrFrom4(b)
}

// gateway is the address that networks send what leaves them to.
func (b block) gateway() netip.Addr { return nth(b.prefix.Addr(), gatewayHost) }

// builders is the end of the block, which networks of class Build have their addresses in.
func (b block) builders() netip.Prefix {
	bits := b.prefix.Bits() + buildShare
	return netip.PrefixFrom(nth(b.prefix.Addr(), (1<<buildShare-1)<<(32-bits)), bits)
}

// hosts returns the numbers of the addresses for networks of a class, in the order in which they are used.
func (b block) hosts(c Class) []int {
	size := 1 << (32 - b.prefix.Bits())
	border := size - size>>buildShare
	first, end := gatewayHost+1, border
	if c == Build {
		first, end = border, size-1
	}
	var all []int
	for i := first; i < end; i++ {
		all = append(all, i)
	}
	return all
}

// Room returns how many networks of functions a node has addresses for, whose range this is; 0 when it is none.
func Room(of netip.Prefix) int {
	all, err := blocks(of)
	if err != nil {
		return 0
	}
	return len(all[0].hosts(Internet))
}

// name begins the names of the block's interfaces on the host, and is the name of its table of rules.
func (b block) name() string { return fmt.Sprintf("%s%d", namePrefix, b.number) }

// link is the interface of an address.
func (b block) link(host int) string { return fmt.Sprintf("%s-%d", b.name(), host) }

// namePrefix begins the names of all interfaces and tables of this package. An interface has at most 15 characters.
const namePrefix = "flint"
