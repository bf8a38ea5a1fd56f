// Conclaved is the conference server. It needs an organisation, made by `conclaved init`, and nothing else: the state lies
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

// program serves, or makes what is to be served.
func program(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "init" {
		return runInit(ctx, args[1:], os.Stdout, os.Stderr)
	}
	return run(ctx, args, os.Stderr)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := program(ctx, os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "conclaved:", err)
		if errors.Is(err, errUsage) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}
