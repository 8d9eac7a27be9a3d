// Package interop proves the gateway from the outside: `culvert run` in network
// namespaces, against strongSwan and against itself, watched by a capture on the
// outside wire and by tshark. It holds tests only.
//
//	scenarios_test.go  the algorithms of both phases, both sides beginning
//	lifetimes_test.go  whose lifetime counts, and what is left of it
//	rekey_test.go      renewal from each side under traffic: nothing lost, nothing twice
//	delete_test.go     an end from each side, and a beginning after a crash
//	loss_test.go       negotiations over a wire that loses packets
//	decrypt_test.go    a second opinion on ESP: tshark with the gateway's own key log
//	closed_test.go     interesting traffic never leaves in clear, whatever happens
//	inbound_test.go    what arrives in clear, and the interface's access list
//	faults_test.go     the five classic faults, explained
//	ikescan_test.go    what ike-scan asks, and what it is told
//	words_test.go      show, debug and their abbreviations
//
// What a test needs and does not find (root, strongSwan, tshark) it names when
// it skips. The binary is built once for all tests.
package interop
