package folder_test

import (
	"bufio"
	"context"
	crand "crypto/rand"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/audit/folder"
	"conclave/identity"
)

// kills is how often the process that records is killed; with -kills 1000 it takes some minutes.
var kills = flag.Int("kills", 15, "kill -9 of the process that records")

// recorder is the environment variable that makes this test binary the process that records.
const recorder = "CONCLAVE_TEST_RECORDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(recorder); dir != "" {
		if err := recordUntilKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// recordUntilKilled opens the log in dir, as a server does at its start, holds the effects of the process before against it,
// and goes on recording, publishing and erasing. After each record it writes a line: that is the effect.
func recordUntilKilled(dir string) error {
	org, err := identity.LoadOrganisation(filepath.Join(dir, "organisation"), now)
	if err != nil {
		return err
	}
	said := new(strings.Builder)
	w := &world{org: org, data: filepath.Join(dir, "store"), dir: filepath.Join(dir, "audit"), says: said}
	if err := w.tryOpen(); err != nil {
		return fmt.Errorf("%w\nthe engine said: %s", err, said)
	}
	w.says = nil
	ctx := context.Background()
	if err := w.effectsStand(ctx, filepath.Join(dir, "effects")); err != nil {
		return err
	}
	fmt.Println("open")
	go func() {
		for {
			if err := w.log.Publish(ctx, time.Now()); err != nil {
				fmt.Println("failed", err)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	var mu sync.Mutex
	for worker := range 3 {
		go func() {
			for i := 0; ; i++ {
				person := conclave.PersonID(fmt.Sprintf("p%d.%d.%d", os.Getpid(), worker, i))
				n, err := w.log.Record(ctx, audit.Record{Kind: audit.KindPass, Time: time.Now().UTC(), Person: person, Epoch: uint64(i)})
				mu.Lock()
				if err != nil {
					fmt.Println("failed", err)
				} else {
					fmt.Println("effect", n, string(person), i)
				}
				mu.Unlock()
			}
		}()
	}
	for erased := conclave.PersonID(""); ; time.Sleep(20 * time.Millisecond) {
		last, err := w.st.Last(ctx, "audit")
		if err != nil || last < 2 {
			continue
		}
		from := audit.Index(max(int(last)-50, 1))
		entries, err := w.log.Read(ctx, from, 1)
		if err != nil || len(entries) == 0 || entries[0].Record.Person == "" || entries[0].Record.Person == erased {
			continue
		}
		erased = entries[0].Record.Person
		// A scan of the whole log would be all that this process does: the match is on one that is near.
		if done, err := w.log.Erase(ctx, time.Now(), func(e audit.Entry) bool { return e.Record.Person == erased }); err == nil && done.Records > 0 {
			mu.Lock()
			fmt.Println("erased", from)
			mu.Unlock()
		}
	}
}

// effectsStand holds a file of lines against the log: "effect INDEX PERSON EPOCH", "erased INDEX".
func (w *world) effectsStand(ctx context.Context, path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil // the first start
	}
	erased := map[audit.Index]bool{}
	for l := range strings.Lines(string(b)) {
		var i audit.Index
		if _, err := fmt.Sscanf(l, "erased %d", &i); err == nil {
			erased[i] = true
		}
	}
	for l := range strings.Lines(string(b)) {
		var i audit.Index
		var person string
		var epoch uint64
		if _, err := fmt.Sscanf(l, "effect %d %s %d", &i, &person, &epoch); err != nil {
			continue
		}
		entries, err := w.log.Read(ctx, i, 1)
		if err != nil || len(entries) != 1 {
			return fmt.Errorf("an effect without its record %d: %v", i, err)
		}
		r := entries[0].Record
		switch {
		case r.Kind != audit.KindPass || r.Epoch != epoch:
			return fmt.Errorf("record %d is not that of its effect", i)
		case erased[i] && !entries[0].Erased:
			return fmt.Errorf("record %d was erased and is not", i)
		case !entries[0].Erased && string(r.Person) != person:
			return fmt.Errorf("record %d names somebody else", i)
		}
	}
	return nil
}

// TestNoEffectIsWithoutItsRecordHoweverOftenTheProcessIsKilled kills the process that records at random moments. Whatever had
// an effect stands in the log afterwards, at the place that was told; the log goes on from each checkpoint; its copy verifies.
func TestNoEffectIsWithoutItsRecordHoweverOftenTheProcessIsKilled(t *testing.T) {
	dir := t.TempDir()
	org, err := identity.NewOrganisation(filepath.Join(dir, "organisation"), "ministry.example", "Ministry", crand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	effects, erasures, early, copied := 0, 0, 0, false
	began := time.Now()
	for round := range *kills {
		lines, err := runAndKill(t, dir, time.Duration(rand.IntN(120_000))*time.Microsecond)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if len(lines) == 0 {
			early++
		}
		for _, l := range lines {
			switch {
			case strings.HasPrefix(l, "effect"):
				effects++
			case strings.HasPrefix(l, "erased"):
				erasures++
			case strings.HasPrefix(l, "failed"):
				t.Errorf("round %d: %s", round, l)
			}
		}
		if len(lines) > 0 {
			if err := os.WriteFile(filepath.Join(dir, "effects"), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err = os.Stat(filepath.Join(dir, "audit", "checkpoint"))
		copied = copied || err == nil
		if copied && (round%20 == 19 || round == *kills-1) { // on a busy machine all may have been killed before their first copy
			if _, err := folder.Verify(os.DirFS(filepath.Join(dir, "audit")), folder.Options{Root: org.RootHash()}); err != nil {
				t.Fatalf("round %d: the copy as the kill left it: %v", round, err)
			}
		}
	}
	// And once more in peace.
	w := &world{t: t, org: org, data: filepath.Join(dir, "store"), dir: filepath.Join(dir, "audit")}
	w.open()
	defer w.st.Close()
	w.publish()
	if err := w.effectsStand(t.Context(), filepath.Join(dir, "effects")); err != nil {
		t.Error(err)
	}
	r := w.holds()
	if effects == 0 || int(r.Records) < effects {
		t.Errorf("%d records of %d effects", r.Records, effects)
	}
	t.Logf("killed %d times in %v (%d of them before the log was open): %d effects, each with its record, of %d records; %d erasures, %d checkpoints kept",
		*kills, time.Since(began).Round(time.Second), early, effects, r.Records, erasures, r.Checkpoints)
}

// runAndKill starts the process that records, kills it after a while, and returns what it had written.
func runAndKill(t *testing.T, dir string, after time.Duration) ([]string, error) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), recorder+"="+dir)
	cmd.Stderr = new(strings.Builder)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var lines []string
	in := bufio.NewScanner(out)
	opened := make(chan bool, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for in.Scan() {
			if in.Text() == "open" {
				opened <- true
				continue
			}
			lines = append(lines, in.Text())
		}
	}()
	// One in four is killed while it starts; the others some time after.
	if rand.IntN(4) > 0 {
		select {
		case <-opened:
		case <-done:
		}
	}
	time.Sleep(after)
	cmd.Process.Kill()
	<-done
	cmd.Wait()
	if text := cmd.Stderr.(*strings.Builder).String(); text != "" {
		return nil, fmt.Errorf("it ended by itself: %s", text)
	}
	return lines, nil
}
