package leat

import "slices"

// A Filter selects events. An event must match one entry of each list that is
// not empty, and Where. The zero Filter selects every event but those of
// streams that start with "$"; these are selected only by System or by naming
// their stream or category.
type Filter struct {
	Streams    []string // exact names
	Categories []string // see Category
	Types      []string // exact types

	// System selects events of streams that start with "$" like any other.
	System bool

	// Where is an expression in CEL over the event. Logs that cannot evaluate
	// it return ErrUnsupported rather than events it was not asked about.
	Where string
}

// A Matcher is a Filter made ready to be asked many times. It is safe for
// concurrent use.
type Matcher struct {
	streams, categories, types map[string]bool
	system                     bool
}

// Matcher returns a Matcher for all of f but f.Where.
func (f Filter) Matcher() *Matcher {
	return &Matcher{setOf(f.Streams), setOf(f.Categories), setOf(f.Types), f.System}
}

func setOf(names []string) map[string]bool {
	if len(names) == 0 {
		return nil
	}
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[n] = true
	}
	return set
}

// Match reports whether an event of the given type in the given stream is
// selected.
func (m *Matcher) Match(stream, typ string) bool {
	if m.types != nil && !m.types[typ] || m.streams != nil && !m.streams[stream] {
		return false
	}
	if m.categories == nil {
		return m.system || m.streams != nil || len(stream) == 0 || stream[0] != '$'
	}
	return m.categories[Category(stream)]
}

// Equal reports whether f and o are written the same.
func (f Filter) Equal(o Filter) bool {
	return slices.Equal(f.Streams, o.Streams) && slices.Equal(f.Categories, o.Categories) &&
		slices.Equal(f.Types, o.Types) && f.System == o.System && f.Where == o.Where
}
