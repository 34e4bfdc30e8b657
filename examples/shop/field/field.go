// Package field checks what callers hand to the shop's services. Its errors are
// [leat.InvalidError]s: they name the field, the limit and what was given.
package field

import (
	"fmt"
	"unicode/utf8"

	"github.com/leathq/leat"
)

// Text checks that a field holds 1 to most bytes of UTF-8.
func Text(name, value string, most int) error {
	if value != "" && len(value) <= most && utf8.ValidString(value) {
		return nil
	}
	return &leat.InvalidError{Field: name, Limit: fmt.Sprintf("1 to %d bytes of UTF-8", most), Got: brief(value)}
}

// Optional is Text for a field that may be empty.
func Optional(name, value string, most int) error {
	if value == "" {
		return nil
	}
	return Text(name, value, most)
}

// Between checks that a field holds a number from low to high, both included.
func Between(name string, value, low, high int64) error {
	if low <= value && value <= high {
		return nil
	}
	return &leat.InvalidError{Field: name, Limit: fmt.Sprintf("%d to %d", low, high), Got: fmt.Sprint(value)}
}

// brief quotes value, cut to what a person wants to read in a message.
func brief(value string) string {
	const most = 40
	switch {
	case value == "":
		return "nothing"
	case len(value) > most:
		return fmt.Sprintf("%q… (%d bytes)", value[:most], len(value))
	}
	return fmt.Sprintf("%q", value)
}
