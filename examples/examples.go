// Package examples holds the configurations of the article's two sites, so
// that the lab, the tests and the documents use the very same text.
package examples

import _ "embed"

// R1 and R2 are the two ends of the tunnel.
var (
	//go:embed r1.cfg
	R1 string
	//go:embed r2.cfg
	R2 string
)
