package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat/examples/shop/billing"
	"github.com/leathq/leat/examples/shop/gateway"
	"github.com/leathq/leat/examples/shop/inventory"
	"github.com/leathq/leat/examples/shop/orders"
	"github.com/leathq/leat/examples/shop/web"
)

// trading starts a shop that has one article and sold five of it, all handled.
func trading(t *testing.T) *shop {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s, err := openShop(ctx, t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	stock(t, s)
	placed := orders.PlaceRequest{Order: "1", Customer: "17850", Country: "France", Lines: []orders.LineRequest{{SKU: "85123A", Units: 5, Price: 100}}}
	if err := s.api.command(ctx, "/orders", "", placed); err != nil {
		t.Fatal(err)
	}
	if _, err := s.settle(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// stock enters an article into the catalogue.
func stock(t *testing.T, s *shop) {
	t.Helper()
	goods := inventory.Registered{SKU: "85123A", Kind: inventory.KindGoods}
	if err := s.api.command(t.Context(), "/inventory/articles", "", goods); err != nil {
		t.Fatal(err)
	}
	if err := s.heardOf(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
}

// TestGateway sends the gateway what is good and what is not.
func TestGateway(t *testing.T) {
	s := trading(t)
	t.Run("causes", func(t *testing.T) { testCauses(t, s) })
	before, err := s.heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Run("bad requests", func(t *testing.T) { testBadRequests(t, s) })
	t.Run("again", func(t *testing.T) { testAgain(t, s) })
	after, err := s.heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if events(after) != events(before) {
		t.Errorf("%d events were recorded, want none", events(after)-events(before))
	}
}

// testCauses follows an order through the three views.
func testCauses(t *testing.T, s *shop) {
	var order orders.View
	var invoice billing.View
	var article inventory.View
	for path, into := range map[string]any{"/orders/1": &order, "/billing/invoices/1": &invoice, "/inventory/85123A": &article} {
		if err := s.api.get(t.Context(), path, into); err != nil {
			t.Fatal(err)
		}
	}
	if len(order.Events) != 2 || order.Events[0].Type != "OrderPlaced" || order.Events[1].Type != "OrderConfirmed" {
		t.Fatalf("the order's events are %+v, want it placed and confirmed", order.Events)
	}
	cause := order.Events[0].ID
	if cause != "1/place" || order.Events[1].Correlation != cause {
		t.Errorf("the order's events are %+v, want them to begin with 1/place and to be correlated with it", order.Events)
	}
	if len(invoice.Events) != 2 || invoice.Events[0].CausedBy != cause {
		t.Fatalf("the invoice's events are %+v, want two that %s caused", invoice.Events, cause)
	}
	// What came last to orders, which reads shards one by one: it may be the order.
	if last := order.Events[1].CausedBy; !strings.Contains(last, "/react/") {
		t.Errorf("the confirmation was caused by %q, want a command of the process that fulfils the order", last)
	}
	if article.Last.Type != "StockReserved" || article.Last.Correlation != cause {
		t.Errorf("the article's last change is %+v, want a reservation correlated with %s", article.Last, cause)
	}
}

// testAgain gives a command a second time.
func testAgain(t *testing.T, s *shop) {
	status, p := send(t, s, http.MethodPost, "/orders", nil, placeOne("1", 5))
	if status != http.StatusCreated {
		t.Errorf("the same order again: status %d, %+v; want 201 and nothing changed", status, p)
	}
}

func placeOne(number string, units int) string {
	return fmt.Sprintf(`{"order": %q, "customer": "17850", "country": "France", "lines": [{"sku": "85123A", "units": %d, "price": 100}]}`, number, units)
}

func testBadRequests(t *testing.T, s *shop) {
	const post, get = http.MethodPost, http.MethodGet
	noKey, wrongKey := map[string]string{gateway.KeyHeader: ""}, map[string]string{gateway.KeyHeader: s.key + "x"}
	back := func(line, units int) string {
		return fmt.Sprintf(`{"note": "C1", "country": "France", "pieces": [{"line": %d, "sku": "85123A", "units": %d, "price": 100, "row": 1, "part": 1}]}`, line, units)
	}
	tests := []struct {
		name, method, path string
		header             map[string]string
		body               string
		status             int
		field, says        string
	}{
		{"no key", get, "/orders/1", noKey, "", 401, gateway.KeyHeader, "key"},
		{"wrong key", post, "/orders", wrongKey, placeOne("2", 1), 401, gateway.KeyHeader, "key"},
		{"unknown service", get, "/shipping/1", nil, "", 404, "path", "/shipping/1"},
		{"unknown route", get, "/orders/1/lines", nil, "", 404, "path", "/orders/1/lines"},
		{"unknown order", get, "/orders/none", nil, "", 404, "", "none"},
		{"unknown invoice", get, "/billing/invoices/none", nil, "", 404, "", "none"},
		{"unknown article", get, "/inventory/none", nil, "", 404, "", "none"},
		{"wrong method", http.MethodDelete, "/orders/1", nil, "", 405, "method", "GET"},
		{"empty body", post, "/orders", nil, "", 400, "body", "empty"},
		{"no JSON", post, "/orders", nil, "{\n \"order\": x}", 400, "body", "line 2, column 11"},
		{"half of it", post, "/orders", nil, `{"order": "2", `, 400, "body", "ends inside"},
		{"two values", post, "/orders", nil, placeOne("2", 1) + "{}", 400, "body", "more than one"},
		{"a field nobody knows", post, "/orders", nil, `{"order": "2", "colour": "red"}`, 400, "colour", "colour"},
		{"a text for a number", post, "/orders", nil, `{"lines": [{"units": "many"}]}`, 400, "lines.units", "line 1"},
		{"too large", post, "/orders", nil, `{"order": "` + strings.Repeat("2", web.MaxBody) + `"}`, 413, "body", "4194304 bytes"},
		{"a long key of idempotency", post, "/orders", map[string]string{web.KeyHeader: strings.Repeat("k", 201)}, placeOne("2", 1), 422, web.KeyHeader, "200 bytes"},
		{"order of an unknown SKU", post, "/orders", nil, strings.ReplaceAll(placeOne("2", 1), "85123A", "none"), 422, "lines[0].sku", "catalogue"},
		{"order of zero units", post, "/orders", nil, placeOne("2", 0), 422, "lines[0].units", "1 to 1000000"},
		{"order of too many units", post, "/orders", nil, placeOne("2", 1e15), 422, "lines[0].units", "1 to 1000000"},
		{"order without lines", post, "/orders", nil, `{"order": "2", "country": "France"}`, 422, "lines", "1 to 10000"},
		{"order with a long number", post, "/orders", nil, placeOne(strings.Repeat("9", 10_000), 1), 422, "order", "64 bytes"},
		{"another order of the same number", post, "/orders", nil, placeOne("1", 6), 409, "", "order 1"},
		{"return of more than was ordered", post, "/orders/1/returns", nil, back(1, 6), 422, "pieces[0].units", "at most 5"},
		{"return of a line that is not there", post, "/orders/1/returns", nil, back(2, 1), 422, "pieces[0].line", "1 to 1"},
		{"return of an unknown order", post, "/orders/9/returns", nil, back(1, 1), 404, "", "order 9"},
		{"article of another kind", post, "/inventory/articles", nil, `{"sku": "85123A", "kind": "charge"}`, 409, "", "goods"},
		{"article of no kind", post, "/inventory/articles", nil, `{"sku": "X"}`, 422, "kind", "goods"},
		{"adjustment by zero", post, "/inventory/adjustments", nil, `{"sku": "85123A", "note": "2", "row": 1}`, 422, "units", "zero"},
		{"adjustment of an unknown SKU", post, "/inventory/adjustments", nil, `{"sku": "none", "note": "2", "row": 1, "units": 1}`, 422, "", "none"},
		{"goodwill at a negative price", post, "/billing/goodwill", nil,
			`{"note": "C1", "country": "France", "credits": [{"sku": "x", "units": 1, "price": -1}]}`, 422, "credits[0].price", "0 to"},
		{"balance adjusted by nothing", post, "/billing/adjustments", nil, `{"number": "A1", "country": "France"}`, 422, "corrections", "1 to"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, p := send(t, s, test.method, test.path, test.header, test.body)
			if status != test.status || p.Status != test.status || p.Field != test.field {
				t.Errorf("the answer is %d, %+v; want %d and field %q", status, p, test.status, test.field)
			}
			if !strings.Contains(p.Detail+p.Limit+p.Got, test.says) {
				t.Errorf("the problem is %+v, want one that says %q", p, test.says)
			}
		})
	}
}

// send sends a request with the key, unless header says otherwise, and returns
// the status and the problem that the answer holds, if it does.
func send(t *testing.T, s *shop, method, path string, header map[string]string, body string) (int, web.Problem) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.api.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(gateway.KeyHeader, s.key)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	response, err := s.api.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode, problemIn(t, response)
}

func problemIn(t *testing.T, response *http.Response) (p web.Problem) {
	t.Helper()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode < http.StatusBadRequest {
		return p
	}
	if kind := response.Header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("the answer is of type %q, want a problem", kind)
	}
	if err := json.Unmarshal(data, &p); err != nil {
		t.Errorf("the answer is %q: %v", data, err)
	}
	return p
}
