//go:build !js

package main

import (
	"io"
	"os"

	"conclave/mls"
)

func input() ([]byte, error) { return io.ReadAll(os.Stdin) }

func output(b []byte) error {
	_, err := os.Stdout.Write(b)
	return err
}

func verifier() mls.BatchVerifier { return mls.VerifyEach }
