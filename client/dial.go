package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// Scheme is what the URL of a log at a server begins with.
const Scheme = "leat"

// Options of a connection. The zero Options are good; every field is optional.
type Options struct {
	// Retry is how long a call goes on trying when the server cannot be reached
	// or the connection is lost, counted from the first failure; 30 s when 0,
	// not at all when negative. The call's context may end it sooner.
	Retry time.Duration

	// Wait makes Dial wait for a server that is not there yet, as long as Retry
	// says, instead of returning an error at once.
	Wait bool

	// TLS is how the connection is secured; it is not when nil.
	TLS *tls.Config
}

const (
	defaultRetry     = 30 * time.Second
	maxMessageBytes  = 40 << 20 // as the server
	keepaliveIdle    = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
	connectTimeout   = 5 * time.Second
)

// ParseURL returns the address and the log that a URL such as
// leat://localhost:7070/shop names, or an [*leat.InvalidError]. The log is empty
// when the URL ends with the address.
func ParseURL(raw string) (address, log string, err error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != Scheme || u.Hostname() == "" || u.Port() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", "", &leat.InvalidError{Field: "URL", Limit: Scheme + "://HOST:PORT/LOG", Got: fmt.Sprintf("%q", raw)}
	}
	return u.Host, strings.Trim(u.Path, "/"), nil
}

// Log is a log at a server. It is a [leat.Log], [leat.Submitter], [leat.Limiter],
// [leat.Trimmer], [leat.Splitter] and [leat.Importer], whose methods return
// leat.ErrUnsupported when the log at the server is none, and the [leat.Leases]
// and [leat.Reporter] of the log. It is safe for concurrent use.
type Log struct {
	name   string
	conn   *conn
	rpc    leatv1.LogClient
	leases leatv1.LeasesClient
	apps   leatv1.AppsClient
	limits leat.Limits
	single bool
	known  known
	pipe   *pipe
}

var (
	_ leat.Log       = (*Log)(nil)
	_ leat.Submitter = (*Log)(nil)
	_ leat.Limiter   = (*Log)(nil)
	_ leat.Trimmer   = (*Log)(nil)
	_ leat.Splitter  = (*Log)(nil)
	_ leat.Importer  = (*Log)(nil)
	_ leat.Leases    = (*Log)(nil)
	_ leat.Reporter  = (*Log)(nil)
)

// Dial connects to a log. A log that the server does not have is
// leat.ErrNotFound, a server that cannot be reached [ErrUnreachable].
func Dial(ctx context.Context, rawURL string, o Options) (*Log, error) {
	address, name, err := ParseURL(rawURL)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, &leat.InvalidError{Field: "URL", Limit: "followed by the name of a log, as in " + Scheme + "://HOST:PORT/LOG", Got: fmt.Sprintf("%q", rawURL)}
	}
	c, err := connect(address, o)
	if err != nil {
		return nil, err
	}
	l := &Log{
		name: name, conn: c,
		rpc: leatv1.NewLogClient(c.grpc), leases: leatv1.NewLeasesClient(c.grpc), apps: leatv1.NewAppsClient(c.grpc),
	}
	if err := l.greet(ctx, o); err != nil {
		c.close()
		return nil, fmt.Errorf("connect to %s: %w", rawURL, err)
	}
	l.pipe = newPipe(l)
	return l, nil
}

// greet learns what the client has to know of the log.
func (l *Log) greet(ctx context.Context, o Options) error {
	call := l.conn.call
	if !o.Wait {
		call = l.conn.callOnce
	}
	err := call(ctx, func(ctx context.Context) error {
		m, err := l.rpc.Info(ctx, &leatv1.InfoRequest{Log: l.name})
		l.limits, l.single = wire.Limits(m.GetLimits()), m.GetInfo().GetSingle()
		return err
	})
	if err != nil {
		return err
	}
	_, err = l.Shards(ctx)
	return err
}

// Close ends the connection, and everything that waits for it with
// leat.ErrClosed. Appends that were sent and are not acknowledged end with an
// error that is leat.ErrUncertain as well.
func (l *Log) Close() error {
	l.conn.cancel()
	l.pipe.wait()
	l.conn.close()
	return nil
}

// A conn is a connection that is opened again when it is lost.
type conn struct {
	address string
	retry   time.Duration
	grpc    *grpc.ClientConn

	ctx    context.Context // ends when the connection is closed for good
	cancel context.CancelFunc
	once   sync.Once
}

func connect(address string, o Options) (*conn, error) {
	if o.Retry == 0 {
		o.Retry = defaultRetry
	}
	creds := insecure.NewCredentials()
	if o.TLS != nil {
		creds = credentials.NewTLS(o.TLS)
	}
	// passthrough: the address is dialled as it is, and looked up each time.
	g, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: longestPause},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveIdle, Timeout: keepaliveTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes)),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(), // which calls may be sent again is decided here
	)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	c := &conn{address: address, retry: o.Retry, grpc: g}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

func (c *conn) close() {
	c.cancel()
	c.once.Do(func() { _ = c.grpc.Close() })
}
