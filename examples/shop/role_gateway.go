package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"strings"

	"github.com/leathq/leat/examples/shop/gateway"
	"github.com/leathq/leat/examples/shop/web"
)

// keyVariable is the environment variable with the API keys, separated by
// commas: arguments are seen by everyone on the machine.
const keyVariable = "LEAT_SHOP_KEYS"

// A key may ask for so much, by default.
const (
	defaultRate  = 2000 // requests a second
	defaultBurst = 1000
)

// gatewayRole hands requests to the services.
func gatewayRole(f *flag.FlagSet) func(context.Context, *slog.Logger) error {
	listen := f.String("listen", "", "`ADDRESS` to serve HTTP on")
	rate := f.Float64("rate", defaultRate, "`REQUESTS` a second with one key")
	patience := f.Duration("read-timeout", web.ReadTimeout, "`HOW LONG` a request may take to come")
	workers := make(map[string]*string)
	for _, s := range services {
		workers[s.name] = f.String(s.name, "", "`URLS` of workers, separated by commas")
	}
	return func(ctx context.Context, logger *slog.Logger) error {
		if err := required(f, "listen"); err != nil {
			return err
		}
		keys := os.Getenv(keyVariable)
		if keys == "" {
			return errors.New("set " + keyVariable + " to the API keys, separated by commas")
		}
		c := gateway.Config{
			Keys: strings.Split(keys, ","), Rate: *rate, Burst: defaultBurst, Logger: logger,
			Services: make(map[string][]string),
		}
		for name, urls := range workers {
			c.Services[name] = strings.Split(*urls, ",")
		}
		g, err := gateway.New(c)
		if err != nil {
			return err
		}
		return web.Serve(ctx, *listen, g, *patience, logger)
	}
}
