package retail_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/leathq/leat/examples/shop/retail"
)

func TestReturns(t *testing.T) {
	// A row is: invoice, code, quantity, price, customer, country.
	cases := []struct {
		name string
		rows []string
		want []string // of the cancellations' pieces: ordinal/number, units, price, from where
	}{
		{"newest line first",
			[]string{"1 a 5 1.0 7 UK", "2 a 5 1.0 7 UK", "C3 a -3 1.0 7 UK"},
			[]string{"C3 1/1 3 1000 2/1"}},
		{"newest line of one order first",
			[]string{"1 a 5 1.0 7 UK", "1 a 4 1.0 7 UK", "C3 a -6 1.0 7 UK"},
			[]string{"C3 1/1 4 1000 1/2", "C3 1/2 2 1000 1/1"}},
		{"what is left of the newest, then older, then goodwill",
			[]string{"1 a 5 1.0 7 UK", "2 a 2 1.0 7 UK", "C3 a -1 1.0 7 UK", "C4 a -10 1.0 7 UK"},
			[]string{"C3 1/1 1 1000 2/1", "C4 1/1 1 1000 2/1", "C4 1/2 5 1000 1/1", "C4 1/3 4 1000 goodwill"}},
		{"a later order holds new units",
			[]string{"1 a 2 1.0 7 UK", "C2 a -2 1.0 7 UK", "3 a 1 1.0 7 UK", "C4 a -2 1.0 7 UK"},
			[]string{"C2 1/1 2 1000 1/1", "C4 1/1 1 1000 3/1", "C4 1/2 1 1000 goodwill"}},
		{"an order that comes later is not touched",
			[]string{"C1 a -1 1.0 7 UK", "2 a 1 1.0 7 UK"},
			[]string{"C1 1/1 1 1000 goodwill"}},
		{"rows of one cancellation, one after the other",
			[]string{"1 a 3 1.0 7 UK", "C2 a -2 1.0 7 UK", "C2 a -2 2.0 7 UK"},
			[]string{"C2 1/1 2 1000 1/1", "C2 2/1 1 2000 1/1", "C2 2/2 1 2000 goodwill"}},
		{"any price, any country, the cancellation's price",
			[]string{"1 a 3 1.0 7 France", "C2 a -3 9.5 7 UK"},
			[]string{"C2 1/1 3 9500 1/1"}},
		{"another code, also in lower case",
			[]string{"1 a 3 1.0 7 UK", "1 B 3 1.0 7 UK", "C2 A -1 1.0 7 UK", "C2 b -1 1.0 7 UK"},
			[]string{"C2 1/1 1 1000 goodwill", "C2 2/1 1 1000 goodwill"}},
		{"another customer",
			[]string{"1 a 3 1.0 7 UK", "C2 a -1 1.0 8 UK"},
			[]string{"C2 1/1 1 1000 goodwill"}},
		{"cash takes nothing, not even from cash",
			[]string{"1 a 3 1.0 - UK", "2 a 3 1.0 7 UK", "C3 a -1 1.0 - UK"},
			[]string{"C3 1/1 1 1000 goodwill"}},
		{"charges are lines like others",
			[]string{"1 POST 1 18.0 7 UK", "C2 POST -1 18.0 7 UK"},
			[]string{"C2 1/1 1 18000 1/1"}},
		{"adjustments are no purchases",
			[]string{"1 a 3 0.0 - UK", "C2 a -1 1.0 7 UK"},
			[]string{"C2 1/1 1 1000 goodwill"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var file strings.Builder
			file.WriteString(header)
			for _, r := range c.rows {
				f := strings.Fields(r)
				fmt.Fprintf(&file, "%s,%s,,%s,2010-12-01 08:26:00,%s,%s,%s\n", f[0], f[1], f[2], f[3], strings.TrimPrefix(f[4], "-"), f[5])
			}
			var got []string
			for _, s := range read(t, file.String()).Steps {
				cancellation, ok := s.(*retail.Cancellation)
				if !ok {
					continue
				}
				for _, p := range cancellation.Pieces {
					from := "goodwill"
					if !p.Goodwill() {
						from = fmt.Sprintf("%s/%d", p.Order, p.Line)
					}
					got = append(got, fmt.Sprintf("%s %d/%d %d %d %s", s.Head().Invoice, p.Ordinal, p.Number, p.Units, p.Price, from))
				}
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
