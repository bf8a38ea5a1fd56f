// Conclave-phone is the phone gateway: it takes calls from SIP trunks and lets those into meetings that policy, the chair and
// the caller's consent allow. It is a process of its own, with its own key, and hears a room while a leg of it is in.
// docs/operating.md describes how to run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "conclave-phone:", err)
		os.Exit(1)
	}
}
