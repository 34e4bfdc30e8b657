package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
