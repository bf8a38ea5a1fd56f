// Command bench-mls measures what a member of a room does, on the machine it runs on and as WebAssembly in a browser's
// worker, on the same room: post-quantum suite, all members joined by external commit, leaves with real statements and
// passes. run.mjs drives it and prints the figures side by side.
//
// "bench-mls prepare N" writes a room of N members to standard output; without arguments it reads one and measures.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench-mls:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) == 2 && args[0] == "prepare" {
		n, err := strconv.Atoi(args[1])
		if err != nil || n < 4 {
			return fmt.Errorf("a room has at least 4 members, not %s", args[1])
		}
		made, err := prepare(n)
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(made)
	}
	encoded, err := input()
	if err != nil {
		return err
	}
	var r room
	if err := json.Unmarshal(encoded, &r); err != nil {
		return err
	}
	figures, err := measure(&r)
	if err != nil {
		return err
	}
	b, err := json.Marshal(figures)
	if err != nil {
		return err
	}
	return output(b)
}
