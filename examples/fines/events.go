package main

import "github.com/leathq/leat/service"

// An Event is what happened to a fine.
type Event interface{ event() }

type (
	// Created says that a fine was written.
	Created struct {
		Article int    `json:"article"` // of the road traffic law
		Vehicle string `json:"vehicle"`
		Points  int    `json:"points"`
	}
	// Sent says that it was sent by post.
	Sent struct{}
	// Notified says that the offender has it.
	Notified struct{}
	// Penalised says that it was not paid in time, and rose.
	Penalised struct{}
	// Paid says that some of it was paid.
	Paid struct {
		Day    string `json:"day"`    // 2006-01-02
		Digits string `json:"digits"` // of the amount: the source has lost the decimal point
		Total  Cents  `json:"total"`  // paid by the end of that day, as the source adds it up
	}
	// Collected says that it was handed to credit collection.
	Collected struct{}
	// Appealed says that the offender has turned to the prefect or a judge.
	Appealed struct {
		Step string `json:"step"` // in the source's own words
	}
)

func (Created) event()   {}
func (Sent) event()      {}
func (Notified) event()  {}
func (Penalised) event() {}
func (Paid) event()      {}
func (Collected) event() {}
func (Appealed) event()  {}

var types = service.NewTypes[Event](
	service.TypeOf[Created]("FineCreated"),
	service.TypeOf[Sent]("FineSent"),
	service.TypeOf[Notified]("OffenderNotified"),
	service.TypeOf[Penalised]("PenaltyAdded"),
	service.TypeOf[Paid]("FinePaid"),
	service.TypeOf[Collected]("SentToCollection"),
	service.TypeOf[Appealed]("FineAppealed"),
)
