// Conclaved is the conference server. It needs an organisation, made by `conclave init`, and nothing else: the state lies
// in an embedded store in its data folder. docs/operating.md describes how to run it.
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
	err := run(ctx, os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "conclaved:", err)
		os.Exit(1)
	}
}
