package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	// As an editor does: another file takes the place, so that nobody reads half of one.
	if err := os.WriteFile(path+"~", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

func (s *started) awaitLog(t *testing.T, message, part string) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if m := s.log.find(message); m != nil && strings.Contains(fmt.Sprint(m), part) {
			return
		}
	}
	t.Fatalf("no %q with %q in the log", message, part)
}

func TestFilesAreReadAnewWhenTheyChangeAndOnSIGHUP(t *testing.T) {
	dir := dataFolder(t)
	networks, config := filepath.Join(dir, "networks"), filepath.Join(dir, "c.toml")
	write(t, networks, "127.0.0.0/8 isp\n")
	write(t, config, fmt.Sprintf("watch = true\n[places]\nlist = %q\nhome = [\"DE\"]\n", networks))
	s := start(t, "--data", dir, "--config", config, "--listen", "127.0.0.1:0", "--media", "127.0.0.1:0")
	time.Sleep(20 * time.Millisecond) // the file's time has to differ
	write(t, networks, "# ours\n127.0.0.0/8 torr\n")
	s.awaitLog(t, "files not taken: what was in force stays in force", `line 2: "torr" is no kind`)
	write(t, networks, "127.0.0.0/8 tor\n")
	s.awaitLog(t, "files read anew", "policy_changed:false")
	s.log.mu.Lock()
	s.log.buf.Reset()
	s.log.mu.Unlock()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.awaitLog(t, "files read anew", "policy_changed:false")
}

func TestMistakesInPlacesKeepTheServerFromStarting(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		write(t, filepath.Join(dir, name), text)
		return filepath.Join(dir, name)
	}
	for text, want := range map[string]string{
		fmt.Sprintf("list = %q", file("list", "\n10.0.0.0/8 house")):    `line 2: "house" is no kind of network`,
		fmt.Sprintf("calendar = %q", file("calendar", "SG|2026-02-03")): "line 1: 2 cells",
		fmt.Sprintf("databases = [%q]", file("x.mmdb", "none")):         "x.mmdb",
		fmt.Sprintf("list = %q", filepath.Join(dir, "nowhere")):         "no such file",
		`home = ["Germany"]`: `"Germany" is no country's code`,
	} {
		c, err := readConfig([]string{"--data", dir, "--config", file("c.toml", "[places]\n"+text)}, os.Stderr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.ground(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
