package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"slices"
	"strings"

	"conclave"
	"conclave/audit/folder"
)

// The exit codes, alike over all verbs; docs/operating.md has the table.
const (
	exitDone        = 0 // done, and what was checked holds
	exitFailed      = 1 // could not be done: a file is missing, a disk is full
	exitUsage       = 2 // the command line is wrong
	exitRefused     = 3 // the server or its policy said no
	exitFound       = 3 // what was checked does not hold: a changed log, a failed case
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
		initCommand, personAdd, personList, personShow, personRemove, deviceRevoke, meetingOpen, meetingList, meetingShow, meetingEnd, linkCommand, inviteCommand, keysShow, keysRenew, keysWithdraw, enrolCommand, joinCommand, swarmCommand,
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
		return help(stdout, args)
	}
	if slices.Contains([]string{"version", "--version"}, args[0]) {
		fmt.Fprintln(stdout, "conclave", version())
		return nil
	}
	for _, c := range commands() {
		words := strings.Fields(c.name)
		if len(args) < len(words) || !slices.Equal(args[:len(words)], words) {
			continue
		}
		return c.start(ctx, args[len(words):], stdin, stdout, stderr)
	}
	if below := beneath(args[0]); len(below) > 0 {
		return usageError{fmt.Sprintf("conclave %s is followed by one of: %s", args[0], strings.Join(below, ", "))}
	}
	return usageError{fmt.Sprintf("there is no command %q; conclave help lists all", args[0])}
}

// beneath lists the second words of the commands that begin with a word.
func beneath(first string) (out []string) {
	for _, c := range commands() {
		if words := strings.Fields(c.name); len(words) == 2 && words[0] == first {
			out = append(out, words[1])
		}
	}
	return out
}

// version is what this program was built from, as the Go toolchain noted it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	out := []string{info.Main.Version}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" || s.Key == "vcs.time" {
			out = append(out, s.Value)
		}
	}
	return strings.Join(append(out, info.GoVersion), " ")
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
			c.tell(stdout, set)
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

// tell is a command's own help: its flags with two dashes, as its usage has them.
func (c command) tell(w io.Writer, set *flag.FlagSet) {
	fmt.Fprintf(w, "usage: conclave %s %s\n%s\n", c.name, c.usage, c.about)
	set.VisitAll(func(f *flag.Flag) {
		kind, text := flag.UnquoteUsage(f)
		fmt.Fprintf(w, "  --%s\n    \t%s", strings.TrimSpace(f.Name+" "+kind), text)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
			fmt.Fprintf(w, " (default %s)", f.DefValue)
		}
		fmt.Fprintln(w)
	})
}

// help lists all commands, or tells of those that begin with the words behind it.
func help(w io.Writer, args []string) error {
	if len(args) > 1 && args[0] == "help" {
		want, found := strings.Join(args[1:], " "), false
		for _, c := range commands() {
			if c.name != want && !strings.HasPrefix(c.name, want+" ") {
				continue
			}
			set := flag.NewFlagSet(c.name, flag.ContinueOnError)
			if c.flags != nil {
				c.flags(set)
			}
			if found {
				fmt.Fprintln(w)
			}
			c.tell(w, set)
			found = true
		}
		if !found {
			return usageError{fmt.Sprintf("there is no command %q; conclave help lists all", want)}
		}
		return nil
	}
	width := 0
	for _, c := range commands() {
		width = max(width, len(c.name))
	}
	fmt.Fprint(w, "Conclave: conversations that must not leak.\n\nusage: conclave COMMAND [flags]; conclave COMMAND --help tells more\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-*s  %s\n", width, c.name, c.about)
	}
	fmt.Fprint(w, "\nexit codes: 0 done, 1 failed to run, 2 wrong usage, 3 refused, or found wrong, 4 put out of the meeting, 5 server unreachable\n")
	return nil
}

// exitCode says what went wrong and returns the program's exit code.
func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return exitDone
	}
	// A command whose end is to be stopped returns nil; to all others it happens before they are done.
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "conclave: stopped before it was done")
		return exitFailed
	}
	fmt.Fprintf(stderr, "conclave: %s\n", explain(err))
	var usage usageError
	var coded codedError
	var wrong *folder.Wrong
	var p conclave.Problem
	var network *net.OpError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &wrong):
		return exitFound
	case errors.As(err, &p) && p.Code == "server_unreachable", errors.As(err, &network):
		return exitUnreachable
	case errors.As(err, &p):
		return exitRefused
	}
	return exitFailed
}
