package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// filter is the node's table of rules. It stays when the process is killed, so that sandboxes which live on for a moment
// are still held to it.
type filter struct {
	block   block
	policy  Policy
	guarded []string // interfaces that forward for the sandboxes' sake only
	most    uint32   // connections of a sandbox that the kernel keeps track of; 0: as many as it likes
}

// mostTracked bounds the connections to elsewhere that a sandbox may have, of which the host's table holds a limited number.
const mostTracked = 2048

// install puts the table in place of an earlier one of that name, in one step.
func (f filter) install() error {
	verdicts, err := f.policy.verdicts()
	if err != nil {
		return err
	}
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: f.block.name()}) // or else there were nothing to delete
	c.DelTable(t)
	c.AddTable(t)
	b := builder{conn: c, table: t, own: f.block.name() + "-"}
	b.refuse()
	b.incoming(f.block)
	b.input(f, verdicts)
	if err := b.forward(f, verdicts); err != nil {
		return err
	}
	b.output()
	b.translate(f.block)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("install the rules of nftables: %w", err)
	}
	return nil
}

// uninstall removes a block's table, if there is one.
func uninstall(b block) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.DelTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: b.name()})
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove the rules of nftables: %w", err)
	}
	return nil
}

// installed returns the numbers of the blocks that have a table.
func installed() (map[int]bool, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list the tables of nftables: %w", err)
	}
	found := map[int]bool{}
	for _, t := range tables {
		number, ours := strings.CutPrefix(t.Name, namePrefix)
		if n, err := strconv.Atoi(number); ours && err == nil {
			found[n] = true
		}
	}
	return found, nil
}

// obstacles returns the chains of others that refuse to forward what they do not know.
func obstacles() (names []string) {
	c, err := nftables.New()
	if err != nil {
		return nil
	}
	chains, err := c.ListChains()
	if err != nil {
		return nil
	}
	for _, ch := range chains {
		if ch.Hooknum != nil && *ch.Hooknum == *nftables.ChainHookForward && ch.Policy != nil && *ch.Policy == nftables.ChainPolicyDrop {
			names = append(names, "chain "+ch.Name+" of table "+ch.Table.Name)
		}
	}
	return names
}

// builder adds chains and rules to a table.
type builder struct {
	conn  *nftables.Conn
	table *nftables.Table
	own   string // how the names of this node's interfaces begin
}

func (b builder) hook(name string, hook *nftables.ChainHook, priority *nftables.ChainPriority, kind nftables.ChainType) *nftables.Chain {
	return b.conn.AddChain(&nftables.Chain{Name: name, Table: b.table, Hooknum: hook, Priority: priority, Type: kind})
}

func (b builder) rule(c *nftables.Chain, matches ...[]expr.Any) {
	b.conn.AddRule(&nftables.Rule{Table: b.table, Chain: c, Exprs: slices.Concat(matches...)})
}

// incoming drops what pretends to come from elsewhere, and IPv6.
func (b builder) incoming(own block) {
	c := b.hook("incoming", nftables.ChainHookPrerouting, nftables.ChainPriorityRaw, nftables.ChainTypeFilter)
	b.rule(c, from(b.own), version(unix.NFPROTO_IPV6), drop())
	b.rule(c, from(b.own), version(unix.NFPROTO_IPV4), notWithin(source, own.prefix), drop())
}

// input is about what goes to the host itself: nothing but what is named.
func (b builder) input(f filter, verdicts []verdict) {
	inner := b.conn.AddChain(&nftables.Chain{Name: "to-host", Table: b.table})
	b.reach(inner, f)
	for _, single := range ownAddresses(verdicts) {
		b.rule(inner, within(destination, single), accept())
	}
	b.rule(inner, reject())
	c := b.hook("input", nftables.ChainHookInput, nftables.ChainPriorityFilter, nftables.ChainTypeFilter)
	b.rule(c, from(b.own), jump(inner.Name))
}

