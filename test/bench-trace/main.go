// Command bench-trace measures how well marks are traced: which share of clips names the right leg after what has been done to
// the recording, how long a search takes, and what the mark does to speech. It needs ffmpeg and the voices of Debian's
// asterisk-core-sounds-{en,fr,it,ru}-g722. `make bench-trace` runs it; -quick does a small part.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"conclave/watermark"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench-trace:", err)
		os.Exit(1)
	}
}

// bench is what is to be measured.
type bench struct {
	clips, legs, minutes int
	from                 int // the first search of the null run
	attacks              string
	narrow               bool
	state                string        // of a long run
	limit                time.Duration // for a part of it
	enough               float64       // percent
	lengths              []int
	speeds               []int // numbers of legs
	out                  io.Writer
}

func run(ctx context.Context, args []string, out io.Writer) error {
	b := bench{out: out, lengths: []int{5, 10, 20, 30, 60}, speeds: []int{50, 10000}}
	set := flag.NewFlagSet("bench-trace", flag.ContinueOnError)
	set.IntVar(&b.clips, "clips", 20, "clips for each cell")
	set.IntVar(&b.legs, "legs", 1000, "legs among which the right one is looked for")
	set.IntVar(&b.minutes, "minutes", 10, "length of the meeting that clips are cut from")
	set.StringVar(&b.attacks, "only", "", "only attacks whose name contains this, or one of these with | between")
	set.Func("lengths", "of clips in `seconds`, with commas between", func(text string) error {
		b.lengths = nil
		for s := range strings.SplitSeq(text, ",") {
			n, err := strconv.Atoi(s)
			if err != nil || n < 3 || n > 300 {
				return fmt.Errorf("no length: %q", s)
			}
			b.lengths = append(b.lengths, n)
		}
		return nil
	})
	set.Func("speeds", "`numbers` of legs for -parts speed, with commas between; empty: none", func(text string) error {
		b.speeds = nil
		for s := range strings.SplitSeq(text, ",") {
			n, err := strconv.Atoi(s)
			if err != nil && text != "" {
				return err
			}
			if err == nil {
				b.speeds = append(b.speeds, n)
			}
		}
		return nil
	})
	set.BoolVar(&b.narrow, "narrow", false, "search changes of speed beyond 0.2 % only in the rows that have one")
	set.StringVar(&b.state, "state", "", "`file` in which -parts table or null keeps what it counted, to go on later: one file for each")
	set.IntVar(&b.from, "from", 0, "the first search of -parts null: what several machines count, each from another one on, adds up")
	set.DurationVar(&b.limit, "limit", 0, "how long -parts null may run")
	set.Float64Var(&b.enough, "enough", 101, "leave out longer clips of a row in which so many `percent` are named")
	quick := set.Bool("quick", false, "a small part: few clips, few attacks, no long recording")
	parts := set.String("parts", "quality,table,speed,innocent", "what to measure; also null")
	if err := set.Parse(args); err != nil {
		return err
	}
	if *quick {
		b.clips, b.minutes, b.lengths = 4, 3, []int{10, 30}
	}
	var failed []error
	for _, part := range []struct {
		name string
		f    func(context.Context) error
	}{{"quality", b.quality}, {"table", b.table}, {"speed", b.speed}, {"innocent", b.innocent}, {"null", b.null}} {
		if !strings.Contains(*parts, part.name) || *quick && part.name == "speed" {
			continue
		}
		// What cannot be measured on this machine must not hide the rest.
		if err := part.f(ctx); err != nil {
			fmt.Fprintf(out, "\nNot measured: %v\n", err)
			failed = append(failed, fmt.Errorf("%s: %w", part.name, err))
		}
	}
	return errors.Join(failed...)
}

func key(n int) *watermark.Key {
	b := make([]byte, watermark.KeySize)
	r := rand.NewPCG(uint64(n), 77)
	for i := range b {
		b[i] = byte(r.Uint64() >> 40)
	}
	k, err := watermark.NewKey(b)
	if err != nil {
		panic(err)
	}
	return k
}

func syncKey() *watermark.Sync {
	s, err := watermark.NewSync([]byte("bench-trace: an organisation key"))
	if err != nil {
		panic(err)
	}
	return s
}

func suspects(n, seconds int) []watermark.Suspect {
	list := make([]watermark.Suspect, n)
	for i := range list {
		list[i] = watermark.Suspect{Code: key(i).Code(), Tiles: seconds*25/8 + 16}
	}
	return list
}

// marked returns 48-kHz sound as a numbered leg plays it.
func marked(sound []float32, leg int) []float32 {
	e, err := watermark.NewEmbedder(48000, 1, 0, syncKey(), key(leg).Code())
	if err != nil {
		panic(err)
	}
	out := append([]float32(nil), sound...)
	e.Process(out)
	return out
}

