package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// Options of a Server. The zero Options are good; every field is optional.
type Options struct {
	// TLS is how connections are secured; they are not when nil.
	TLS *tls.Config

	// AppendBytes bounds the appends of all pipelined streams that are at work;
	// 256 MiB when 0. It is at least one append.
	AppendBytes int64

	// ReadBytes bounds the batches of all readers that are being sent; 256 MiB
	// when 0. It is at least one batch.
	ReadBytes int64

	// SendTimeout is how long a reader may take for a piece of about 1 MiB
	// before it is cut off; 30 s when 0.
	SendTimeout time.Duration

	// Logger is told of panics and of clients that are cut off; nobody when nil.
	Logger *slog.Logger
}

// Bounds of the door.
const (
	maxAppendBytes    = 32 << 20 // of an append, counted as leat.Limits does
	maxAppendEvents   = 10_000
	maxMessageBytes   = 40 << 20 // such an append, and what encoding adds
	maxHeaderBytes    = 64 << 10
	connectTimeout    = 10 * time.Second // for handshakes
	maxStreams        = 1024             // open on one connection
	appendWindow      = 1024             // appends at work for one stream
	pieceBytes        = 1 << 20          // of events in one message of a read
	maxWait           = time.Minute
	defaultBytes      = 256 << 20
	defaultSend       = 30 * time.Second
	keepaliveIdle     = 20 * time.Second
	keepaliveTimeout  = 10 * time.Second
	keepaliveMostOpen = 5 * time.Second // clients may ping this often
)

// A Server is the gRPC door. Its methods are safe for concurrent use.
type Server struct {
	logs    Logs
	options Options
	grpc    *grpc.Server

	appends, reads *semaphore.Weighted

	// draining ends when Shutdown begins: streams then take no more appends, and
	// long polls end.
	draining context.Context
	drain    context.CancelFunc

	// receivers are the goroutines that outlive their handler for a moment.
	receivers sync.WaitGroup
}

// New returns a Server of logs. It serves when Serve is called.
func New(logs Logs, o Options) *Server {
	if o.AppendBytes == 0 {
		o.AppendBytes = defaultBytes
	}
	if o.ReadBytes == 0 {
		o.ReadBytes = defaultBytes
	}
	if o.SendTimeout == 0 {
		o.SendTimeout = defaultSend
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.AppendBytes, o.ReadBytes = max(o.AppendBytes, maxMessageBytes), max(o.ReadBytes, batchBytes)
	s := &Server{
		logs: logs, options: o,
		appends: semaphore.NewWeighted(o.AppendBytes), reads: semaphore.NewWeighted(o.ReadBytes),
	}
	s.draining, s.drain = context.WithCancel(context.Background())
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(wire.Codec),
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.MaxSendMsgSize(maxMessageBytes),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.ConnectionTimeout(connectTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveIdle, Timeout: keepaliveTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMostOpen, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
		grpc.UnaryInterceptor(s.guardUnary),
		grpc.StreamInterceptor(s.guardStream),
	}
	if o.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(o.TLS)))
	}
	s.grpc = grpc.NewServer(options...)
	leatv1.RegisterLogServer(s.grpc, &logService{Server: s})
	leatv1.RegisterLeasesServer(s.grpc, &leaseService{Server: s})
	leatv1.RegisterAppsServer(s.grpc, &appService{Server: s})
	leatv1.RegisterLogsServer(s.grpc, &adminService{Server: s})
	return s
}

// Serve accepts connections until Shutdown and then returns nil. It closes lis.
func (s *Server) Serve(lis net.Listener) error {
	if err := s.grpc.Serve(lis); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve gRPC on %s: %w", lis.Addr(), err)
	}
	return nil
}

// Shutdown stops accepting, ends long polls, lets what was begun be finished,
// and returns when all connections are closed. When ctx ends first it closes
// them at once and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.drain()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("shut down gRPC: %w: some calls were cut off", ctx.Err())
		s.grpc.Stop()
		<-done
	}
	s.receivers.Wait()
	return err
}

// guardUnary turns a panic into an error of its call alone.
func (s *Server) guardUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (_ any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(info.FullMethod, p)
		}
	}()
	return handle(ctx, req)
}

func (s *Server) guardStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(info.FullMethod, p)
		}
	}()
	return handle(srv, stream)
}

var errInternal = errors.New("internal error; the server's log has more")

// panicked tells the operator what happened, and the caller only that it did.
func (s *Server) panicked(method string, p any) error {
	s.options.Logger.Error("panic in a call", "method", method, "panic", p, "stack", string(debug.Stack()))
	return wire.Status(errInternal)
}
