package main

import (
	"bytes"
	"cmp"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// realFile has the real orders.
var realFile = cmp.Or(os.Getenv("LEAT_TEST_ORDERS"), "../../../shared/data/online-retail.csv.gz")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRebuild(t *testing.T) {
	for name, file := range map[string]string{"made-up orders": "", "real orders": realFile} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(file); file != "" && err != nil {
				t.Skipf("%s is not there: real orders are not looked at; set LEAT_TEST_ORDERS", file)
			}
			plan, err := read(file)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := run(t.Context(), &out, plan); err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			t.Log("\n" + out.String())
			if !strings.Contains(out.String(), "queries go to sales_v2 from now on") {
				t.Errorf("it did not switch:\n%s", &out)
			}
		})
	}
}
