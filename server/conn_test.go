package server

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/coder/websocket"

	"conclave/signal"
)

// served runs f on the server's end of a connection whose client is returned.
func served(t *testing.T, f func(*conn)) *websocket.Conn {
	t.Helper()
	done := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		socket, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer socket.CloseNow()
		c := newConn(context.Background(), socket, netip.Addr{}, time.Now, slog.New(slog.DiscardHandler))
		written := make(chan struct{})
		go func() { defer close(written); c.write() }()
		f(c)
		c.kill()
		<-written
	}))
	client, _, err := websocket.Dial(t.Context(), web.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	client.SetReadLimit(signal.MaxServerFrame)
	t.Cleanup(func() {
		<-done
		client.CloseNow()
		web.Close()
	})
	return client
}

func TestAClientThatReadsNothingIsDroppedAndNeverWaitedFor(t *testing.T) {
	result := make(chan time.Duration, 1)
	served(t, func(c *conn) {
		frame := make([]byte, 1<<20)
		began := time.Now()
		for range 200 {
			c.sendFrame(frame)
		}
		result <- time.Since(began)
		select {
		case <-c.ctx.Done():
		case <-time.After(5 * time.Second):
			t.Error("the connection lives on")
		}
	})
	if took := <-result; took > time.Second {
		t.Errorf("sending held the sender up for %v", took)
	}
}

func TestTheLastMessageComesBeforeTheEnd(t *testing.T) {
	client := served(t, func(c *conn) {
		for range 100 {
			c.send(&signal.Pong{N: 1})
		}
		c.end(problemOver)
		c.send(&signal.Pong{N: 2}) // too late
		<-c.ctx.Done()
	})
	var last signal.Message
	for n := 0; ; n++ {
		_, frame, err := client.Read(t.Context())
		if err != nil {
			if n != 101 {
				t.Errorf("%d messages came", n)
			}
			break
		}
		if last, err = signal.Decode(frame, signal.FromServer); err != nil {
			t.Fatal(err)
		}
	}
	if e, ok := last.(*signal.Ended); !ok || e.Reason.Code != "meeting_over" {
		t.Errorf("the last was %+v", last)
	}
}
