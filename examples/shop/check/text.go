package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// column picks one number, or whatever, of each part.
func column[T, V any](parts map[string]T, pick func(T) V) map[string]V {
	values := make(map[string]V, len(parts))
	for key, part := range parts {
		values[key] = pick(part)
	}
	return values
}

// one counts each part as one.
func one[T any](parts map[string]T) map[string]int64 {
	return column(parts, func(T) int64 { return 1 })
}

func sum(parts map[string]int64) int64 {
	var total int64
	for _, n := range parts {
		total += n
	}
	return total
}

// differences describes, in the order of their keys, the parts that are not
// equal.
func differences[V comparable](expected, actual map[string]V, show func(V) string) []string {
	var keys []string
	for key, v := range expected {
		if actual[key] != v {
			keys = append(keys, key)
		}
	}
	var none V
	for key, v := range actual {
		if _, ok := expected[key]; !ok && v != none {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	different := make([]string, len(keys))
	for i, key := range keys {
		different[i] = fmt.Sprintf("%s: %s, expected %s", key, show(actual[key]), show(expected[key]))
	}
	return different
}

// summary is what a person wants to read of the differences.
func summary(different []string) string {
	const most = 3
	switch n := len(different); {
	case n == 0:
		return ""
	case n > most:
		return fmt.Sprintf(" (%s and %d more)", strings.Join(different[:most], "; "), n-most)
	}
	return fmt.Sprintf(" (%s)", strings.Join(different, "; "))
}

// histogram counts the statuses: those that an order can end with first.
func histogram(statuses map[string]Status) string {
	counts := map[Status]int64{Confirmed: 0, PartlyCancelled: 0, Cancelled: 0}
	for _, s := range statuses {
		counts[s]++
	}
	order := []Status{Confirmed, PartlyCancelled, Cancelled}
	for _, s := range slices.Sorted(maps.Keys(counts)) {
		if !slices.Contains(order, s) {
			order = append(order, s)
		}
	}
	texts := make([]string, len(order))
	for i, s := range order {
		texts[i] = fmt.Sprintf("%s %s", number(counts[s]), s)
	}
	return strings.Join(texts, ", ")
}

// number shows n with thousands apart: "5,603,531".
func number(n int64) string {
	if n < 0 {
		return "-" + number(-n)
	}
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", number(n/1000), n%1000)
}

// money shows tenths of a penny in pounds: "£10,655,622.484".
func money(tenths int64) string {
	if tenths < 0 {
		return "-" + money(-tenths)
	}
	return fmt.Sprintf("£%s.%03d", number(tenths/1000), tenths%1000)
}
