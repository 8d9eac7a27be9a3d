// Package guard keeps interesting traffic closed.
package guard
