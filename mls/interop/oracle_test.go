package interop

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// callTimeout bounds one command, which takes a second at most where nothing else runs; ts-mls has been seen to loop for ever.
const callTimeout = 3 * time.Minute

// oracle is a process that plays members by ts-mls.
type oracle struct {
	in     *json.Encoder
	pipe   *os.File
	out    *bufio.Reader
	broken error // once a call went unanswered, nothing that follows can be right
}

// needOracle skips the test where ts-mls is not installed.
func needOracle(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("node_modules/ts-mls"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("ts-mls is not installed: run npm ci in mls/interop")
		}
		t.Skip("ts-mls is not installed: run npm ci in mls/interop")
	}
}

func start(t *testing.T) *oracle {
	script, err := filepath.Abs("oracle.mjs")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "--import", "./mend.mjs", script)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = pipe
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pipe.Close()
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
		out.Close()
	})
	return &oracle{in: json.NewEncoder(in), pipe: out, out: bufio.NewReaderSize(out, 1<<20)}
}

// call sends one command and reads its answer into ok, if that is not nil.
func (o *oracle) call(command map[string]any, ok any) error {
	if o.broken != nil {
		return o.broken
	}
	line, err := o.exchange(command)
	if err != nil {
		o.broken = fmt.Errorf("oracle.mjs: %v for %v: %w", command["do"], command["name"], err)
		return o.broken
	}
	var answer struct {
		OK    json.RawMessage `json:"ok"`
		Error string          `json:"error"`
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return err
	}
	if answer.Error != "" {
		return errors.New("ts-mls: " + answer.Error)
	}
	if ok == nil {
		return nil
	}
	return json.Unmarshal(answer.OK, ok)
}

func (o *oracle) exchange(command map[string]any) ([]byte, error) {
	if err := o.pipe.SetReadDeadline(time.Now().Add(callTimeout)); err != nil {
		return nil, err
	}
	if err := o.in.Encode(command); err != nil {
		return nil, err
	}
	line, err := o.out.ReadBytes('\n')
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, fmt.Errorf("no answer in %v", callTimeout)
	}
	return line, err
}
