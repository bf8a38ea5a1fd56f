package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"

	"conclave"
	"conclave/audit"
	"conclave/escrow"
	"conclave/exposure"
)

// What investigate and damage have in common: sealed ledgers, and the holders' key that opens them.

var errOtherKey = errors.New("none of the ledgers opens with this key: it is another one than they were sealed to")

// opener opens sealed ledgers. Who makes one wipes its key.
type opener struct {
	key     *escrow.Key
	holders []string
	reason  string
	server  *admin
	online  bool // a server answers, which gives ledgers and records that they are opened
}

// newOpener makes the key out of holders' files.
func newOpener(k *call, server *admin, online bool, files []string, reason string) (*opener, error) {
	key, holders, err := combine(k, files)
	if err != nil {
		return nil, err
	}
	if reason == "" {
		reason = "opened by " + strings.Join(holders, ", ")
	}
	if !online {
		fmt.Fprintln(k.stderr, "No server answers: that these ledgers are opened stands in no log.")
	}
	return &opener{key, holders, reason, server, online}, nil
}

// open opens the ledgers of a meeting. That it does is a record first, where there is a server that can write one.
func (o *opener) open(ctx context.Context, t *exposure.Timeline, file string) (*exposure.Opened, error) {
	blocks, err := o.blocks(ctx, t.Meeting, file)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Record audit.Index `json:"record"`
	}
	if o.online {
		if err := o.server.ask(ctx, "/investigations", map[string]any{"meeting": t.Meeting.Text(), "reason": o.reason, "blocks": len(blocks)}, &answer); err != nil {
			return nil, fmt.Errorf("the opening of the ledgers could not be recorded, so that they stay shut: %w", err)
		}
	}
	opened := &exposure.Opened{Record: answer.Record, Blocks: t.Ledgers()}
	opened.Speech, opened.Bad = t.OpenSpeech(o.key, blocks)
	return opened, nil
}

// blocks gets the sealed ledgers of a meeting from the server, or from a file that was got before; file may be empty.
func (o *opener) blocks(ctx context.Context, id conclave.MeetingID, file string) ([]exposure.Sealed, error) {
	if file != "" {
		if b, err := os.ReadFile(file); err == nil {
			return readBlocks(bytes.NewReader(b))
		} else if !o.online {
			return nil, err
		}
	}
	if !o.online {
		return nil, usageError{"no server answers: give the sealed ledgers with --ledgers, as it was written where the server ran"}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://admin/meetings/"+id.Text()+"/ledgers", nil)
	if err != nil {
		return nil, err
	}
	response, err := o.server.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server gives no ledgers: %s", response.Status)
	}
	var kept bytes.Buffer
	blocks, err := readBlocks(io.TeeReader(response.Body, &kept))
	if err == nil && file != "" {
		err = replaceFile(file, kept.Bytes())
	}
	return blocks, err
}

// maxBlocks bounds what is read: a week of a hundred legs.
const maxBlocks = 1_000_000

func readBlocks(in io.Reader) (out []exposure.Sealed, err error) {
	dec := json.NewDecoder(in)
	for {
		var b exposure.Sealed
		if err := dec.Decode(&b); err == io.EOF {
			return out, nil
		} else if err != nil || len(out) == maxBlocks {
			return nil, errors.New("the sealed ledgers cannot be read")
		}
		out = append(out, b)
	}
}

// combine reads holders' files, asks for their passphrases where they are locked, and makes the key.
func combine(k *call, files []string) (*escrow.Key, []string, error) {
	var shares []*escrow.Share
	var names []string
	in := bufio.NewReader(k.stdin)
	defer func() {
		for _, s := range shares {
			s.Wipe()
		}
	}()
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			return nil, nil, err
		}
		if info.Mode().Perm()&0o077 != 0 {
			return nil, nil, fmt.Errorf("%s can be read by others: chmod 600 it", name)
		}
		b, err := readPart(name, escrow.MaxHolderFile)
		if err != nil {
			return nil, nil, err
		}
		h, err := escrow.ParseHolder(b, nil)
		if errors.Is(err, escrow.ErrLocked) {
			var passphrase []byte
			if passphrase, err = askPassphrase(k, in, "Passphrase for "+name+": "); err != nil {
				return nil, nil, err
			}
			h, err = escrow.ParseHolder(b, passphrase)
			clear(passphrase)
		}
		clear(b)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "escrow: "))
		}
		shares = append(shares, h.Share)
		if h.Name == "" {
			h.Name = fmt.Sprintf("holder %d", h.Share.Number)
		}
		names = append(names, h.Name)
	}
	key, err := escrow.Combine(shares)
	if errors.Is(err, escrow.ErrTooFew) && len(shares) > 0 {
		return nil, nil, fmt.Errorf("%d of %d holders are needed, %d are here", shares[0].Threshold, shares[0].Holders, len(shares))
	}
	if err != nil {
		return nil, nil, errors.New(strings.TrimPrefix(err.Error(), "escrow: "))
	}
	return key, names, nil
}

// askPassphrase reads a line, which a terminal does not show.
func askPassphrase(k *call, in *bufio.Reader, prompt string) ([]byte, error) {
	fmt.Fprint(k.stderr, prompt)
	if f, ok := k.stdin.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			for _, mode := range []string{"-echo", "echo"} {
				stty := exec.Command("stty", mode)
				stty.Stdin = f
				if mode == "-echo" {
					_ = stty.Run() // without stty it is shown: better than not at all
				} else {
					defer func() { _ = stty.Run(); fmt.Fprintln(k.stderr) }()
				}
			}
		}
	}
	line, err := in.ReadBytes('\n')
	if err != nil && len(line) == 0 {
		return nil, errors.New("no passphrase was given")
	}
	return bytes.TrimRight(line, "\r\n"), nil
}
