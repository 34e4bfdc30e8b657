package rpc

import (
	"context"
	"fmt"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
)

func (s *logService) Append(ctx context.Context, req *leatv1.AppendRequest) (*leatv1.AppendResponse, error) {
	log, err := s.logs.Log(ctx, req.GetLog())
	if err != nil {
		return nil, wire.Status(err)
	}
	events := wire.Events(req.GetEvents())
	if err := checkIDs(events); err != nil {
		return nil, wire.Status(err)
	}
	receipt, err := log.Append(ctx, events, wire.Conditions(req.GetConditions())...)
	if err != nil {
		return nil, wire.Status(err)
	}
	return &leatv1.AppendResponse{Receipt: wire.FromReceipt(receipt)}, nil
}

// checkIDs refuses events without an ID: a client that does not choose one could
// not send again what was lost.
func checkIDs(events []leat.Event) error {
	for i := range events {
		if events[i].ID == "" {
			return &leat.InvalidError{Field: fmt.Sprintf("events[%d].id", i), Limit: "1 to 256 bytes of UTF-8", Got: "nothing"}
		}
	}
	return nil
}