// forward is about what goes elsewhere.
func (b builder) forward(f filter, verdicts []verdict) error {
	inner := b.conn.AddChain(&nftables.Chain{Name: "to-outside", Table: b.table})
	b.rule(inner, established(), accept())
	b.rule(inner, to(namePrefix), reject())
	if f.most > 0 {
		if err := b.bound(inner, f); err != nil {
			return err
		}
	}
	b.reach(inner, f)
	for _, v := range verdicts {
		then := reject()
		if v.allow {
			then = accept()
		}
		b.rule(inner, within(destination, v.to), then)
	}
	b.rule(inner, accept())
	c := b.hook("forward", nftables.ChainHookForward, nftables.ChainPriorityFilter, nftables.ChainTypeFilter)
	b.rule(c, from(b.own), jump(inner.Name))
	b.rule(c, to(b.own), established(), accept())
	b.rule(c, to(b.own), drop())
	// Interfaces that forward only because of Flint do so for its sandboxes alone.
	for _, in := range f.guarded {
		for _, out := range f.guarded {
			b.rule(c, from(in+"\x00"), to(out+"\x00"), drop())
		}
	}
	return nil
}

// bound refuses what is new from an address that has as many connections as it may have.
func (b builder) bound(c *nftables.Chain, f filter) error {
	seen := &nftables.Set{
		Table: b.table, Name: "connections", KeyType: nftables.TypeIPAddr, Dynamic: true, Size: 1 << (32 - f.block.prefix.Bits()),
	}
	if err := b.conn.AddSet(seen, nil); err != nil {
		return err
	}
	b.rule(c, []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: source, Len: 4},
		&expr.Dynset{
			SrcRegKey: 1, SetName: seen.Name, SetID: seen.ID, Operation: unix.NFT_DYNSET_OP_ADD,
			Exprs: []expr.Any{&expr.Connlimit{Count: f.most, Flags: expr.NFT_CONNLIMIT_F_INV}},
		},
	}, reject())
	return nil
}

// reach accepts what the policy names with a port.
func (b builder) reach(c *nftables.Chain, f filter) {
	for _, a := range f.policy.Reach {
		b.rule(c, within(destination, single(a.Addr())), tcpPort(a.Port()), accept())
	}
	for _, a := range f.policy.BuildReach {
		b.rule(c, within(source, f.block.builders()), within(destination, single(a.Addr())), tcpPort(a.Port()), accept())
	}
}

// output keeps the host's own processes from connecting to what sandboxes listen on.
func (b builder) output() {
	c := b.hook("output", nftables.ChainHookOutput, nftables.ChainPriorityFilter, nftables.ChainTypeFilter)
	b.rule(c, to(b.own), established(), accept())
	b.rule(c, to(b.own), reject())
}

// translate gives what leaves the host the host's address.
func (b builder) translate(own block) {
	c := b.hook("leaving", nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, nftables.ChainTypeNAT)
	b.rule(c, version(unix.NFPROTO_IPV4), within(source, own.prefix), []expr.Any{&expr.Masq{}})
}

// link matches interfaces whose names begin with prefix; one that ends in a zero byte is a whole name.
func link(key expr.MetaKey, prefix string) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte(prefix)},
	}
}

func from(prefix string) []expr.Any { return link(expr.MetaKeyIIFNAME, prefix) }
func to(prefix string) []expr.Any   { return link(expr.MetaKeyOIFNAME, prefix) }

func version(protocol byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocol}},
	}
}

// Where the header of IPv4 has its addresses.
const (
	source      = 12
	destination = 16
)

// within matches an address of packets that are known to be of IPv4.
func within(field uint32, p netip.Prefix) []expr.Any    { return address(field, p, expr.CmpOpEq) }
func notWithin(field uint32, p netip.Prefix) []expr.Any { return address(field, p, expr.CmpOpNeq) }

func address(field uint32, p netip.Prefix, op expr.CmpOp) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: field, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: net.CIDRMask(p.Bits(), 32), Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func protocol(number byte) []expr.Any    { return transport(number, expr.CmpOpEq) }
func notProtocol(number byte) []expr.Any { return transport(number, expr.CmpOpNeq) }

func transport(number byte, op expr.CmpOp) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: []byte{number}},
	}
}

func tcpPort(port uint16) []expr.Any {
	return append(protocol(unix.IPPROTO_TCP),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
	)
}

// established matches what belongs to a connection that was let through, errors about it included.
func established() []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: 4, Xor: make([]byte, 4),
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

func accept() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }
func drop() []expr.Any   { return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}} }
func jump(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}

// refuse adds the chain that answers that a packet is not let through, so that nobody waits for a connection that never
// comes. To a connection it answers as a closed port does: other answers are heard only when the kernel asks again.
func (b builder) refuse() {
	c := b.conn.AddChain(&nftables.Chain{Name: refused, Table: b.table})
	b.rule(c, protocol(unix.IPPROTO_TCP), []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}})
	b.rule(c, []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}})
}

const refused = "refused"

func reject() []expr.Any { return jump(refused) }
