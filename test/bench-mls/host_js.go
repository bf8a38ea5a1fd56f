//go:build js && wasm

package main

import (
	"errors"
	"syscall/js"

	"conclave/endpoint"
	"conclave/mls"
)

var host = js.Global().Get("benchHost")

func toJS(b []byte) js.Value {
	a := js.Global().Get("Uint8Array").New(len(b))
	js.CopyBytesToJS(a, b)
	return a
}

func input() ([]byte, error) {
	a := host.Get("room")
	b := make([]byte, a.Get("length").Int())
	js.CopyBytesToGo(b, a)
	return b, nil
}

func output(b []byte) error {
	host.Call("done", string(b))
	return nil
}

// verifier has WebCrypto verify, as cmd/conclave-wasm does.
func verifier() mls.BatchVerifier {
	return func(checks []mls.SignatureCheck) error {
		list := make([]any, len(checks))
		for i, c := range checks {
			one := map[string]any{"key": toJS(c.PublicKey), "message": toJS(c.Message), "alg": "Ed25519"}
			signature := c.Signature
			if c.Suite == suite {
				var err error
				if signature, err = endpoint.RawFromSignature(signature); err != nil {
					return err
				}
				one["alg"] = "P-256"
			}
			one["signature"] = toJS(signature)
			list[i] = one
		}
		done := make(chan bool, 1)
		then := js.FuncOf(func(_ js.Value, args []js.Value) any {
			done <- args[0].Bool()
			return nil
		})
		defer then.Release()
		host.Call("verify", list).Call("then", then)
		if !<-done {
			return errors.New("a signature does not verify")
		}
		return nil
	}
}
