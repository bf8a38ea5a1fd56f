package device

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Helper is a Token that another program speaks for: the one that has the driver of the card. We link no C code, and a
// PKCS#11 module is C code; so its world stays in a process of its own, which sees no key and no message of a meeting, only
// digests to be signed. Each line of its standard input is a question in JSON, each line of its standard output the answer:
//
//	{"do":"public"}                  {"public":"BASE64"}        an uncompressed P-256 point, 65 bytes
//	{"do":"chain"}                   {"chain":["BASE64",…]}     certificates in DER, the key's own first; may be empty
//	{"do":"sign","digest":"BASE64"}  {"signature":"BASE64"}     CKM_ECDSA over 32 bytes: r and s, 64 bytes
//
// {"error":"…"} is the answer to what failed. Its standard error goes to ours: there it may ask for a PIN.
type Helper struct {
	command *exec.Cmd
	public  []byte
	chain   [][]byte

	mu      sync.Mutex // one question at a time
	in      io.WriteCloser
	answers chan []byte // closed when the helper says no more
	failed  error       // guarded by mu: nothing more is asked
}

const (
	// helperPatience is how long a person may take to type a PIN or to touch the card.
	helperPatience = 2 * time.Minute
	maxHelperLine  = 64 << 10
	maxChain       = 5 // what the server takes
)

// helperAnswer is one line of a helper.
type helperAnswer struct {
	Public    []byte   `json:"public"`
	Chain     [][]byte `json:"chain"`
	Signature []byte   `json:"signature"`
	Error     string   `json:"error"`
}

// StartHelper starts a program, given with its arguments and blanks between, and asks for key and certificates. Close ends it.
func StartHelper(command string, stderr io.Writer) (*Helper, error) {
	words := strings.Fields(command)
	if len(words) == 0 {
		return nil, errors.New("device: no helper for the token is named")
	}
	h := &Helper{command: exec.Command(words[0], words[1:]...), answers: make(chan []byte)}
	h.command.Stderr = stderr
	in, err := h.command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	out, err := h.command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	if err := h.command.Start(); err != nil {
		return nil, fmt.Errorf("device: start the token's helper: %w", err)
	}
	h.in = in
	go func() {
		defer close(h.answers)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, maxHelperLine)
		for lines.Scan() {
			h.answers <- append([]byte(nil), lines.Bytes()...)
		}
	}()
	if err := h.begin(); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// begin asks for what does not change.
func (h *Helper) begin() error {
	a, err := h.ask(map[string]any{"do": "public"})
	if err != nil {
		return err
	}
	if _, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), a.Public); err != nil {
		return errors.New("device: the token's key is not on P-256")
	}
	h.public = a.Public
	if a, err = h.ask(map[string]any{"do": "chain"}); err != nil {
		return err
	}
	if len(a.Chain) > maxChain {
		return fmt.Errorf("device: the token has more than %d certificates", maxChain)
	}
	h.chain = a.Chain
	return nil
}

// Public implements Token.
func (h *Helper) Public() []byte { return h.public }

// Chain implements Token.
func (h *Helper) Chain() [][]byte { return h.chain }

// Sign implements Token.
func (h *Helper) Sign(digest [sha256.Size]byte) ([]byte, error) {
	a, err := h.ask(map[string]any{"do": "sign", "digest": digest[:]})
	if err != nil {
		return nil, err
	}
	if len(a.Signature) != 64 {
		return nil, errors.New("device: the token's signature has not 64 bytes")
	}
	return a.Signature, nil
}

// ask puts one question. A helper that once did not answer is not asked again: what comes late would answer another question.
func (h *Helper) ask(question any) (helperAnswer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var a helperAnswer
	if h.failed != nil {
		return a, h.failed
	}
	line, err := json.Marshal(question)
	if err != nil {
		return a, fmt.Errorf("device: %w", err)
	}
	fail := func(text string) (helperAnswer, error) {
		h.failed = errors.New("device: the token's helper " + text)
		return a, h.failed
	}
	if _, err := h.in.Write(append(line, '\n')); err != nil {
		return fail("has ended")
	}
	timer := time.NewTimer(helperPatience)
	defer timer.Stop()
	select {
	case answer, ok := <-h.answers:
		if !ok {
			return fail("has ended")
		}
		if json.Unmarshal(answer, &a) != nil {
			return fail("answers what nobody understands")
		}
	case <-timer.C:
		return fail("does not answer")
	}
	if a.Error != "" {
		return a, fmt.Errorf("device: the token says %q", a.Error) // it may be asked again: another PIN, a card put back
	}
	return a, nil
}

// Close ends the helper and waits for it.
func (h *Helper) Close() error {
	h.in.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range h.answers { // it ends with its output
		}
		h.command.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(2 * time.Second): // one that does not end with its input
		h.command.Process.Kill()
		<-ended
	}
	return nil
}

var _ Token = (*Helper)(nil)
