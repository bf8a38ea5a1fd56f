// Command lapse signs a device's statement anew with other days: as the organisation signed it so long ago that it has run out,
// or is about to. Statements hold for seven days, and no clock is put on for a test; nothing else is made up. It is no part of
// what is shipped.
//
//	lapse --data FOLDER --ends 8s
//
// reads the statement from its standard input, in base64, and prints the one that ends then.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"conclave/pass"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout, time.Now()); err != nil {
		fmt.Fprintln(os.Stderr, "lapse:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer, now time.Time) error {
	flags := flag.NewFlagSet("lapse", flag.ContinueOnError)
	data := flags.String("data", "", "the server's data `folder`")
	ends := flags.Duration("ends", 0, "from now on; negative: it has run out")
	if err := flags.Parse(args); err != nil {
		return err
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	encoded, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		return err
	}
	statement, err := pass.ParseStatement(encoded)
	if err != nil {
		return err
	}
	key, err := enrolmentKey(*data)
	if err != nil {
		return err
	}
	statement.NotAfter = now.Add(*ends)
	statement.NotBefore = statement.NotAfter.Add(-pass.MaxStatementLife)
	signed, err := pass.SignStatement(key, statement)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, base64.StdEncoding.EncodeToString(signed))
	return err
}

// enrolmentKey reads the key that signs statements.
func enrolmentKey(data string) (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(filepath.Join(data, "organisation", "enrolment.key"))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("the enrolment key is no PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	own, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("the enrolment key is no Ed25519 key")
	}
	return own, nil
}
