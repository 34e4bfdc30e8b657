package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"

	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/server"
	"github.com/leathq/leat/server/local"
)

type serveCmd struct {
	Data      string `env:"LEAT_DATA" required:"" placeholder:"DIR" help:"The directory that holds the logs; made if need be. One server owns it."`
	Listen    string `env:"LEAT_LISTEN" default:"127.0.0.1:7070" placeholder:"HOST:PORT" help:"Where programs and the other commands connect (gRPC)."`
	HTTP      string `name:"http" env:"LEAT_HTTP" default:"127.0.0.1:7071" placeholder:"HOST:PORT" help:"Where HTTP is served: the JSON API, /healthz, /readyz and /metrics."`
	LogFormat string `env:"LEAT_LOG_FORMAT" enum:"text,json" default:"text" help:"How to write what the operator should know: text or json."`

	serveArchiveFlags
}

func (serveCmd) Help() string {
	return `
Serves all logs in a directory until Ctrl-C or SIGTERM. Then it lets nobody new in, finishes what was begun and ends,
within 10 seconds. What was acknowledged is durable at any moment.

	$ leat serve --data ./data
	$ leat log create leat://127.0.0.1:7070/orders
	$ curl http://127.0.0.1:7071/v1/logs

With --archive it copies all logs to an archive as they grow, so that they outlive this machine, sorts what is archived by
stream once a day, and, with --retain-days or --retain-bytes, removes from the logs what is archived and verified. Whoever
reads old events gets them from the archive. While the archive cannot be reached the logs are served as ever; /metrics
tells how far it is behind. Keep a copy of DATA/archive.key elsewhere.

	$ leat serve --data ./data --archive s3://company-events/leat --retain-days 30
	$ leat serve --data ./data --archive file:///mnt/backup/leat --archive-max-age 10s --retain-bytes 50GiB

There are no passwords yet: listen on other addresses than this machine's own only in a network you trust.
`
}

func (cmd serveCmd) Run(ctx context.Context, c console) error {
	if err := cmd.validate(); err != nil {
		return err
	}
	logger := cmd.logger(c.err)
	config := server.Config{
		Dir: cmd.Data, Engine: local.Engine{Options: engine.Options{Logger: logger}},
		GRPC: cmd.Listen, HTTP: cmd.HTTP, Logger: logger,
	}
	if cmd.Archive != "" {
		config.Archive = func() (server.Archive, error) { return cmd.open(ctx, c, cmd.Data, logger) }
	}
	s, err := server.New(config)
	if err != nil {
		return err
	}
	cmd.announce(c.out, s)
	return s.Run(ctx)
}

func (cmd serveCmd) logger(w io.Writer) *slog.Logger {
	if cmd.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, nil))
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

// announce prints where to connect, once all is open.
func (cmd serveCmd) announce(w io.Writer, s *server.Server) {
	fmt.Fprintf(w, "serving %s\n", cmd.Data)
	fmt.Fprintf(w, "  HTTP  http://%s (API: /openapi.json)\n", s.HTTP())
	for _, name := range s.Names() {
		fmt.Fprintf(w, "  log   leat://%s/%s\n", s.GRPC(), name)
	}
	if len(s.Names()) == 0 {
		fmt.Fprintf(w, "  no logs yet; make one with: leat log create leat://%s/orders\n", s.GRPC())
	}
	if host, _, err := net.SplitHostPort(s.GRPC().String()); err == nil && !net.ParseIP(host).IsLoopback() {
		fmt.Fprintf(w, "  anyone who reaches %s can read and write: there are no passwords yet\n", s.GRPC())
	}
}
