//go:build js && wasm

package main

import (
	"context"
	"errors"
	"sync"
	"syscall/js"

	"conclave/endpoint"
	"conclave/mls"
)

var (
	errRejected = errors.New("conclave-wasm: the browser refused")
	errLost     = errors.New("conclave-wasm: connection lost")
)

// await waits for a promise without stopping the event loop. Its error says nothing of the reason, which may be personal.
func await(ctx context.Context, promise js.Value) (js.Value, error) {
	type result struct {
		value js.Value
		err   error
	}
	done := make(chan result, 1)
	var fulfilled, rejected js.Func
	release := func() { fulfilled.Release(); rejected.Release() }
	fulfilled = js.FuncOf(func(_ js.Value, args []js.Value) any {
		release()
		var v js.Value
		if len(args) > 0 {
			v = args[0]
		}
		done <- result{value: v}
		return nil
	})
	rejected = js.FuncOf(func(js.Value, []js.Value) any {
		release()
		done <- result{err: errRejected}
		return nil
	})
	promise.Call("then", fulfilled, rejected)
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return js.Value{}, ctx.Err()
	}
}

// signer signs with the device key, which WebCrypto does not give out.
type signer struct {
	host   js.Value
	public []byte // uncompressed point
}

func (s *signer) Public() []byte { return s.public }

func (s *signer) Sign(message []byte) ([]byte, error) {
	raw, err := await(context.Background(), s.host.Call("sign", toJS(message)))
	if err != nil {
		return nil, err
	}
	return endpoint.SignatureFromRaw(toGo(raw))
}

// verifier has WebCrypto verify signatures: all of a batch at once, and ten times as fast as this program could.
type verifier struct{ host js.Value }

func (v *verifier) verify(checks []mls.SignatureCheck) error {
	list := make([]any, len(checks))
	for i, c := range checks {
		one := map[string]any{"key": toJS(c.PublicKey), "message": toJS(c.Message)}
		switch c.Suite {
		case mls.MLKEM768P256:
			raw, err := endpoint.RawFromSignature(c.Signature)
			if err != nil {
				return err
			}
			one["alg"], one["signature"] = "P-256", toJS(raw)
		case mls.X25519AES128SHA256Ed25519:
			one["alg"], one["signature"] = "Ed25519", toJS(c.Signature)
		default:
			return mls.VerifyEach(checks)
		}
		list[i] = one
	}
	answer, err := await(context.Background(), v.host.Call("verify", list))
	if err != nil || answer.Get("length").Int() != len(checks) {
		return mls.VerifyEach(checks) // a browser that lacks an algorithm
	}
	for i := range checks {
		if answer.Index(i).Type() != js.TypeBoolean {
			return mls.VerifyEach(checks)
		}
		if !answer.Index(i).Bool() {
			// The library's own error, so that both ways end in the same words.
			if err := checks[i].Verify(); err != nil {
				return err
			}
			return errRejected
		}
	}
	return nil
}

// framesQueue bounds what came from the server and was not read: beyond it the connection is given up, since a browser's
// WebSocket cannot be held back.
const framesQueue = 1024

// socket is the browser's WebSocket as an endpoint.Conn.
type socket struct {
	value   js.Value
	frames  chan []byte
	done    chan struct{}
	once    sync.Once
	handler [2]js.Func
}

// dial connects. The script resolves with a socket once it is open.
func dial(ctx context.Context, host js.Value, url string) (endpoint.Conn, error) {
	value, err := await(ctx, host.Call("connect", url))
	if err != nil {
		return nil, err
	}
	s := &socket{value: value, frames: make(chan []byte, framesQueue), done: make(chan struct{})}
	s.handler[0] = js.FuncOf(func(_ js.Value, args []js.Value) any {
		select {
		case s.frames <- []byte(args[0].String()):
		default:
			s.end()
		}
		return nil
	})
	s.handler[1] = js.FuncOf(func(js.Value, []js.Value) any { s.end(); return nil })
	value.Set("onmessage", s.handler[0])
	value.Set("onclose", s.handler[1])
	// What came before the handlers stood.
	value.Call("start")
	return s, nil
}

func (s *socket) end() { s.once.Do(func() { close(s.done) }) }

func (s *socket) Read(ctx context.Context) ([]byte, error) {
	select {
	case f := <-s.frames:
		return f, nil
	default:
	}
	select {
	case f := <-s.frames:
		return f, nil
	case <-s.done:
		return nil, errLost
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *socket) Write(_ context.Context, frame []byte) error {
	select {
	case <-s.done:
		return errLost
	default:
		s.value.Call("send", string(frame))
		return nil
	}
}

func (s *socket) Close() error {
	s.end()
	s.value.Call("close")
	s.value.Set("onmessage", js.Null())
	s.value.Set("onclose", js.Null())
	for i := range s.handler {
		s.handler[i].Release()
	}
	return nil
}
