// Command conclave administers a Conclave server on its own machine, and is an endpoint without a face: it joins meetings
// headlessly, makes load, and runs the demonstration. `conclave help` lists its verbs.
//
// Exit codes: 0 done; 1 failed, or stopped before the end; 2 wrong usage; 3 refused by the server, with reasons; 4 put out of the meeting (removed,
// replaced, an alarm); 5 the server cannot be reached.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(exitCode(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr), os.Stderr))
}
