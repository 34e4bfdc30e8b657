package check_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/leathq/leat/examples/shop/check"
)

// faultless returns what services say that did all right.
func faultless(e *check.Expected) *check.Actual {
	a := &check.Actual{
		Orders: check.OrdersActual{Orders: map[string]check.PlacedOrder{}, Gross: copied(e.Gross)},
		Inventory: check.InventoryActual{
			Stock: map[string]check.Stock{}, Adjustments: e.Adjustments,
		},
		Billing: check.BillingActual{
			Invoices: map[string]check.Invoice{}, Gross: copied(e.Gross), Credit: copied(e.Credit),
			Returns: e.Returns, Goodwill: e.Goodwill, BillingAdjustments: e.BillingAdjustments, Balance: e.GrandTotal,
		},
	}
	for no, o := range e.Orders {
		a.Orders.Orders[no] = check.PlacedOrder{Lines: o.Lines, Units: o.Units, Returned: o.Returned, Gross: o.Gross, Status: o.Status}
		a.Billing.Invoices[no] = check.Invoice{Amount: o.Gross, Paid: o.Gross, Credited: o.Credited}
	}
	for sku, m := range e.Stock {
		received := m.Sold + 50 // some stay on hand
		a.Inventory.Stock[sku] = check.Stock{Received: received, Moves: m, OnHand: received - m.Sold + m.Returned + m.Adjusted}
	}
	once := func(n int) check.Occurrences { return check.Occurrences{Events: int64(n), Of: int64(n)} }
	a.Log = check.LogActual{
		SKURegistered: once(len(e.Stock)),
		OrderPlaced:   once(len(e.Orders)), InvoiceIssued: once(len(e.Orders)), PaymentCaptured: once(len(e.Orders)),
	}
	return a
}

func copied(m map[string]int64) map[string]int64 {
	c := map[string]int64{}
	for k, v := range m {
		c[k] = v
	}
	return c
}

func TestCompareAgrees(t *testing.T) {
	e := expectSmall(t)
	results := check.Compare(e, faultless(e))
	for _, r := range results {
		if !r.OK || r.Expected != r.Actual || r.Name == "" {
			t.Errorf("got %+v, want it to agree", r)
		}
	}
	if !check.OK(results) {
		t.Error("OK: got false, want true")
	}
	a := faultless(e)
	delete(a.Inventory.Stock, "POST") // an inventory need not know charges
	if results := check.Compare(e, a); !check.OK(results) {
		t.Errorf("without charges: got %+v, want all to agree", failed(results))
	}
	if check.OK(nil) {
		t.Error("OK of no results: got true, want false")
	}
}

// Every number and status that a service tells is covered by exactly one check,
// which fails when it is wrong by one.
func TestCompareCatchesEachField(t *testing.T) {
	e := expectSmall(t)
	checks := map[string]bool{}
	leaves := 0
	for {
		a := faultless(e)
		path := mutate(a, leaves)
		if path == "" {
			break
		}
		leaves++
		results := check.Compare(e, a)
		bad := failed(results)
		if len(bad) != 1 || check.OK(results) {
			t.Errorf("%s wrong: got failures %q, want one", path, names(bad))
			continue
		}
		checks[bad[0].Name] = true
		if bad[0].Expected == bad[0].Actual {
			t.Errorf("%s wrong: %q shows %q on both sides", path, bad[0].Name, bad[0].Actual)
		}
	}
	if leaves < 80 {
		t.Errorf("changed %d fields, want 80 or more: is the walk broken?", leaves)
	}
	for _, r := range check.Compare(e, faultless(e)) {
		// What is placed or invoiced is a matter of keys, see TestCompareCatchesKeys.
		if !checks[r.Name] && r.Name != "orders: placed" && r.Name != "billing: invoices" {
			t.Errorf("no field makes %q fail", r.Name)
		}
	}
}

// mutate changes the n-th field of a by one, and returns where it is; empty
// when there are fewer.
func mutate(a *check.Actual, n int) string {
	path, _ := walk(reflect.ValueOf(a).Elem(), "Actual", n)
	return path
}

// walk counts down n over the leaves of v and changes the one at zero.
func walk(v reflect.Value, path string, n int) (changed string, left int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if changed, n = walk(v.Field(i), path+"."+v.Type().Field(i).Name, n); changed != "" {
				return changed, n
			}
		}
		return "", n
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			elem := reflect.New(v.Type().Elem()).Elem()
			elem.Set(v.MapIndex(key))
			if changed, n = walk(elem, fmt.Sprintf("%s[%s]", path, key), n); changed != "" {
				v.SetMapIndex(key, elem)
				return changed, n
			}
		}
		return "", n
	}
	if n > 0 {
		return "", n - 1
	}
	switch v.Kind() {
	case reflect.Int64:
		v.SetInt(v.Int() + step(path))
	case reflect.String:
		v.SetString("open")
	default:
		panic("a field of kind " + v.Kind().String())
	}
	return path, 0
}

