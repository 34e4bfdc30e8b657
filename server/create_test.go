package server_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
)

// Two logs of one ID would keep each other from being archived after the next
// start: the second is refused at either door.
func TestNoTwoLogsHaveOneID(t *testing.T) {
	s := start(t, t.TempDir())
	create := func(name, id string) error {
		_, err := client.Create(t.Context(), s.logURL(name), leat.Config{ID: id}, client.Options{})
		return err
	}
	if err := create("orders", "the-orders"); err != nil {
		t.Fatal(err)
	}
	if err := create("copy", "the-orders"); !errors.Is(err, leat.ErrInvalid) || !strings.Contains(err.Error(), `"orders"`) {
		t.Errorf("over gRPC: %v, want ErrInvalid that names the other log", err)
	}
	r, err := http.Post("http://"+s.HTTP().String()+"/v1/logs", "application/json", strings.NewReader(`{"name":"copy","id":"the-orders"}`))
	if err != nil {
		t.Fatal(err)
	}
	if r.Body.Close(); r.StatusCode != http.StatusBadRequest {
		t.Errorf("over HTTP: status %d, want 400", r.StatusCode)
	}
	if err := create("copy", "others"); err != nil {
		t.Errorf("with an ID of its own: %v", err)
	}
}