// tally counts the clips of a cell.
type tally struct {
	Clips int `json:"clips"`
	Named int `json:"named"`
	OfTen int `json:"of_ten_times_as_many"`
	Top   int `json:"top"`
	Wrong int `json:"wrong"`
}

// tableState is the cells that were counted, by attack and length, so that a long run can go on later.
type tableState map[string]tally

// table prints, for each attack and length, the share of clips that name the right leg.
func (b *bench) table(ctx context.Context) error {
	sound, err := meeting(b.minutes*60, 1, "")
	if err != nil {
		return err
	}
	var chosen []attack
	for _, a := range attacks {
		if slices.ContainsFunc(strings.Split(b.attacks, "|"), func(s string) bool { return strings.Contains(a.name, s) }) {
			chosen = append(chosen, a)
		}
	}
	return b.rows(ctx, chosen, marked(sound, 0), marked(sound, 1))
}

// rows prints the table's rows for two legs' 48-kHz sound. A row that fails says why; the others follow all the same.
func (b *bench) rows(ctx context.Context, list []attack, one, two []float32) error {
	fmt.Fprintf(b.out, "\nShare of clips, in %%, that name the right leg of %d with a bound below 10⁻⁶; (with a bound that would hold for ten times as many legs); [in which the right leg of %d comes first].\n%d clips a cell, from %d minutes of speech.\n",
		b.legs, b.legs, b.clips, b.minutes)
	if b.enough <= 100 {
		fmt.Fprintf(b.out, "Where %g %% were named with the bound for ten times as many legs, longer clips are left out.\n", b.enough)
	}
	if b.narrow {
		fmt.Fprintln(b.out, "Changes of speed beyond 0.2 % were searched only in the rows that have one.")
	}
	fmt.Fprintf(b.out, "\n%-34s", "")
	for _, l := range b.lengths {
		fmt.Fprintf(b.out, "%18s", fmt.Sprintf("%d s", l))
	}
	fmt.Fprintln(b.out)
	wrong, clips := 0, 0
	var failed []error
	state := make(tableState)
	if err := b.kept(&state); err != nil {
		return err
	}
	for _, a := range list {
		fmt.Fprintf(b.out, "%-34s", a.name)
		row, err := b.row(ctx, a, one, two, state)
		for _, t := range row {
			wrong, clips = wrong+t.Wrong, clips+t.Clips
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(b.out, "  not measured: %s", strings.TrimSpace(err.Error()))
			failed = append(failed, fmt.Errorf("%s: %w", a.name, err))
		}
		fmt.Fprintln(b.out)
	}
	fmt.Fprintf(b.out, "\nInnocent legs that were named: %d in %d searches of %d legs.\n", wrong, clips, b.legs)
	return errors.Join(failed...)
}

// row counts and prints the cells of an attack.
func (b *bench) row(ctx context.Context, a attack, one, two []float32, state tableState) (row []tally, err error) {
	var changed []float32
	for _, l := range b.lengths {
		name := fmt.Sprintf("%s|%d s|%d of %d legs", a.name, l, b.clips, b.legs)
		t, ok := state[name]
		if !ok {
			if changed == nil {
				if changed, err = a.apply(one, two); err != nil {
					return row, err
				}
			}
			if t, err = b.cell(ctx, changed, l, a); err != nil {
				return row, err
			}
			state[name] = t
			if err := b.keep(state); err != nil {
				return row, err
			}
		}
		row = append(row, t)
		fmt.Fprintf(b.out, "%18s", fmt.Sprintf("%d (%d) [%d]", 100*t.Named/t.Clips, 100*t.OfTen/t.Clips, 100*t.Top/t.Clips))
		if float64(t.OfTen) >= b.enough/100*float64(t.Clips) {
			break
		}
	}
	return row, nil
}

// cell searches clips of one length.
func (b *bench) cell(ctx context.Context, sound []float32, seconds int, a attack) (tally, error) {
	var t tally
	var mu sync.Mutex
	var wait sync.WaitGroup
	var failed error
	rng := rand.New(rand.NewPCG(uint64(seconds), 5))
	length := seconds * watermark.Rate
	slots := make(chan struct{}, runtime.NumCPU())
	list := suspects(b.legs, b.minutes*60)
	wide := !b.narrow || a.stretched
	for range b.clips {
		pieces := a.pieces
		if a.seconds > 0 {
			pieces = seconds / a.seconds
		}
		clip := b.clip(rng, sound, length, pieces)
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			r, err := watermark.Search{Sync: syncKey(), Suspects: list, Wide: wide, Far: wide, Workers: 1}.Run(ctx, clip)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			t.count(r, a.guilty)
		})
	}
	wait.Wait()
	return t, failed
}

// clip cuts a clip at a random place, or puts it together from pieces.
func (b *bench) clip(rng *rand.Rand, sound []float32, length, pieces int) []float32 {
	pieces = max(1, pieces)
	var out []float32
	for range pieces {
		n := length / pieces
		at := rng.IntN(len(sound) - n)
		out = append(out, sound[at:at+n]...)
	}
	return out
}

