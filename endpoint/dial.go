//go:build !js

package endpoint

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/coder/websocket"

	"conclave/signal"
)

// SignalPath is where a server takes signalling.
const SignalPath = "/v1/signal"

// Dial returns what connects to the signalling of the server at base ("https://conf.example:443", or http where the host
// is this machine), and the host to sign hellos for. config may be nil.
func Dial(base string, config *tls.Config) (dial func(context.Context) (Conn, error), host string, err error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, "", errors.New("endpoint: a server's address begins with https://")
	}
	host = u.Host
	u.Path, u.RawQuery, u.Fragment = SignalPath, "", ""
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: false}
	options := &websocket.DialOptions{
		HTTPClient:      &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Subprotocols:    []string{signal.Subprotocol},
		CompressionMode: websocket.CompressionDisabled, // what is secret and what is not share frames
	}
	return func(ctx context.Context) (Conn, error) {
		c, _, err := websocket.Dial(ctx, u.String(), options)
		if err != nil {
			return nil, fmt.Errorf("endpoint: dial: %w", err)
		}
		if c.Subprotocol() != signal.Subprotocol {
			c.CloseNow()
			return nil, errLanguage
		}
		c.SetReadLimit(signal.MaxServerFrame)
		return socket{c}, nil
	}, host, nil
}

// socket is a WebSocket as a Conn.
type socket struct{ c *websocket.Conn }

func (s socket) Read(ctx context.Context) ([]byte, error) {
	kind, frame, err := s.c.Read(ctx)
	if err == nil && kind != websocket.MessageText {
		err = errLanguage
	}
	return frame, err
}

func (s socket) Write(ctx context.Context, frame []byte) error {
	return s.c.Write(ctx, websocket.MessageText, frame)
}

func (s socket) Close() error { return s.c.CloseNow() }