// step is by how much a field is changed: what must not fall below zero is made
// to.
func step(path string) int64 {
	if strings.HasSuffix(path, ".Lowest") {
		return -1
	}
	return 1
}

func TestCompareCatchesKeys(t *testing.T) {
	e := expectSmall(t)
	cases := []struct {
		name   string
		change func(a *check.Actual)
		want   []string // checks that fail, among others
	}{
		{"an order is missing", func(a *check.Actual) { delete(a.Orders.Orders, "4") }, []string{"orders: placed", "orders: status"}},
		{"an order too many", func(a *check.Actual) { a.Orders.Orders["x"] = check.PlacedOrder{} }, []string{"orders: placed"}},
		{"one order for another", func(a *check.Actual) {
			a.Orders.Orders["x"] = a.Orders.Orders["4"]
			delete(a.Orders.Orders, "4")
		}, []string{"orders: placed", "orders: units"}},
		{"an invoice is missing", func(a *check.Actual) { delete(a.Billing.Invoices, "4") }, []string{"billing: invoices"}},
		{"an article is missing", func(a *check.Actual) { delete(a.Inventory.Stock, "a") }, []string{"inventory: units sold"}},
		{"an article too many", func(a *check.Actual) { a.Inventory.Stock["x"] = check.Stock{OnHand: 1} },
			[]string{"inventory: on hand = received − sold + returned + adjusted"}},
		{"two mistakes that add up", func(a *check.Actual) {
			for _, no := range []string{"1", "2"} {
				o := a.Orders.Orders[no]
				o.Units += map[string]int64{"1": 3, "2": -3}[no]
				a.Orders.Orders[no] = o
			}
		}, []string{"orders: units"}},
		{"credited in another country", func(a *check.Actual) {
			a.Billing.Credit["UK"]--
			a.Billing.Credit["Spain"]++
		}, []string{"billing: credited by country"}},
		{"on hand below zero", func(a *check.Actual) {
			a.Inventory.Stock["a"] = check.Stock{Moves: e.Stock["a"], OnHand: -5}
		}, []string{"inventory: units ever below zero"}},
		{"nothing", func(a *check.Actual) { *a = check.Actual{} }, []string{"orders: placed", "billing: invoices", "log: one OrderPlaced per order"}},
	}
	for _, c := range cases {
		a := faultless(e)
		c.change(a)
		got := names(failed(check.Compare(e, a)))
		for _, want := range c.want {
			if !slices.Contains(got, want) {
				t.Errorf("%s: got failures %q, want %q among them", c.name, got, want)
			}
		}
	}
}

func TestCompareSays(t *testing.T) {
	e := expectSmall(t)
	a := faultless(e)
	for _, no := range []string{"1", "2", "3", "4"} {
		o := a.Orders.Orders[no]
		o.Gross += 1_234_567
		a.Orders.Orders[no] = o
	}
	bad := failed(check.Compare(e, a))
	want := []check.Result{{
		Name: "orders: gross by order", Expected: "£28.001",
		Actual: "£4,966.269 (1: £1,257.567, expected £23.000; 2: £1,239.567, expected £5.000; 3: £1,234.568, expected £0.001 and 1 more)",
	}}
	if !reflect.DeepEqual(bad, want) {
		t.Errorf("got %+v, want %+v", bad, want)
	}
}

func failed(results []check.Result) []check.Result {
	return slices.DeleteFunc(slices.Clone(results), func(r check.Result) bool { return r.OK })
}

func names(results []check.Result) []string {
	out := make([]string, len(results))
	for i, r := range results {
		out[i] = r.Name
	}
	return out
}

func TestCompareBooks(t *testing.T) {
	good := check.Books{Events: map[string]int64{"InvoiceIssued": 2}, Invoiced: 1500}
	for name, actual := range map[string]check.Books{
		"2 events, £1.500 invoiced, 0 out of order":               {Events: map[string]int64{"InvoiceIssued": 2}, Invoiced: 1500},
		"2 events, £1.500 invoiced, 0 out of order, 7 came again": {Events: map[string]int64{"InvoiceIssued": 2}, Invoiced: 1500, Again: 7},
		"1 events, £1.500 invoiced, 0 out of order":               {Events: map[string]int64{"InvoiceIssued": 1}, Invoiced: 1500},
		"2 events, £1.501 invoiced, 0 out of order":               {Events: map[string]int64{"InvoiceIssued": 2}, Invoiced: 1501},
		"2 events, £1.500 invoiced, 1 out of order":               {Events: map[string]int64{"InvoiceIssued": 2}, Invoiced: 1500, Late: 1},
	} {
		same := actual.Events["InvoiceIssued"] == 2 && actual.Invoiced == 1500 && actual.Late == 0
		if r := check.CompareBooks(good, actual); r.OK != same || r.Actual != name {
			t.Errorf("%+v: %t, %q", actual, r.OK, r.Actual)
		}
	}
}
