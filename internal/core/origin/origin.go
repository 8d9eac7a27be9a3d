// Package origin says where a setting came from: the file, the line and the
// words an operator wrote. The core carries it untouched, so that an
// explanation can name the very line to change.
package origin

import "fmt"

// Line is one line of a configuration. The zero Line means "a default, written nowhere".
type Line struct {
	File   string // as named on the command line
	Line   int    // 1-based; 0 when there is none
	Column int    // 1-based column of the first word, in octets
	Text   string // the line as written, without indentation
}

// IsZero reports whether the setting was written nowhere.
func (l Line) IsZero() bool { return l.Line == 0 }

// String is "file:line", or "default" for a setting nobody wrote.
func (l Line) String() string {
	if l.IsZero() {
		return "default"
	}
	return fmt.Sprintf("%s:%d", l.File, l.Line)
}
