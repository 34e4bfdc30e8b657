package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/leathq/leat"
	"github.com/leathq/leat/sqlite"
)

// ErrRegistered says that the SKU is registered as something else.
var ErrRegistered = errors.New("the SKU is registered already")

// Register enters a SKU into the catalogue, together with the event that tells
// of it, whose ID it is given. The others hear of it, and it can be traded, a
// moment later, when the relay has brought the event into the log; only then is
// it safe from a power cut (docs/outbox.md). To enter it again changes nothing,
// unless as another kind (ErrRegistered). A field out of bounds is a
// [*leat.InvalidError].
func (s *Service) Register(ctx context.Context, r Registered, event string) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("register SKU %q: %w", r.SKU, err)
	}
	if err := s.register(ctx, r, event); err != nil {
		return fmt.Errorf("register SKU %q as %s: %w", r.SKU, r.Kind, err)
	}
	return nil
}

func (s *Service) register(ctx context.Context, r Registered, event string) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit there is nothing to roll back
	var kind Kind
	err = tx.QueryRowContext(ctx, `select kind from catalogue where sku = ?`, r.SKU).Scan(&kind)
	switch {
	case err == nil && kind == r.Kind:
		return nil
	case err == nil:
		return fmt.Errorf("%w as %s", ErrRegistered, kind)
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	// The row is the truth of the catalogue, and the event what others know of it.
	_, err = sqlite.Exec(ctx, tx, `insert into catalogue (sku, kind, description) values (?, ?, ?)`, r.SKU, r.Kind, r.Description)
	if err != nil {
		return err
	}
	typ, data, err := Types.Encode(r)
	if err != nil {
		return err
	}
	e := leat.Event{ID: event, Stream: s.skus.Stream(r.SKU), Type: typ, Source: s.skus.Source, Data: data}
	if err := s.outbox.Put(ctx, tx, e); err != nil {
		return err
	}
	return tx.Commit()
}
