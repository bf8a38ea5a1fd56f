package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"conclave/merkle"
	"conclave/witness"
)

// witnessKeyFile holds the witness's key in its folder: Ed25519, PKCS#8 in PEM, mode 0600.
const witnessKeyFile = "witness.key"

type witnessOptions struct {
	dir, name, listen string
	certificate, key  string
	logs              paths
	show              bool
}

var witnessCommand = command{
	name: "witness", usage: "--name NAME --log KEY… [--dir DIR] [--show-key] [--listen ADDRESS] [--certificate FILE --key FILE]",
	about: "runs a witness, which cosigns an organisation's logs as long as they go on from what they were",
	flags: func(f *flag.FlagSet) any {
		o := new(witnessOptions)
		f.StringVar(&o.dir, "dir", "witness", "`folder` of key and state; made if it is not there")
		f.StringVar(&o.name, "name", "", "the witness's `name`, for instance ally.example/witness: no spaces, no plus sign")
		f.StringVar(&o.listen, "listen", "127.0.0.1:7801", "TCP `address`")
		f.StringVar(&o.certificate, "certificate", "", "certificate `file` (PEM) for TLS")
		f.StringVar(&o.key, "key", "", "its key `file` (PEM)")
		f.BoolVar(&o.show, "show-key", false, "write the witness's verifier key and end; it is made if there is none")
		f.Var(&o.logs, "log", "verifier `key` of a log to cosign (conclave audit show FOLDER --key); may be repeated")
		return o
	},
	run: func(ctx context.Context, k *call) error {
		o := k.options.(*witnessOptions)
		if o.name == "" || len(o.logs) == 0 && !o.show || (o.certificate == "") != (o.key == "") {
			return usageError{"a witness needs --name and at least one --log; --certificate and --key belong together"}
		}
		w, err := o.open()
		if err != nil {
			return err
		}
		defer w.Close()
		if o.show {
			fmt.Fprintln(k.stdout, w.Key())
			return nil
		}
		listener, err := net.Listen("tcp", o.listen)
		if err != nil {
			return err
		}
		fmt.Fprintf(k.stdout, "witness %s listens at %s\nits key, for conclaved.toml and for conclave audit verify --witness:\n%s\n", o.name, listener.Addr(), w.Key())
		return o.serve(ctx, w, listener)
	},
}

// open opens the witness and makes its key if it has none.
func (o *witnessOptions) open() (*witness.Witness, error) {
	var logs []merkle.Key
	for _, l := range o.logs {
		key, err := merkle.ParseKey(l)
		if err != nil || key.Witness() {
			return nil, usageError{fmt.Sprintf("%q is no log's key: conclave audit show FOLDER --key writes it", l)}
		}
		logs = append(logs, key)
	}
	key, err := witnessKey(o.dir)
	if err != nil {
		return nil, err
	}
	if _, err := merkle.ParseKey(merkle.WitnessKey(o.name, key.Public().(ed25519.PublicKey)).String()); err != nil {
		return nil, usageError{fmt.Sprintf("%q cannot be a witness's name: no spaces, no plus sign", o.name)}
	}
	return witness.Open(o.dir, o.name, key, logs)
}

func witnessKey(dir string) (ed25519.PrivateKey, error) {
	path := filepath.Join(dir, witnessKeyFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newWitnessKey(dir, path)
	}
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others: chmod 600 it", path)
	}
	damaged := fmt.Errorf("%s holds no key that can be read: put it back from its backup", path)
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, damaged
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, damaged
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, damaged
	}
	return key, nil
}

func newWitnessKey(dir, path string) (ed25519.PrivateKey, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err == nil {
		err = f.Sync()
	}
	return key, errors.Join(err, f.Close())
}

// serve answers until ctx is done.
func (o *witnessOptions) serve(ctx context.Context, w *witness.Witness, listener net.Listener) error {
	server := &http.Server{Handler: w.Handler(time.Now), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn)}
	ended := make(chan error, 1)
	go func() {
		if o.certificate != "" {
			ended <- server.ServeTLS(listener, o.certificate, o.key)
			return
		}
		ended <- server.Serve(listener)
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	bye, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	err := server.Shutdown(bye)
	<-ended
	return err
}
