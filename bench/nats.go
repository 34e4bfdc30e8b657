package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/leathq/leat"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

const (
	natsStream   = "EVENTS"
	natsSubjects = "events." // and the name of a stream of events
	natsPull     = 10_000    // messages on their way in a replay
	natsPage     = 1000      // messages of one answer
)

// A natsStore keeps each stream of events as a subject of one JetStream stream.
type natsStore struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	closers
}

func openNATS(ctx context.Context, dir string) (_ store, err error) {
	s := &natsStore{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	p, address, err := startSelf(ctx, "nats", dir)
	if err != nil {
		return nil, err
	}
	s.add(p.stop)
	conn, err := nats.Connect(address)
	if err != nil {
		return nil, err
	}
	s.add(func() error { conn.Close(); return nil })
	if s.js, err = jetstream.New(conn); err != nil {
		return nil, err
	}
	s.stream, err = s.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: natsStream, Subjects: []string{natsSubjects + "*"}, Storage: jetstream.FileStorage,
		AllowDirect: true, AllowAtomicPublish: true,
	})
	return s, err
}

// serveNATS is the server's process.
func serveNATS(ctx context.Context, dir string, ready func(string) error) error {
	s, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true,
		JetStream: true, StoreDir: dir + "/data", SyncAlways: true,
	})
	if err != nil {
		return err
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(startTime) {
		return fmt.Errorf("the NATS server is not ready within %v", startTime)
	}
	if err := ready(s.ClientURL()); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (s *natsStore) version() string { return natsserver.VERSION }

func (s *natsStore) append(ctx context.Context, at head, events []leat.Event) (head, error) {
	messages := make([]*nats.Msg, len(events))
	for i := range events {
		messages[i] = natsMessage(&events[i], at.version+uint64(i)+1)
	}
	messages[0].Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(at.place, 10))
	place, err := s.publish(ctx, messages)
	var refused *jetstream.APIError
	switch {
	case errors.As(err, &refused) && refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
		return at, errConflict
	case errors.As(err, &refused) && refused.ErrorCode == jetstreamext.JSErrCodeBatchPublishDuplicateMsgID:
		return at, errDuplicate
	case err != nil:
		return at, err
	}
	return head{version: at.version + uint64(len(events)), place: place}, nil
}

// publish returns the sequence of the last message.
func (s *natsStore) publish(ctx context.Context, messages []*nats.Msg) (uint64, error) {
	if len(messages) == 1 {
		ack, err := s.js.PublishMsg(ctx, messages[0])
		switch {
		case err != nil:
			return 0, err
		case ack.Duplicate:
			return 0, errDuplicate
		}
		return ack.Sequence, nil
	}
	// Nothing is waited for but the answer to the whole batch.
	ack, err := jetstreamext.PublishMsgBatch(ctx, s.js, messages, jetstreamext.BatchFlowControl{})
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

func natsMessage(e *leat.Event, version uint64) *nats.Msg {
	return &nats.Msg{
		Subject: natsSubjects + e.Stream, Data: encode(nil, e, version),
		Header: nats.Header{jetstream.MsgIDHeader: []string{e.ID}},
	}
}

func (s *natsStore) fill(ctx context.Context, events []leat.Recorded) error {
	messages := make([]*nats.Msg, len(events))
	for i := range events {
		messages[i] = natsMessage(&events[i].Event, events[i].Version)
	}
	_, err := s.publish(ctx, messages)
	return err
}

func (s *natsStore) replay(ctx context.Context, visit visitor) error {
	info, err := s.stream.Info(ctx)
	if err != nil || info.State.Msgs == 0 {
		return err
	}
	consumer, err := s.js.OrderedConsumer(ctx, natsStream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(natsPull))
	if err != nil {
		return err
	}
	defer messages.Stop()
	for range info.State.Msgs {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		var r leat.Recorded
		if err := decode(&r, m.Data()); err != nil {
			return err
		}
		if err := visit(&r); err != nil {
			return err
		}
	}
	return nil
}

// load asks for pages, because the server answers with no more than natsPage
// messages.
func (s *natsStore) load(ctx context.Context, stream string, visit visitor) error {
	for from, got := uint64(1), natsPage; got == natsPage; {
		messages, err := jetstreamext.GetBatch(ctx, s.js, natsStream, natsPage,
			jetstreamext.GetBatchSubject(natsSubjects+stream), jetstreamext.GetBatchSeq(from))
		if err != nil {
			return err
		}
		got = 0
		for m, err := range messages {
			switch {
			case errors.Is(err, jetstreamext.ErrNoMessages):
				return nil
			case err != nil:
				return err
			}
			var r leat.Recorded
			if err := decode(&r, m.Data); err != nil {
				return err
			}
			if err := visit(&r); err != nil {
				return err
			}
			from = m.Sequence + 1
			got++
		}
	}
	return nil
}
