package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"conclave"
)

// The exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3
	exitPutOut      = 4
	exitUnreachable = 5
)

// command is one verb. run gets its arguments already told apart.
type command struct {
	name  string // one or two words
	usage string // what stands behind the name
	about string
	flags func(*flag.FlagSet) any // defines the flags and returns where they go; nil: none
	run   func(context.Context, *call) error
}

// call is a command on its way.
type call struct {
	args           []string // positional
	options        any      // what flags returned
	stdin          io.Reader
	stdout, stderr io.Writer
}

func commands() []command {
	return []command{
		initCommand, personAdd, personShow, personRemove, deviceRevoke, meetingOpen, meetingList, meetingShow, meetingEnd, linkCommand, inviteCommand, keysShow, keysRenew, keysWithdraw, enrolCommand, joinCommand, swarmCommand,
		phoneCode, phoneGateway, phoneRevoke, demoCommand, investigateCommand, damageCommand, retentionCommand, exportPerson, traceVerify, traceCommand, keysInvestigation, auditVerify, auditShow, auditCopy, auditErase, auditRestore, witnessCommand, policyCheck, policyTest, policyExplain, policyWhy, policyReplay, policyDefault, policyReload,
		tripAdd, tripList, tripRemove, missionVerify, missionCommand,
	}
}

// usageError says what was wrong with the command line.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// codedError is an error with an exit code of its own.
type codedError struct {
	code int
	err  error
}

func (e codedError) Error() string { return e.err.Error() }
func (e codedError) Unwrap() error { return e.err }

// run finds the command and runs it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		help(stdout)
		return nil
	}
	for _, c := range commands() {
		words := strings.Fields(c.name)
		if len(args) < len(words) || !slices.Equal(args[:len(words)], words) {
			continue
		}
		return c.start(ctx, args[len(words):], stdin, stdout, stderr)
	}
	return usageError{fmt.Sprintf("there is no command %q; conclave help lists all", args[0])}
}

// start parses the flags, which may stand before and behind the other arguments, and runs the command.
func (c command) start(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	set := flag.NewFlagSet(c.name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	k := &call{stdin: stdin, stdout: stdout, stderr: stderr}
	if c.flags != nil {
		k.options = c.flags(set)
	}
	for {
		err := set.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(stdout, "usage: conclave %s %s\n%s\n", c.name, c.usage, c.about)
			set.SetOutput(stdout)
			set.PrintDefaults()
			return nil
		}
		if err != nil {
			return usageError{fmt.Sprintf("%v; conclave %s --help tells more", err, c.name)}
		}
		if set.NArg() == 0 {
			break
		}
		k.args = append(k.args, set.Arg(0))
		args = set.Args()[1:]
	}
	switch want := len(positional(c.usage)); {
	case want == 0 && len(k.args) > 0:
		return usageError{fmt.Sprintf("conclave %s takes no %q: what it needs is given by flags; conclave %[1]s --help lists them", c.name, k.args[0])}
	case len(k.args) != want:
		return usageError{fmt.Sprintf("usage: conclave %s %s", c.name, c.usage)}
	}
	return c.run(ctx, k)
}

// positional lists the arguments of a usage line that are no flags: words in capitals before the first bracket.
func positional(usage string) (out []string) {
	before, _, _ := strings.Cut(usage, "[")
	for _, w := range strings.Fields(before) {
		if strings.HasPrefix(w, "-") {
			break
		}
		out = append(out, w)
	}
	return out
}

func help(w io.Writer) {
	fmt.Fprint(w, "Conclave: conversations that must not leak.\n\nusage: conclave COMMAND [flags]; conclave COMMAND --help tells more\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-14s %s\n", c.name, c.about)
	}
	fmt.Fprint(w, "\nexit codes: 0 done, 1 failed, 2 wrong usage, 3 refused, 4 put out of the meeting, 5 server unreachable\n")
}

// exitCode says what went wrong and returns the program's exit code.
func exitCode(err error, stderr io.Writer) int {
	if err == nil || errors.Is(err, context.Canceled) {
		return exitDone
	}
	fmt.Fprintf(stderr, "conclave: %s\n", explain(err))
	var usage usageError
	var coded codedError
	var p conclave.Problem
	var network *net.OpError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &p) && p.Code == "server_unreachable", errors.As(err, &network):
		return exitUnreachable
	case errors.As(err, &p):
		return exitRefused
	}
	return exitFailed
}