// count takes a result into account; guilty legs are 0 up to the number given. A clip counts where all of them are named.
func (t *tally) count(r *watermark.Result, guilty int) {
	guilty = max(1, guilty)
	t.Clips++
	named, ofTen, top := 0, 0, 0
	all := append(append([]watermark.Finding(nil), r.Named...), r.Others...)
	for i, f := range all {
		if f.Suspect >= guilty {
			if i < len(r.Named) {
				t.Wrong++
			}
			continue
		}
		if i < guilty {
			top++
		}
		if i < len(r.Named) {
			named++
			// Ten times as many suspects: ten times the bound.
			if f.LogP+2.302586 < watermark.FalseAccusation {
				ofTen++
			}
		}
	}
	whole := func(n int) int {
		if n == guilty {
			return 1
		}
		return 0
	}
	t.Named, t.OfTen, t.Top = t.Named+whole(named), t.OfTen+whole(ofTen), t.Top+whole(top)
}

// speed searches a recording of 38 minutes, marked and not, among the numbers of legs that are asked for.
func (b *bench) speed(ctx context.Context) error {
	const minutes = 38
	mp3 := through("mp3", "-c:a", "libmp3lame", "-b:a", "32k")
	fmt.Fprintf(b.out, "\nA recording of %d minutes (MP3, 32 kbit/s) on %d cores, marked and not:\n", minutes, min(2, runtime.NumCPU()))
	for _, kind := range []string{"marked", "not marked"} {
		recording, err := b.keptSound(kind, func() ([]float32, error) {
			sound, err := meeting(minutes*60, 2, "")
			if err == nil && kind == "marked" {
				sound = marked(sound, 0)
			}
			if err != nil {
				return nil, err
			}
			return mp3(sound)
		})
		if err != nil {
			return err
		}
		for _, n := range b.speeds {
			began, used := time.Now(), processor()
			r, err := watermark.Search{Sync: syncKey(), Suspects: suspects(n, minutes*60), Wide: true, Far: true, Workers: 2}.Run(ctx, recording)
			if err != nil {
				return err
			}
			fmt.Fprintf(b.out, "  %-10s %6d legs: %5.1f s (%.1f s of processor time), at most %d MB", kind, n, time.Since(began).Seconds(), (processor() - used).Seconds(), memory()>>20)
			for _, f := range r.Named {
				fmt.Fprintf(b.out, ", names leg %d with 10^%.0f", f.Suspect, f.LogP/2.302586)
			}
			fmt.Fprintf(b.out, "; %+v\n", r.Tried)
		}
	}
	return nil
}

// keptSound makes sound, or with -state takes it from where it was kept: what is timed alone need not be made alone.
func (b *bench) keptSound(name string, make func() ([]float32, error)) ([]float32, error) {
	if b.state == "" {
		return make()
	}
	file := b.state + "." + strings.ReplaceAll(name, " ", "-")
	if raw, err := os.ReadFile(file); err == nil {
		return floats(raw), nil
	}
	sound, err := make()
	if err != nil {
		return nil, err
	}
	return sound, os.WriteFile(file, octets(sound), 0o600)
}

// memory is the most that this process has had in memory so far, in bytes.
func memory() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Maxrss * 1024
}

// processor is the processor time that this process has taken: on a busy machine it says more than the clock.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// innocent looks for legs that were not there: in speech without a mark, and in speech with the mark of another.
func (b *bench) innocent(ctx context.Context) error {
	sound, err := meeting(b.minutes*60, 3, "")
	if err != nil {
		return err
	}
	plain, err := through("wav", "-c:a", "pcm_s16le")(sound)
	if err != nil {
		return err
	}
	other, err := through("wav", "-c:a", "pcm_s16le")(marked(sound, 1<<40))
	if err != nil {
		return err
	}
	clips := max(4, b.clips*5)
	fmt.Fprintf(b.out, "\nInnocent legs: %d clips of 10 s each, %d legs each\n", clips, b.legs)
	for _, s := range []struct {
		name  string
		sound []float32
	}{{"no mark", plain}, {"another leg's mark", other}} {
		var below [7]int
		named := 0
		rng := rand.New(rand.NewPCG(9, 9))
		for range clips {
			r, err := watermark.Search{Sync: syncKey(), Suspects: suspects(b.legs, b.minutes*60), Workers: 2}.Run(ctx, b.clip(rng, s.sound, 10*watermark.Rate, 1))
			if err != nil {
				return err
			}
			named += len(r.Named)
			for _, f := range append(r.Named, r.Others...) {
				for k := range below {
					if f.LogP < -float64(k)*2.302586 {
						below[k]++
					}
				}
			}
		}
		fmt.Fprintf(b.out, "  %-20s %d legs looked at, named: %d; bound below 0.1: %d, 0.01: %d, 0.001: %d\n", s.name, clips*b.legs, named, below[1], below[2], below[3])
	}
	return nil
}
