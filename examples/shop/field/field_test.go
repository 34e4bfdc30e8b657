package field

import (
	"strings"
	"testing"
)

func TestErrorsNameFieldAndLimit(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want string // empty: no error
	}{
		{"text", Text("sku", "85123A", 6), ""},
		{"empty text", Text("sku", "", 6), "invalid sku: must be 1 to 6 bytes of UTF-8, got nothing"},
		{"long text", Text("sku", strings.Repeat("9", 41), 6), `invalid sku: must be 1 to 6 bytes of UTF-8, got "9999999999999999999999999999999999999999"… (41 bytes)`},
		{"no UTF-8", Text("sku", "\xff", 6), `invalid sku: must be 1 to 6 bytes of UTF-8, got "\xff"`},
		{"optional", Optional("customer", "", 6), ""},
		{"long optional", Optional("customer", "1234567", 6), `invalid customer: must be 1 to 6 bytes of UTF-8, got "1234567"`},
		{"lowest", Between("units", 1, 1, 5), ""},
		{"highest", Between("units", 5, 1, 5), ""},
		{"below", Between("units", 0, 1, 5), "invalid units: must be 1 to 5, got 0"},
		{"above", Between("units", 6, 1, 5), "invalid units: must be 1 to 5, got 6"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			switch {
			case test.want == "" && test.err != nil:
				t.Errorf("the error is %v, want none", test.err)
			case test.want != "" && (test.err == nil || test.err.Error() != test.want):
				t.Errorf("the error is %v, want %s", test.err, test.want)
			}
		})
	}
}
