// Package guest is a router of the lab with a Linux kernel of its own: Debian's
// User-Mode Linux, which is a program of this machine, in the namespace of r2.
// Its kernel has ESP and AH, which the machine's own may lack, and its daemons
// use them as they do on a real router.
//
//	site A                  namespace r2: two switches             site B
//	a --- r1 ------- out0 - br-out - tap-out   tap-in - br-in - in0 ------- b
//	                                   |          |
//	                                  vec0 guest vec1
//	                         198.51.100.2        10.20.20.1
//
//	available.go  whether a guest can run here, and why not
//	guest.go      making, starting and stopping one
//	exec.go       running scripts inside, reading and writing its files
//	wire.go       the switches and the taps in the namespace
//	uml/shim.c    what the guest's kernel needs help with on this machine
//	uml/init.sh   its first process: lays its root, then does what it is told
//
// scripts/guest fetches what it needs into the user's cache. The guest's files
// are this machine's, read-only, with the fetched packages over them, and over
// that a file system in memory which ends with the guest. It is no sandbox.
//
// A guest never outlives the process that started it: the first of its
// processes waits for the end of a pipe that only that process holds.
package guest
