package inventory

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/leathq/leat/examples/shop/web"
	"github.com/leathq/leat/service"
)

// An AdjustRequest is what callers send to adjust the stock of an article; to
// register one they send a Registered. Without a time, it happened when it is
// recorded.
type AdjustRequest struct {
	SKU    string    `json:"sku"`
	Note   string    `json:"note"`
	Row    int       `json:"row"`
	Units  int64     `json:"units"`
	Reason string    `json:"reason,omitempty"`
	Time   time.Time `json:"time,omitzero"`
}

// Accepted answers a command that is carried out, now or before.
type Accepted struct {
	SKU   string `json:"sku"`
	Event string `json:"event"` // ID of the command's first event
}

// A Report is all that the service knows about articles.
type Report struct {
	Articles    []View      `json:"articles"`
	Waiting     int64       `json:"waiting"` // units that orders wait for
	Adjustments Adjustments `json:"adjustments"`
}

// Routes adds the service's HTTP API to a mux.
func (s *Service) Routes(m *web.Mux) {
	m.Handle("POST /inventory/articles", s.postArticle)
	m.Handle("POST /inventory/adjustments", s.postAdjustment)
	m.Handle("GET /inventory/{sku}", s.getArticle)
	m.Handle("GET /inventory/-/report", s.getReport)
}

func (s *Service) postArticle(w http.ResponseWriter, r *http.Request) error {
	var in Registered
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	id, err := web.CommandID(r, in.SKU, "register")
	if err != nil {
		return err
	}
	if err := s.Register(r.Context(), in, id); err != nil {
		return refused(err)
	}
	w.Header().Set("Location", "/inventory/"+url.PathEscape(in.SKU))
	return web.Answer(w, http.StatusAccepted, Accepted{SKU: in.SKU, Event: id}) // it is told to the others soon
}

func (s *Service) postAdjustment(w http.ResponseWriter, r *http.Request) error {
	var in AdjustRequest
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	id, err := web.CommandID(r, fmt.Sprintf("%s/%d", in.Note, in.Row), "adjust")
	if err != nil {
		return err
	}
	a := Adjusted{SKU: in.SKU, Note: in.Note, Row: in.Row, Units: in.Units, Reason: in.Reason}
	if err := s.Adjust(r.Context(), a, service.CommandID(id), service.At(in.Time)); err != nil {
		return refused(err)
	}
	return web.Answer(w, http.StatusCreated, Accepted{SKU: in.SKU, Event: id})
}

func (s *Service) getArticle(w http.ResponseWriter, r *http.Request) error {
	v, err := s.Get(r.Context(), r.PathValue("sku"))
	if err != nil {
		return err
	}
	return web.Answer(w, http.StatusOK, v)
}

func (s *Service) getReport(w http.ResponseWriter, r *http.Request) (err error) {
	report := Report{Articles: []View{}}
	if err := s.All(r.Context(), func(v View) error {
		report.Articles = append(report.Articles, v)
		return nil
	}); err != nil {
		return err
	}
	if report.Waiting, err = s.Waiting(r.Context()); err != nil {
		return err
	}
	if report.Adjustments, err = s.Adjustments(r.Context()); err != nil {
		return err
	}
	return web.Answer(w, http.StatusOK, report)
}

// refused says which status an error of a command has.
func refused(err error) error {
	switch {
	case errors.Is(err, ErrUnknownSKU):
		return web.Refuse(http.StatusUnprocessableEntity, err)
	case errors.Is(err, ErrRegistered):
		return web.Refuse(http.StatusConflict, err)
	}
	return err
}
