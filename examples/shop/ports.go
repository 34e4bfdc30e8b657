package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken from below those that systems give to outgoing connections,
// so that a process that died finds its port free when it is started again.
const (
	firstPort = 15_000
	ports     = 15_000
)

// freeAddresses returns addresses on this machine on which nobody listens.
func freeAddresses(ctx context.Context, n int) ([]string, error) {
	var found []string
	at := rand.IntN(ports)
	for tried := 0; len(found) < n; tried++ {
		if tried == ports {
			return nil, errors.New("find free ports: there are none")
		}
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+(at+tried)%ports)
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return nil, fmt.Errorf("find free ports: %w", err)
		}
		found = append(found, address)
	}
	return found, nil
}
