package endpoint

import (
	"context"
	"errors"
	"sync"
	"time"

	"conclave/signal"
)

// Conn is one connection to the server's signalling: whole frames, in order. Read and Write may be called at the same
// time, each by one goroutine. Close ends both.
type Conn interface {
	// Read returns the next frame, which belongs to the caller.
	Read(ctx context.Context) ([]byte, error)
	// Write sends one frame, which belongs to the callee.
	Write(ctx context.Context, frame []byte) error
	Close() error
}

// Sizes of the queues between the owner goroutine and a connection's two.
const (
	// A room of 100 that changes at once brings some hundred frames; behind that the reader waits, and TCP holds the
	// server back.
	arrivalsQueue = 256
	// Frames to send: a leg sends a handful a second. Full means that nothing has left for long: the line is lost.
	departuresQueue = 64
)

// arrival is a frame from the connection with that number, or its end.
type arrival struct {
	wire    int
	message signal.Message
	err     error // set when the connection is over; no arrival of this wire follows
}

// wire is a Conn with its two goroutines. Its methods are for the owner goroutine.
type wire struct {
	number int
	conn   Conn
	out    chan []byte
	cancel context.CancelFunc
}

var (
	errLanguage = errors.New("endpoint: the server speaks another language")
	errSilence  = errors.New("endpoint: the server is silent")
	errFull     = errors.New("endpoint: frames do not leave")
)

// startWire starts the two goroutines of a connection; they end when ctx does, when the connection fails, or on close.
// Both are counted in wait.
func startWire(ctx context.Context, number int, conn Conn, arrivals chan<- arrival, wait *sync.WaitGroup) *wire {
	ctx, cancel := context.WithCancel(ctx)
	w := &wire{number: number, conn: conn, out: make(chan []byte, departuresQueue), cancel: cancel}
	wait.Go(func() { w.read(ctx, arrivals) })
	wait.Go(func() { w.write(ctx) })
	return w
}

func (w *wire) read(ctx context.Context, arrivals chan<- arrival) {
	// The writer ends with the reader, whoever of the two saw the end first.
	defer w.cancel()
	// A WebSocket whose reading is called off closes at once, with a Leave that is still to go. So the reader ends when the
	// writer has closed the connection.
	open := context.WithoutCancel(ctx)
	for {
		a := arrival{wire: w.number}
		frame, err := w.conn.Read(open)
		if err != nil {
			a.err = err
		} else if a.message, err = signal.Decode(frame, signal.FromServer); err != nil {
			a.err = errors.Join(errLanguage, err)
		}
		select {
		case arrivals <- a:
		case <-ctx.Done():
			return
		}
		if a.err != nil {
			return
		}
	}
}

// write sends what is queued. When it fails it closes the connection, which the reader then reports.
func (w *wire) write(ctx context.Context) {
	defer w.conn.Close()
	for {
		var frame []byte
		select {
		case frame = <-w.out:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			w.flush(frame)
			return
		}
		limited, cancel := context.WithTimeout(ctx, silence)
		err := w.conn.Write(limited, frame)
		cancel()
		if err != nil {
			return
		}
	}
}

// flush sends frame, if there is one, and what was queued before the end, so that a Leave is not lost to its own close.
func (w *wire) flush(frame []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), 250*time.Millisecond)
	defer cancel()
	for {
		if frame != nil && w.conn.Write(ctx, frame) != nil {
			return
		}
		select {
		case frame = <-w.out:
		default:
			return
		}
	}
}

// send queues a message. It reports errFull where a healthy connection never is.
func (w *wire) send(m signal.Message) error {
	select {
	case w.out <- signal.Encode(m):
		return nil
	default:
		return errFull
	}
}

func (w *wire) close() { w.cancel() }

// Pace of reconnecting. The first tries come fast, so that all legs are back within seconds after a server restarted; the
// later ones spare a server that is away for long.
const (
	silence   = 6 * time.Second
	pingEvery = 2 * time.Second
	dialLimit = 5 * time.Second
)

var tries = [...]time.Duration{
	50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond,
}

// pause returns how long to wait before the next dial after so many failed ones; jitter lies in [0, 1).
func pause(failed int, jitter float64) time.Duration {
	d := 5 * time.Second
	switch {
	case failed < len(tries):
		d = tries[failed]
	case failed < 60: // about the minute for which the server keeps a place
		d = time.Second
	}
	return time.Duration(float64(d) * (0.8 + 0.4*jitter))
}
