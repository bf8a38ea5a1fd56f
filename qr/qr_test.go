package qr

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"image"
	"image/color"
	"os"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// picture is a code as a camera sees it, four pixels a module.
func picture(dark func(x, y int) bool, size int) image.Image {
	const pixel = 4
	side := (size + 2*quiet) * pixel
	img := image.NewGray(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			img.SetGray(x, y, color.Gray{Y: 255})
			if dark(x/pixel-quiet, y/pixel-quiet) {
				img.SetGray(x, y, color.Gray{})
			}
		}
	}
	return img
}

// read has a decoder that nobody here wrote read a picture.
func read(t *testing.T, img image.Image) string {
	t.Helper()
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		t.Fatal(err)
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
	if err != nil {
		t.Fatalf("not read: %v", err)
	}
	return result.GetText()
}

func TestAnotherDecoderReadsEveryVersion(t *testing.T) {
	// The first and the last text of a version differ most in how they are filled up.
	capacity := func(version int) int { return (8*dataWords(version) - 4 - lengthBits(version)) / 8 }
	if got := capacity(lastVersion); got != MaxText {
		t.Errorf("the last version holds %d bytes", got)
	}
	for version := 1; version <= lastVersion; version++ {
		lengths := []int{capacity(version)}
		if version > 1 {
			lengths = append(lengths, capacity(version-1)+1)
		}
		for _, n := range lengths {
			text := strings.Repeat("https://conf.ministry.example/m/Ab-_9#e=", 20)[:n]
			c, err := Encode(text)
			if err != nil || c.Size() != 17+4*version {
				t.Fatalf("%d bytes: %v", n, err)
			}
			if got := read(t, picture(c.Dark, c.Size())); got != text {
				t.Errorf("%d bytes at version %d come back as %q", n, version, got)
			}
		}
	}
	if _, err := Encode(strings.Repeat("x", MaxText+1)); err == nil {
		t.Error("a text that is too long has a code")
	}
}

func TestABlotIsForgiven(t *testing.T) {
	const link = "https://conf.ministry.example/m/AAAAAAAAAAAAAAAAAAAAAA#e=BBBBBBBBBBBBBBBBBBBBBB&r=CCCCCCCCCCCCCCCCCCCCCC"
	c, err := Encode(link)
	if err != nil {
		t.Fatal(err)
	}
	blot := func(x, y int) bool { return c.Dark(x, y) != (x >= 20 && x < 25 && y >= 20 && y < 25) }
	if got := read(t, picture(blot, c.Size())); got != link {
		t.Errorf("read %q", got)
	}
}

func TestTheTerminalShowsTheCodeDarkOnLightWithItsMargin(t *testing.T) {
	const text = "https://conf.ministry.example/m/AAAAAAAAAAAAAAAAAAAAAA"
	c, err := Encode(text)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(c.Terminal(), "\n"), "\n")
	dark := func(x, y int) bool {
		x, y = x+quiet, y+quiet
		if x < 0 || y < 0 || y/2 >= len(lines) {
			return false
		}
		line := []rune(strings.TrimSuffix(strings.TrimPrefix(lines[y/2], "\x1b[30;107m"), "\x1b[0m"))
		if len(line) != c.Size()+2*quiet {
			t.Fatalf("a line has %d characters", len(line))
		}
		if x >= len(line) {
			return false
		}
		return line[x] == '█' || line[x] == '▀' && y%2 == 0 || line[x] == '▄' && y%2 == 1
	}
	if got := read(t, picture(dark, c.Size())); got != text {
		t.Errorf("read %q", got)
	}
}

func FuzzEveryTextThatFitsIsReadBack(f *testing.F) {
	f.Add("https://x.example/m/A#e=B&r=C")
	f.Add("")
	f.Add("ä€\x00")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Encode(text)
		if (err != nil) != (len(text) > MaxText) {
			t.Fatalf("%d bytes: %v", len(text), err)
		}
		if err == nil && c.Size() != 17+4*((c.Size()-17)/4) {
			t.Errorf("size %d", c.Size())
		}
	})
}

var update = flag.Bool("update", false, "write testdata/codes.json anew")

// The page draws codes too, by itself (web/src/qr); both are held to the same ones.
func TestThePageDrawsTheSameCodes(t *testing.T) {
	type drawn struct {
		Text string `json:"text"`
		Sum  string `json:"sum"` // SHA-256 over the rows, "1" for dark, a line each
	}
	var want []drawn
	for _, n := range []int{0, 1, 14, 15, 60, 110, 150, 180, 213, 300, MaxText} {
		d := drawn{Text: strings.Repeat("https://conf.ministry.example/m/Ab-_9#e=", 20)[:n]}
		c, err := Encode(d.Text)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		for y := range c.Size() {
			for x := range c.Size() {
				if c.Dark(x, y) {
					h.Write([]byte("1"))
				} else {
					h.Write([]byte("0"))
				}
			}
			h.Write([]byte("\n"))
		}
		d.Sum = hex.EncodeToString(h.Sum(nil))
		want = append(want, d)
	}
	b, err := json.MarshalIndent(want, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/codes.json"
	if *update {
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if kept, err := os.ReadFile(file); err != nil || string(kept) != string(b)+"\n" {
		t.Errorf("%s holds other codes (%v): go test ./qr -update", file, err)
	}
}
