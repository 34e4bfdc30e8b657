package billing

import (
	"errors"
	"net/http"
	"time"

	"github.com/leathq/leat/examples/shop/web"
	"github.com/leathq/leat/service"
)

// What callers send has prices in tenths of a penny. Without a time, a command
// happened when it is recorded.
type (
	// A GoodwillRequest grants goodwill.
	GoodwillRequest struct {
		Note     string    `json:"note"`
		Customer string    `json:"customer,omitempty"`
		Country  string    `json:"country"`
		Time     time.Time `json:"time,omitzero"`
		Credits  []Credit  `json:"credits"`
	}

	// An AdjustmentRequest adjusts a balance.
	AdjustmentRequest struct {
		Number      string       `json:"number"`
		Country     string       `json:"country"`
		Time        time.Time    `json:"time,omitzero"`
		Corrections []Correction `json:"corrections"`
	}
)

// Accepted answers a command that is recorded, now or before.
type Accepted struct {
	Number string `json:"number"`
	Event  string `json:"event"` // ID of the command's first event
}

// A Report is all that the service knows about money.
type Report struct {
	Invoices []View           `json:"invoices"`
	Gross    map[string]int64 `json:"gross"`  // by country, in tenths of a penny
	Credit   map[string]int64 `json:"credit"` // by country, in tenths of a penny
	Sums     Sums             `json:"sums"`
	Balance  int64            `json:"balance"` // tenths of a penny
}

// Routes adds the service's HTTP API to a mux.
func (s *Service) Routes(m *web.Mux) {
	m.Handle("POST /billing/goodwill", s.postGoodwill)
	m.Handle("POST /billing/adjustments", s.postAdjustment)
	m.Handle("GET /billing/invoices/{number}", s.getInvoice)
	m.Handle("GET /billing/-/report", s.getReport)
}

func (s *Service) postGoodwill(w http.ResponseWriter, r *http.Request) error {
	var in GoodwillRequest
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	id, err := web.CommandID(r, in.Note, "goodwill")
	if err != nil {
		return err
	}
	g := GoodwillGranted{Note: in.Note, Customer: in.Customer, Country: in.Country, Credits: in.Credits}
	if err := s.GrantGoodwill(r.Context(), g, service.CommandID(id), service.At(in.Time)); err != nil {
		return rejected(err)
	}
	return web.Answer(w, http.StatusCreated, Accepted{Number: in.Note, Event: id})
}

func (s *Service) postAdjustment(w http.ResponseWriter, r *http.Request) error {
	var in AdjustmentRequest
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	id, err := web.CommandID(r, in.Number, "adjust")
	if err != nil {
		return err
	}
	a := BalanceAdjusted{Number: in.Number, Country: in.Country, Corrections: in.Corrections}
	if err := s.AdjustBalance(r.Context(), a, service.CommandID(id), service.At(in.Time)); err != nil {
		return rejected(err)
	}
	return web.Answer(w, http.StatusCreated, Accepted{Number: in.Number, Event: id})
}

func (s *Service) getInvoice(w http.ResponseWriter, r *http.Request) error {
	v, err := s.Get(r.Context(), r.PathValue("number"))
	if err != nil {
		return err
	}
	return web.Answer(w, http.StatusOK, v)
}

func (s *Service) getReport(w http.ResponseWriter, r *http.Request) (err error) {
	report := Report{Invoices: []View{}}
	if err := s.All(r.Context(), func(v View) error {
		report.Invoices = append(report.Invoices, v)
		return nil
	}); err != nil {
		return err
	}
	if report.Gross, err = s.Gross(r.Context()); err != nil {
		return err
	}
	if report.Credit, err = s.Credit(r.Context()); err != nil {
		return err
	}
	if report.Sums, err = s.Sums(r.Context()); err != nil {
		return err
	}
	if report.Balance, err = s.Balance(r.Context()); err != nil {
		return err
	}
	return web.Answer(w, http.StatusOK, report)
}

// rejected says which status an error of a command has.
func rejected(err error) error {
	switch {
	case errors.Is(err, ErrIssued):
		return web.Refuse(http.StatusConflict, err)
	case errors.Is(err, ErrAmount):
		return web.Refuse(http.StatusUnprocessableEntity, err)
	}
	return err
}
