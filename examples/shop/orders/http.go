package orders

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/leathq/leat/examples/shop/web"
	"github.com/leathq/leat/service"
)

// What callers send has prices in tenths of a penny. Without a time, a command
// happened when it is recorded.
type (
	// A PlaceRequest places an order.
	PlaceRequest struct {
		Order    string        `json:"order"`
		Customer string        `json:"customer,omitempty"`
		Country  string        `json:"country"`
		Time     time.Time     `json:"time,omitzero"`
		Lines    []LineRequest `json:"lines"`
	}

	// A LineRequest is one line of an order.
	LineRequest struct {
		SKU   string `json:"sku"`
		Units int64  `json:"units"`
		Price int64  `json:"price"`
	}

	// A ReturnRequest returns units of an order.
	ReturnRequest struct {
		Note    string    `json:"note"`
		Country string    `json:"country"`
		Time    time.Time `json:"time,omitzero"`
		Pieces  []Piece   `json:"pieces"`
	}
)

// Accepted answers a command that is recorded, now or before.
type Accepted struct {
	Order string `json:"order"`
	Event string `json:"event"` // ID of the command's first event
}

// A Report is all that the service knows about orders.
type Report struct {
	Orders []View           `json:"orders"`
	Gross  map[string]int64 `json:"gross"` // by country, in tenths of a penny
}

// Routes adds the service's HTTP API to a mux.
func (s *Service) Routes(m *web.Mux) {
	m.Handle("POST /orders", s.postOrder)
	m.Handle("POST /orders/{order}/returns", s.postReturn)
	m.Handle("GET /orders/{order}", s.getOrder)
	m.Handle("GET /orders/-/counts", func(w http.ResponseWriter, r *http.Request) error {
		c, err := s.Count(r.Context())
		if err != nil {
			return err
		}
		return web.Answer(w, http.StatusOK, c)
	})
	m.Handle("GET /orders/-/report", s.getReport)
}

func (s *Service) postOrder(w http.ResponseWriter, r *http.Request) error {
	var in PlaceRequest
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	id, err := web.CommandID(r, in.Order, "place")
	if err != nil {
		return err
	}
	p := Placed{Order: in.Order, Customer: in.Customer, Country: in.Country, Lines: make([]Line, len(in.Lines))}
	for i, l := range in.Lines {
		p.Lines[i] = Line{SKU: l.SKU, Units: l.Units, Price: l.Price}
	}
	if err := s.Place(r.Context(), p, service.CommandID(id), service.At(in.Time)); err != nil {
		return refused(err)
	}
	w.Header().Set("Location", "/orders/"+url.PathEscape(in.Order))
	return web.Answer(w, http.StatusCreated, Accepted{Order: in.Order, Event: id})
}

func (s *Service) postReturn(w http.ResponseWriter, r *http.Request) error {
	var in ReturnRequest
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	id, err := web.CommandID(r, in.Note, "return")
	if err != nil {
		return err
	}
	back := Returned{Order: r.PathValue("order"), Note: in.Note, Country: in.Country, Pieces: in.Pieces}
	if err := s.Return(r.Context(), back, service.CommandID(id), service.At(in.Time)); err != nil {
		return refused(err)
	}
	return web.Answer(w, http.StatusCreated, Accepted{Order: back.Order, Event: id})
}

func (s *Service) getOrder(w http.ResponseWriter, r *http.Request) error {
	v, err := s.Get(r.Context(), r.PathValue("order"))
	if err != nil {
		return err
	}
	return web.Answer(w, http.StatusOK, v)
}

func (s *Service) getReport(w http.ResponseWriter, r *http.Request) (err error) {
	report := Report{Orders: []View{}}
	if err := s.All(r.Context(), func(v View) error {
		report.Orders = append(report.Orders, v)
		return nil
	}); err != nil {
		return err
	}
	if report.Gross, err = s.Gross(r.Context()); err != nil {
		return err
	}
	return web.Answer(w, http.StatusOK, report)
}

// refused says which status an error of a command has.
func refused(err error) error {
	switch {
	case errors.Is(err, ErrNotPlaced):
		return web.Refuse(http.StatusNotFound, err)
	case errors.Is(err, ErrPlaced):
		return web.Refuse(http.StatusConflict, err)
	}
	return err
}
