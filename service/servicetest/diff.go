package servicetest

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// context is how many equal lines diff shows before and after what differs.
const contextLines = 3

// diff returns the lines that differ between two texts, from the first to the
// last of them.
func diff(want, got string) string {
	w, g := strings.Split(strings.TrimSuffix(want, "\n"), "\n"), strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	head := 0
	for head < len(w) && head < len(g) && w[head] == g[head] {
		head++
	}
	tail := 0
	for tail < len(w)-head && tail < len(g)-head && w[len(w)-1-tail] == g[len(g)-1-tail] {
		tail++
	}
	var b strings.Builder
	show := func(sign string, lines []string) {
		for _, l := range lines {
			fmt.Fprintf(&b, "%s %s\n", sign, l)
		}
	}
	if head > contextLines {
		fmt.Fprintf(&b, "  (%d equal lines)\n", head-contextLines)
	}
	show(" ", w[max(0, head-contextLines):head])
	show("-", w[head:len(w)-tail])
	show("+", g[head:len(g)-tail])
	show(" ", w[len(w)-tail:len(w)-tail+min(tail, contextLines)])
	if tail > contextLines {
		fmt.Fprintf(&b, "  (%d equal lines)\n", tail-contextLines)
	}
	return b.String()
}

// difference names the first place in which two values differ, and how; empty
// when there is none. A nil slice or map equals an empty one, and times are
// equal that are the same moment, because JSON does not tell them apart.
func difference(a, b any) string {
	return differ(reflect.TypeOf(a), reflect.ValueOf(a), reflect.ValueOf(b))
}

func differ(t reflect.Type, a, b reflect.Value) string {
	path := ""
	if t != nil {
		path = t.Name()
	}
	return (&comparison{seen: make(map[[2]uintptr]bool)}).values(path, a, b)
}

type comparison struct {
	seen map[[2]uintptr]bool // pointers that are being compared: values may be cyclic
}

func (c *comparison) values(path string, a, b reflect.Value) string {
	if !a.IsValid() || !b.IsValid() || a.Type() != b.Type() {
		if a.IsValid() == b.IsValid() && !a.IsValid() {
			return ""
		}
		return unequal(path, a, b)
	}
	if a.CanInterface() && a.Type() == reflect.TypeFor[time.Time]() {
		if a.Interface().(time.Time).Equal(b.Interface().(time.Time)) {
			return ""
		}
		return unequal(path, a, b)
	}
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			if d := c.values(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i)); d != "" {
				return d
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range min(a.Len(), b.Len()) {
			if d := c.values(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i)); d != "" {
				return d
			}
		}
		if a.Len() != b.Len() {
			return fmt.Sprintf("%s: %d elements, then %d", path, a.Len(), b.Len())
		}
	case reflect.Map:
		return c.maps(path, a, b)
	case reflect.Pointer:
		pair := [2]uintptr{a.Pointer(), b.Pointer()}
		if a.Pointer() == b.Pointer() || c.seen[pair] {
			return ""
		}
		c.seen[pair] = true
		return c.values(path, a.Elem(), b.Elem())
	case reflect.Interface:
		return c.values(path, a.Elem(), b.Elem())
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
	default:
		if !a.Equal(b) {
			return unequal(path, a, b)
		}
	}
	return ""
}

func (c *comparison) maps(path string, a, b reflect.Value) string {
	for it := a.MapRange(); it.Next(); {
		at := fmt.Sprintf("%s[%v]", path, it.Key())
		other := b.MapIndex(it.Key())
		if !other.IsValid() {
			return at + ": there, then missing"
		}
		if d := c.values(at, it.Value(), other); d != "" {
			return d
		}
	}
	for it := b.MapRange(); it.Next(); {
		if !a.MapIndex(it.Key()).IsValid() {
			return fmt.Sprintf("%s[%v]: missing, then there", path, it.Key())
		}
	}
	return ""
}

func unequal(path string, a, b reflect.Value) string {
	text := func(v reflect.Value) string {
		if !v.IsValid() {
			return "nothing"
		}
		return fmt.Sprintf("%+v", v)
	}
	return fmt.Sprintf("%s: %s, then %s", path, text(a), text(b))
}
