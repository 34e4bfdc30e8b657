package service_test

import (
	"errors"

	"github.com/leathq/leat/service"
)

// The domain of the tests: the stock of one SKU.
type (
	stockEvent interface{ stockEvent() }

	received struct {
		Units int `json:"units"`
	}
	reserved struct {
		Order string `json:"order"`
		Units int    `json:"units"`
	}
)

func (received) stockEvent() {}
func (reserved) stockEvent() {}

type stock struct {
	OnHand int
	Events int
}

var stockTypes = service.NewTypes[stockEvent](
	service.TypeOf[received]("Received"),
	service.TypeOf[reserved]("Reserved"),
)

func newStocks() *service.Aggregate[stock, stockEvent] {
	return &service.Aggregate[stock, stockEvent]{Category: "stock", Source: "inventory", Types: stockTypes, Evolve: evolveStock}
}

func evolveStock(s stock, e stockEvent) stock {
	s.Events++
	switch e := e.(type) {
	case received:
		s.OnHand += e.Units
	case reserved:
		s.OnHand -= e.Units
	}
	return s
}

var errShort = errors.New("not enough on hand")

func receive(units int) func(stock) ([]stockEvent, error) {
	return func(stock) ([]stockEvent, error) { return []stockEvent{received{units}}, nil }
}

func reserve(order string, units int) func(stock) ([]stockEvent, error) {
	return func(s stock) ([]stockEvent, error) {
		if s.OnHand < units {
			return nil, errShort
		}
		return []stockEvent{reserved{order, units}}, nil
	}
}
