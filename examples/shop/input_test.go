package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/billing"
	"github.com/leathq/leat/examples/shop/inventory"
	"github.com/leathq/leat/examples/shop/orders"
)

const header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"

const goodRows = header +
	"536365,85123A,T-LIGHT HOLDER,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom\n" +
	"536365,71053,WHITE METAL LANTERN,6,2010-12-01 08:26:00,3.39,17850.0,United Kingdom\n" +
	"536366,84029G,HOT WATER BOTTLE,8,2010-12-01 08:28:00,1.85,,France\n" +
	"C536379,71053,WHITE METAL LANTERN,-6,2010-12-01 09:41:00,3.39,17850.0,United Kingdom\n"

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBadRows: nothing is recorded of a file with a bad row, wherever it stands.
func TestBadRows(t *testing.T) {
	const good = "536367,84029G,BOTTLE,8,2010-12-01 08:34:00,1.85,13047.0,France"
	tests := []struct {
		name, from, to string // what is changed in a good row
		column         string
	}{
		{"no invoice", "536367", "", "InvoiceNo"},
		{"no article", "84029G", "", "StockCode"},
		{"no quantity", ",8,", ",,", "Quantity"},
		{"quantity zero", ",8,", ",0,", "Quantity"},
		{"quantity absurd", ",8,", ",99999999999,", "Quantity"},
		{"quantity a fraction", ",8,", ",1.5,", "Quantity"},
		{"price in words", "1.85", "cheap", "UnitPrice"},
		{"price too precise", "1.85", "1.8555", "UnitPrice"},
		{"price absurd", "1.85", "1e99", "UnitPrice"},
		{"no such day", "2010-12-01", "2010-13-41", "InvoiceDate"},
		{"no country", "France", "", "Country"},
		{"too few fields", ",France", "", ""},
		{"open quote", "BOTTLE", `"BOTTLE`, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := writeFile(t, "orders.csv", goodRows+strings.Replace(good, test.from, test.to, 1)+"\n")
			data := filepath.Join(t.TempDir(), "data")
			status, _, told := shopTest("--once", "--data", data, "--orders", file)
			if status != 1 || !strings.Contains(told, "row 6") || !strings.Contains(told, test.column) {
				t.Errorf("exit status %d, want 1 and row 6 and column %q in\n%s", status, test.column, told)
			}
			if _, err := os.Stat(data); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the data directory exists (%v), want nothing changed", err)
			}
		})
	}
}

// TestBadCommands: what a service refuses names the field and the limit and
// records nothing.
func TestBadCommands(t *testing.T) {
	ctx := t.Context()
	s, err := openShop(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.run(ctx, func(ctx context.Context) error {
		if err := s.inventory.Register(ctx, inventory.Registered{SKU: "85123A", Kind: inventory.KindGoods}); err != nil {
			return err
		}
		if _, err := s.settle(ctx); err != nil {
			return err
		}
		return s.orders.Place(ctx, order("1", orders.Line{SKU: "85123A", Units: 5, Price: 100}))
	})
	if err != nil {
		t.Fatal(err)
	}
	before, err := s.heads(ctx)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		do   func() error
		want error
		says []string
	}{
		{"order of an unknown SKU", func() error { return s.orders.Place(ctx, order("2", orders.Line{SKU: "none", Units: 1})) },
			orders.ErrUnknownSKU, []string{"lines[0].sku", `"none"`}},
		{"order of zero units", func() error { return s.orders.Place(ctx, order("2", orders.Line{SKU: "85123A"})) },
			leat.ErrInvalid, []string{"lines[0].units", "1 to 1000000", "got 0"}},
		{"order of too many units", func() error { return s.orders.Place(ctx, order("2", orders.Line{SKU: "85123A", Units: 1e15})) },
			leat.ErrInvalid, []string{"lines[0].units", "1 to 1000000"}},
		{"order without lines", func() error { return s.orders.Place(ctx, order("2")) },
			leat.ErrInvalid, []string{"lines", "1 to 10000"}},
		{"order with a long number", func() error {
			return s.orders.Place(ctx, order(strings.Repeat("9", 10_000), orders.Line{SKU: "85123A", Units: 1}))
		}, leat.ErrInvalid, []string{"order", "64 bytes", "10000 bytes"}},
		{"another order of the same number", func() error { return s.orders.Place(ctx, order("1", orders.Line{SKU: "85123A", Units: 6, Price: 100})) },
			orders.ErrPlaced, []string{"order 1"}},
		{"return of more than was ordered", func() error {
			return s.orders.Return(ctx, orders.Returned{Order: "1", Note: "C1", Country: "France", Pieces: []orders.Piece{{Line: 1, SKU: "85123A", Units: 6}}})
		}, leat.ErrInvalid, []string{"pieces[0].units", "at most 5"}},
		{"return of an unknown order", func() error {
			return s.orders.Return(ctx, orders.Returned{Order: "9", Note: "C1", Country: "France", Pieces: []orders.Piece{{Line: 1, SKU: "85123A", Units: 6}}})
		}, orders.ErrNotPlaced, []string{"order 9"}},
		{"SKU of another kind", func() error {
			return s.inventory.Register(ctx, inventory.Registered{SKU: "85123A", Kind: inventory.KindCharge})
		}, inventory.ErrRegistered, []string{"85123A", "goods"}},
		{"adjustment by zero", func() error { return s.inventory.Adjust(ctx, inventory.Adjusted{SKU: "85123A", Note: "2", Row: 1}) },
			leat.ErrInvalid, []string{"units"}},
		{"adjustment of an unknown SKU", func() error {
			return s.inventory.Adjust(ctx, inventory.Adjusted{SKU: "none", Note: "2", Row: 1, Units: 1})
		}, inventory.ErrUnknownSKU, []string{`"none"`}},
		{"goodwill at a negative price", func() error {
			return s.billing.GrantGoodwill(ctx, billing.GoodwillGranted{Note: "C1", Country: "France", Credits: []billing.Credit{{SKU: "x", Units: 1, Price: -1}}})
		}, leat.ErrInvalid, []string{"credits[0].price"}},
		{"balance adjusted by nothing", func() error {
			return s.billing.AdjustBalance(ctx, billing.BalanceAdjusted{Number: "A1", Country: "France"})
		}, leat.ErrInvalid, []string{"corrections"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.do()
			if !errors.Is(err, test.want) {
				t.Fatalf("the error is %v, want %v", err, test.want)
			}
			for _, text := range test.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("the error is %v, want one that says %q", err, text)
				}
			}
		})
	}
	after, err := s.heads(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if events(after) != events(before) {
		t.Errorf("%d events were recorded, want none", events(after)-events(before))
	}
}

func order(number string, lines ...orders.Line) orders.Placed {
	return orders.Placed{Order: number, Customer: "17850", Country: "France", Lines: lines}
}
