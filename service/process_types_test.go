package service_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

func TestEventsThatFeedNoProcess(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		var s sent
		p := newBilling(store, s.carryOut)
		p.React = func(*billDecision, billInput, leat.Recorded) error { return service.Permanent(errBroken) }
		app := start(t, log, p)
		feed(t, log, "order-0", orderPlaced{""})
		_, err := log.Append(t.Context(), []leat.Event{{Stream: "order-1", Type: "OrderPlaced", Source: "x", Data: []byte("{")}})
		ok(t, err)
		feed(t, log, "order-2", orderPlaced{"2"})
		time.Sleep(shortly)
		want(t, "counts", counts(app.app.Status()[0]), "seen 3 handled 0 skipped 1 parked 2 unparked 0 failures 2")
		want(t, "stream", types(t, log, "bill-2"), "")
		app.stop()
	})
}

func TestDecisionsThatCannotBeRecorded(t *testing.T) {
	log := newLog(t, leat.Config{})
	feed(t, log, "order-1", orderPlaced{"1"})
	for name, decide := range map[string]func(*billDecision){
		"Go type service_test.shipped": func(d *billDecision) { d.Do(shipped{}) },
		"Go type <nil>":                func(d *billDecision) { d.Record(nil) },
		"name of timer":                func(d *billDecision) { d.SetTimer("", time.Now()) },
		"due between":                  func(d *billDecision) { d.SetTimer("t", time.Time{}) },
	} {
		p := newBilling(servicetest.NewMemory(), nil)
		p.React = func(d *billDecision, _ billInput, _ leat.Recorded) error {
			d.Record(billBegun{})
			decide(d)
			return nil
		}
		err := p.Feed(t.Context(), log, stream(t, log, "order-1")[0])
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want one that says %q", err, name)
		}
		want(t, "stream", types(t, log, "bill-1"), "")
	}
}

type shipped struct{}

func TestProcessIsChecked(t *testing.T) {
	log := newLog(t, leat.Config{})
	for field, spoil := range map[string]func(*billing){
		"Types":                func(p *billing) { p.Types = nil },
		"Evolve":               func(p *billing) { p.Evolve = nil },
		"Inputs":               func(p *billing) { p.Inputs = nil },
		"Route":                func(p *billing) { p.Route = nil },
		"React":                func(p *billing) { p.React = nil },
		"Store":                func(p *billing) { p.Store = nil },
		"Category":             func(p *billing) { p.Category = "a-b" },
		"Name":                 func(p *billing) { p.Name = "" },
		"Parallel":             func(p *billing) { p.Parallel = -1 },
		`"ChargeOrder" twice`:  func(p *billing) { p.Commands = append(p.Commands, p.Commands[0]) },
		"what CommandOf":       func(p *billing) { p.Commands = append(p.Commands, service.Command{}) },
		`"BillBegun" twice`:    func(p *billing) { p.Commands = []service.Command{service.CommandOf[shipped]("BillBegun", nil)} },
		`"leat.TimerSet" twic`: func(p *billing) { p.Commands = []service.Command{service.CommandOf[shipped]("leat.TimerSet", nil)} },
	} {
		p := newBilling(servicetest.NewMemory(), func(context.Context, string, leat.Recorded) error { return nil })
		spoil(p)
		_, err := service.NewApp(service.Config{Log: log}, p)
		if !errors.Is(err, leat.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("error %v, want an InvalidError of %s", err, field)
		}
	}
	store := servicetest.NewMemory()
	_, err := service.NewApp(service.Config{Log: log}, newBilling(store, nil), history("billing/timers", store))
	if !errors.Is(err, leat.ErrInvalid) {
		t.Errorf("two applications of one name: %v, want ErrInvalid", err)
	}
	twin := newBilling(store, nil)
	twin.Name = "billing/v2"
	if _, err := service.NewApp(service.Config{Log: log}, newBilling(store, nil), twin); !errors.Is(err, leat.ErrInvalid) || !strings.Contains(err.Error(), "Category") {
		t.Errorf("two processes of one category: %v, want an InvalidError of Category", err)
	}
	twin.Fired = nil
	if err := twin.Fire(t.Context(), log, "1", time.Now()); !errors.Is(err, leat.ErrInvalid) || !strings.Contains(err.Error(), "Fired") {
		t.Errorf("Fire without Fired: %v, want an InvalidError of Fired", err)
	}
}

// What a process records can be read by anybody.
func TestProcessStreamCanBeRead(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		var s sent
		start(t, log, newBilling(store, s.carryOut))
		feed(t, log, "order-1", orderPlaced{"1"})
		time.Sleep(shortly)
		var texts []string
		for _, e := range stream(t, log, "bill-1") {
			want(t, "JSON", json.Valid(e.Data), true)
			texts = append(texts, string(e.Data))
		}
		want(t, "data", strings.Join(texts, " "),
			`{} {"order":"1"} {"timer":"payment","due":"2000-01-01T00:10:00Z"} {"command":2}`)
	})
}
