package sqlite

import (
	"context"
	"database/sql"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

func (m *Model) Checkpoint(ctx context.Context, name string) (leat.Checkpoint, error) {
	return leat.Checkpoint{}, nil
}
func (m *Model) Save(ctx context.Context, s service.Step) error { return nil }
func (m *Model) Commit(ctx context.Context, s service.Step, f func(context.Context, *sql.Tx) error) error {
	return nil
}
func (m *Model) Parked(ctx context.Context, name, stream string) ([]service.Parked, error) {
	return nil, nil
}
func (m *Model) Due(ctx context.Context, name string) ([]string, error) { return nil, nil }
func (m *Model) Retry(ctx context.Context, name, stream string) error   { return nil }
func (m *Model) Discard(ctx context.Context, name, stream string, version uint64, reason string) error {
	return nil
}
