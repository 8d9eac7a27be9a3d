// Package guard keeps interesting traffic closed: it leaves protected, or not at
// all. It enforces steps 1, 4 and 5 of the five steps in the kernel, with
// nftables and policy routing, so that they hold while the gateway runs, while
// it restarts, and after it was killed. RFC 4301 section 4.4.1 calls the two
// actions of it PROTECT and DISCARD.
//
// One nftables table of the family ip per gateway, culvert_HOSTNAME:
//
//	from inside ── prerouting ── route ── forward ── postrouting ── to outside
//	                 │  ▲          │         │            │
//	                 │  │          │     outbound        belt: interesting and not ours? drop, count
//	                 │  │          └ marked: table T ─ TUN device
//	                 │  │                           └─ unreachable, when there is no TUN device
//	                 │ divert: matches a crypto ACL and would leave by its interface? mark
//	              inbound: in clear, but should have been protected? drop, count, record
//	                       then the interface's access list
//
// Chains, in the order a packet meets them:
//
//   - inbound (prerouting, raw): what arrives by a device with a crypto map and matches the mirrored crypto
//     ACL is dropped, counted and recorded, except IKE (UDP 500 and 4500), ESP and
//     AH to the interface's own address, which are the protection itself. Then "ip
//     access-group … in", implicit deny included, for transit and for ourselves.
//     What comes out of the TUN device arrived by no interface of the configuration.
//   - divert (prerouting, mangle) and output (a chain of type route): the crypto
//     ACLs in SPD order; permit marks, deny goes on to the next entry. A packet is
//     looked at when the routing would send it out by the crypto map's interface, or
//     has no route for it at all: a missing route must not be a way around the
//     tunnel. A local packet without a route is refused by the kernel itself before
//     any rule sees it.
//   - outbound (forward): "ip access-group … out". IOS does not filter what the
//     router itself sends, nor do we.
//   - belt and belt_nat (postrouting, before and after source NAT): what matches all
//     the same and is about to leave in clear is dropped and counted. It is the belt
//     to the braces above: it sees packets that policy routing, a second path of a
//     route or somebody's NAT rule sent another way.
//
// The flows that peers of a dynamic crypto map asked for stand in chains of
// their own, one to mark and one to drop for each interface, asked after all others;
// Redefine writes only these anew, so that counters and records stay.
//
// Our own IKE, ESP and AH carry OwnMark and pass everywhere. Packets out of the TUN
// device are never marked, so they go on by the main routing table; should one of
// them match a crypto ACL and be routed back out of the outside interface, the
// belt drops it.
//
// Non-initial fragments have no ports to see. As in IOS, a permit with a
// condition on ports matches them by addresses and protocol, a deny does not: for a
// crypto ACL that errs on the side of protection.
//
// What stays: everything, until Clear. Apply replaces the table in one netfilter
// transaction, after the unreachable route and the rule are in place; there is no
// moment at which an interesting packet finds the way open. The routes and the rule
// carry RouteProtocol, by which leftovers of other runs are found and swept.
//
// NAT: source NAT happens after the decision, and a diverted packet leaves by the
// TUN device, so a masquerade rule with "oifname outside" does not touch it. A
// masquerade rule without a device would: exempt the crypto ACLs, as one does with
// "ip nat inside" on IOS. Destination NAT happens before the routing decision but
// after divert; the belt looks at what it made.
//
// The host's own firewall stays in force beside this table: a drop anywhere is a
// drop. "nft flush ruleset" takes this table away too; Counters then says ErrGone.
package guard
