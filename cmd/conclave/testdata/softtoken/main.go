// Command softtoken is a card in software, for tests of the helper protocol (endpoint/device.Helper). `softtoken init DIR` makes
// an authority (cards.pem) and a key with its certificate; `softtoken DIR` answers. With DIR/pulled there, it is pulled out.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

func main() {
	var err error
	if len(os.Args) == 3 && os.Args[1] == "init" {
		err = create(os.Args[2])
	} else {
		err = serve(os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "softtoken:", err)
		os.Exit(1)
	}
}

func create(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Cards"}, IsCA: true, BasicConstraintsValid: true, NotBefore: from, NotAfter: to}
	card := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Card"}, NotBefore: from, NotAfter: to}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	cardDER, err := x509.CreateCertificate(rand.Reader, card, ca, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{"cards.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), "card.der": cardDER, "card.key": keyDER} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func serve(dir string) error {
	der, err := os.ReadFile(filepath.Join(dir, "card.key"))
	if err != nil {
		return err
	}
	key, err := x509.ParseECPrivateKey(der)
	if err != nil {
		return err
	}
	card, err := os.ReadFile(filepath.Join(dir, "card.der"))
	if err != nil {
		return err
	}
	public, err := key.PublicKey.Bytes()
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var q struct {
			Do     string
			Digest []byte
		}
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			return err
		}
		var answer any
		switch q.Do {
		case "public":
			answer = map[string]any{"public": public}
		case "chain":
			answer = map[string]any{"chain": [][]byte{card}}
		case "sign":
			if _, err := os.Stat(filepath.Join(dir, "pulled")); err == nil {
				answer = map[string]any{"error": "the card is not there"}
				break
			}
			r, s, err := ecdsa.Sign(rand.Reader, key, q.Digest)
			if err != nil {
				return err
			}
			var raw [64]byte
			r.FillBytes(raw[:32])
			s.FillBytes(raw[32:])
			answer = map[string]any{"signature": raw[:]}
		default:
			answer = map[string]any{"error": "not understood"}
		}
		b, err := json.Marshal(answer)
		if err != nil {
			return err
		}
		fmt.Println(string(b))
	}
	return lines.Err()
}
