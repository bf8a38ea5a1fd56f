package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs every verb as its users do, against a real server: testdata/*.txtar.
func TestScripts(t *testing.T) {
	bin := t.TempDir()
	for _, program := range []string{"conclave", "conclaved", "conclave-phone"} {
		build := exec.Command("go", "build", "-o", filepath.Join(bin, program), "conclave/cmd/"+program)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", program, err, out)
		}
	}
	scripts, err := filepath.Abs("../../scripts")
	if err != nil {
		t.Fatal(err)
	}
	card := exec.Command("go", "build", "-o", filepath.Join(bin, "softtoken"), "./testdata/softtoken")
	card.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := card.CombinedOutput(); err != nil {
		t.Fatalf("build softtoken: %v\n%s", err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			page, media := freePorts(t)
			tone, err := demoMedia.ReadFile("demo/marta.ogg")
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(e.WorkDir, "tone.ogg"), tone, 0o600); err != nil {
				return err
			}
			e.Vars = append(e.Vars, "PATH="+bin+":"+os.Getenv("PATH"), "PAGE="+page, "MEDIA="+media,
				"URL=http://localhost:"+page, "SCRIPTS="+scripts)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exits,
			"healthy": healthyCommand,
			"setenv":  setenv,
			"sleep":   sleep,
		},
	})
}

// freePorts returns a TCP and a UDP port that were free a moment ago.
func freePorts(t *testing.T) (page, media string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), strconv.Itoa(u.LocalAddr().(*net.UDPAddr).Port)
}

// exits CODE COMMAND…: the command ends with just that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	if strings.Contains(ts.ReadFile("stderr"), "goroutine ") {
		ts.Fatalf("it panicked") // with exit code 2, as after a wrong usage
	}
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// healthy URL: waits until the server there answers.
func healthyCommand(ts *testscript.TestScript, neg bool, args []string) {
	for range 400 {
		if healthy(context.Background(), args[0]) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("no server answers at %s", args[0])
}

// setenv NAME: the variable takes what the last command printed.
func setenv(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile("stdout")
	for len(text) > 0 && text[len(text)-1] == '\n' {
		text = text[:len(text)-1]
	}
	ts.Setenv(args[0], text)
}

// sleep TIME: gives what runs in the background that long.
func sleep(ts *testscript.TestScript, neg bool, args []string) {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	time.Sleep(d)
}
