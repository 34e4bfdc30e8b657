package servicetest_test

import (
	"context"
	"testing"

	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	servicetest.TestReadModel(t, func(testing.TB) servicetest.Database[*servicetest.Tx] {
		m := servicetest.NewMemory()
		return servicetest.Database[*servicetest.Tx]{
			Open: func(testing.TB) service.ReadModel[*servicetest.Tx] { return m },
			Put: func(_ context.Context, tx *servicetest.Tx, key, value string) error {
				tx.Set(key, value)
				return nil
			},
			Get: func(_ testing.TB, key string) string { return m.Data()[key] },
		}
	})
}

func TestMemoryKeepsSnapshots(t *testing.T) {
	servicetest.TestSnapshotStore(t, func(testing.TB) func(testing.TB) service.SnapshotStore {
		m := servicetest.NewMemory()
		return func(testing.TB) service.SnapshotStore { return m }
	})
}

func TestMemoryKeepsTimers(t *testing.T) {
	servicetest.TestProcessStore(t, func(testing.TB) func(testing.TB) service.ProcessStore {
		m := servicetest.NewMemory()
		return func(testing.TB) service.ProcessStore { return m }
	})
}
