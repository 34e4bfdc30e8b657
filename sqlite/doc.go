// Package sqlite keeps read models, checkpoints and parked events in SQLite.
//
// [Open] opens a database as a service needs it, [ReadModel] makes it one that
// projections write to, and [Exec] runs statements that are prepared once:
//
//	db, err := sqlite.Open("stock.db")
//	service.Projection[*sql.Tx]{
//		Name: "stock/v1", Filter: filter, Into: sqlite.ReadModel(db),
//		Apply: service.Apply(types, func(ctx context.Context, tx *sql.Tx, e Event, r leat.Recorded) error {
//			_, err := sqlite.Exec(ctx, tx, "update stock set onhand = onhand + ? where sku = ?", …)
//			return err
//		}),
//	}
package sqlite
