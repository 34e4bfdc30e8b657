package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

type (
	// ParcelEvent is what can happen to a parcel.
	ParcelEvent interface{ parcelEvent() }

	Packed struct {
		Grams int `json:"grams"`
	}
	Labelled struct{}
)

func (Packed) parcelEvent()   {}
func (Labelled) parcelEvent() {}

var parcelTypes = service.NewTypes[ParcelEvent](
	service.TypeOf[Packed]("Packed"),
	service.TypeOf[Labelled]("Labelled"),
)

var parcels = service.Aggregate[int, ParcelEvent]{
	Category: "parcel", Source: "warehouse", Types: parcelTypes,
	Evolve: func(grams int, e ParcelEvent) int {
		if p, ok := e.(Packed); ok {
			grams += p.Grams
		}
		return grams
	},
}

// A projection that also gets things done: Apply notes in the database which
// parcels need a label, Then labels them. Whenever the process dies, nothing is
// forgotten and nothing is done twice.
func ExampleReadModel() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	db, err := sqlite.Open(filepath.Join(dir, "parcels.db"))
	if err != nil {
		panic(err)
	}
	defer db.Close()
	if _, err := db.Exec("create table parcel (stream text primary key, grams integer, due text, state text)"); err != nil {
		panic(err)
	}
	log, err := leattest.New(leat.Config{}, time.Now)
	if err != nil {
		panic(err)
	}
	defer log.Close()

	model := sqlite.ReadModel(db)
	projection := service.Projection[*sql.Tx]{
		Name: "parcels/v1", Into: model,
		Filter: leat.Filter{Categories: []string{"parcel"}, Types: parcelTypes.Names()},
		Apply: service.Apply(parcelTypes, func(ctx context.Context, tx *sql.Tx, e ParcelEvent, r leat.Recorded) (err error) {
			switch e := e.(type) {
			case Packed:
				_, err = sqlite.Exec(ctx, tx, "insert into parcel values (?, ?, ?, 'packed')", r.Stream, e.Grams, r.ID)
			case Labelled:
				_, err = sqlite.Exec(ctx, tx, "update parcel set state = 'labelled' where stream = ?", r.Stream)
			}
			return err
		}),
		Then: func(ctx context.Context) error { return label(ctx, log, db, model) },
	}
	app, err := service.NewApp(service.Config{Log: log}, projection)
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- app.Run(ctx) }()

	_, err = parcels.Do(ctx, log, "7", func(int) ([]ParcelEvent, error) { return []ParcelEvent{Packed{1200}}, nil })
	if err != nil {
		panic(err)
	}
	to, err := leat.Start(ctx, log, leat.Now)
	if err != nil {
		panic(err)
	}
	to.Set(leat.ShardNumber(0), to.Seqs[leat.ShardNumber(0)]+1) // the answer, too
	if err := app.WaitCaughtUp(ctx, to); err != nil {
		panic(err)
	}
	var grams int
	var state string
	err = db.QueryRow("select grams, state from parcel where stream = 'parcel-7' and due = ''").Scan(&grams, &state)
	fmt.Println(grams, state, err)
	cancel()
	fmt.Println(<-ended)
	// Output:
	// 1200 labelled <nil>
	// <nil>
}

// label carries out what the read model says is due.
func label(ctx context.Context, log leat.Log, db *sql.DB, model *sqlite.Model) error {
	for {
		var stream, due string
		err := db.QueryRowContext(ctx, "select stream, due from parcel where due <> '' limit 1").Scan(&stream, &due)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = parcels.Do(ctx, log, stream[len("parcel-"):], func(int) ([]ParcelEvent, error) {
			return []ParcelEvent{Labelled{}}, nil
		}, service.CommandID(due+"/label"))
		if err != nil {
			return err
		}
		err = model.Transact(ctx, func(ctx context.Context, tx *sql.Tx) error {
			_, err := sqlite.Exec(ctx, tx, "update parcel set due = '' where stream = ?", stream)
			return err
		})
		if err != nil {
			return err
		}
	}
}
