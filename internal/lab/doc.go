// Package lab is the two sites of the five steps for real: four network
// namespaces on this machine, with the addresses of the article.
//
//	site A                          the outside                          site B
//	a ----------------- r1 ------------------------------ r2 ----------------- b
//	eth0            in0    out0                       out0    in0           eth0
//	10.10.10.10  10.10.10.1  198.51.100.1   198.51.100.2  10.20.20.1  10.20.20.20
//
// Each router has a plain route to the other site by way of the other router
// and forwards. So without a guard the sites' packets do cross the outside in
// clear: what a test finds closed, the gateway has closed.
//
// A lab has a name, so that several can stand at once; its namespaces are
// called culvert-NAME-HOST and its files lie in /run/culvert-lab/NAME. Both
// outlive the process that made them, so another process finds them again
// ([Open]). Everything that runs inside a lab's namespaces belongs to the lab:
// [Net.Down] ends it by its process ID.
//
// Namespaces, links, addresses, routes and packet filters are made with
// netlink; the echo requests and the captures are our own. The only program
// from outside is nsenter, which is part of every Debian (util-linux,
// essential): Go cannot change a child's namespace between fork and exec.
//
// Making namespaces takes CAP_SYS_ADMIN and CAP_NET_ADMIN. [EnsureRoot] makes
// a user namespace for somebody who is not root, where the kernel allows it.
package lab
