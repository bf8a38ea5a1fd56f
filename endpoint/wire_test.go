package endpoint

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"conclave/signal"
)

// webSocket is a pipe that closes when its reading is called off, as coder/websocket does, and whose frames take a moment.
type webSocket struct{ *pipe }

func (w webSocket) Read(ctx context.Context) ([]byte, error) {
	frame, err := w.pipe.Read(ctx)
	if ctx.Err() != nil {
		w.Close()
	}
	return frame, err
}

func (w webSocket) Write(ctx context.Context, frame []byte) error {
	time.Sleep(time.Millisecond)
	select {
	case <-w.done:
		return errPipe
	default:
	}
	return w.pipe.Write(ctx, frame)
}

func TestALeaveIsNotLostToTheEndOfItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &session{arrivals: make(chan arrival, arrivalsQueue)}
		conn := webSocket{&pipe{up: make(chan []byte, 64), down: make(chan []byte, 64), done: make(chan struct{})}}
		w := startWire(t.Context(), 1, conn, s.arrivals, &s.wait)
		synctest.Wait()
		for _, m := range []signal.Message{&signal.Ping{N: 1}, &signal.Leave{}} {
			if err := w.send(m); err != nil {
				t.Fatal(err)
			}
		}
		w.close()
		s.wait.Wait()
		close(conn.up)
		var last signal.Message
		for frame := range conn.up {
			var err error
			if last, err = signal.Decode(frame, signal.FromClient); err != nil {
				t.Fatal(err)
			}
		}
		if _, ok := last.(*signal.Leave); !ok {
			t.Errorf("the last that went out is %T", last)
		}
		select {
		case <-conn.done:
		default:
			t.Error("the connection stands open")
		}
	})
}
