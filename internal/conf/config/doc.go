// Package config is the typed model of what the operator wrote in the five
// steps, with the file, line and column of every part.
//
//	Parse     text → Config and Problems     what a word or a line cannot be
//	Load      files → Config and Problems    the certificates and keys of trustpoints
//	Running   Config → text                  the running-config, defaults left out
//	Settings  Config → policy.Settings       what the engine negotiates with
//	Check     Config → Findings              what will be seen on the wire, step by step
//
// The files: config.go and model*.go the model, grammar*.go every command,
// parse*.go one file a step, print*.go, settings*.go, check*.go one file a step
// with one function a concern (the table in check.go). Those in _peer are about
// who a peer is, those in _pki about certificates: both belong to step 2.
//
// # What stops a run
//
// Any Problem of severity Error. Those with Step 0 are about the text; those
// with a Step are the findings without whose repair traffic would leave in
// the clear, and Check reports them again: show either the Problems with
// Step 0 and all Findings, or all Problems.
//
// # Decisions
//
//   - A line outside the crypto, access-list, interface, ip route and hostname
//     commands is kept as it is and ignored. So are the lines indented under
//     it. A crypto, interface, access-list or ip route line found there is
//     read all the same, since indentation means nothing to IOS: a crypto line
//     is never lost.
//   - A crypto line that is valid IOS but not built yet is an Error that says
//     so; with "no" before it, it is kept with a Warning. Its sub-mode lines are
//     kept and not judged.
//   - A line that IOS knows and whose condition Culvert cannot test (dscp, TCP
//     flags, object groups) is an Error in an access list that an interface or
//     a crypto map uses, and a Warning elsewhere.
//   - Keyrings, profiles, trustpoints and crypto map entries keep the lines of
//     theirs that have no effect, and print them behind the others.
//   - A profile or an identity that an entry names and nobody defined is an
//     Error: without it the entry would take any peer. A local-address of an
//     interface without an address is nobody's, see nowhere.
//   - "ecdsa-sig" is the policy.ISAKMP of P-256 until Settings sees the keys: the
//     number on the wire names the curve.
//   - Private keys stand in files (private-key file) or behind "crypto key import
//     … pem". Running does not print them, so it lacks them when read again.
//     PEM text anywhere else is an Error and is not kept.
//   - Files are read by Load, with a function of the caller's; what they hold is
//     judged by package pki. Certificates in the configuration are read by Parse.
//   - A key never appears in a Problem, a Finding or an origin; only Running
//     prints it. Nothing behind a key on its line is quoted either.
//   - A remark has a sequence number like any line, as IOS XE numbers it.
//   - "no access-list N …" removes the whole list, as IOS does; a Warning says so.
//   - Interfaces that are shut down keep their protection: Culvert does not
//     switch devices off, and their traffic must not leave in the clear.
//   - A bare "set pfs" is group 1, as on old IOS.
//
// Lists are looked up by map, so the work is linear in the configuration.
package config
