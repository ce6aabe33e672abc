// Package network makes networks for sandboxes: network namespaces whose only way out is a pair of virtual interfaces
// that the host filters with nftables. That needs root, or the capabilities to administer the network and the system.
//
// What a network offers depends on its [Class]. On every one's own loopback this process answers at the ports it was
// told of: sockets that were opened inside, so that nothing has to be routed and no rule can open more than them. One of
// them is the name server: names are looked up by this process with the host's resolvers, wherever those listen. The
// rest is the [Policy]: what goes to the host itself is refused but for what the policy names, and so is what goes to other
// sandboxes, to private networks and to those of the machine room. There is no IPv6 beside the loopback's.
//
// A [Pool] prepares networks on one thread, ahead of those who need them, and each serves one sandbox only. The kernel
// takes namespace and interfaces away when the last process and the last socket in it are gone, also when this process is
// killed. What it does not take away then, the rules and the forwarding of packets, the next Pool of the host does; until
// then the rules still hold.
//
// Without these a [Rootless] makes networks that nothing leads out of: a program that is started in a new namespace opens the
// sockets there and hands them to this process. One of them gets all connections to elsewhere, which the kernel redirects
// there; this process asks the policy and makes the connection in the sandbox's place. So it carries TCP and names only, and
// a connection may stand for a moment before it is known that nobody answers.
package network
