package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

const realFile = "../../../shared/data/online-retail.csv.gz"

func TestRebuild(t *testing.T) {
	for name, file := range map[string]string{"made-up orders": "", "real orders": realFile} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(file); file != "" && err != nil {
				t.Skipf("%s is not there: real orders are not looked at", file)
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
