// Package swan runs Debian's strongSwan as a peer in the namespace of a lab's
// router: another implementation of the same RFCs, against which Culvert is
// proved.
//
// Its plugin kernel-libipsec carries ESP in user space, so that the machine's
// kernel needs no IPsec; it knows tunnel mode in UDP 4500 only (RFC 3948) and
// tells its peer of a NAT that is not there to get that.
//
// Every peer has its own directory with configuration, control socket, log and
// keys. The program takes /run as its own; it is given that directory as /run
// in a mount namespace. It runs as a copy, because AppArmor, where it is on,
// ties the installed path to the installed configuration.
package swan
