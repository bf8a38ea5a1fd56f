package admission

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"conclave"
)

// Banner is how a level is marked on the screens of its meetings. The level's words stand on it in any case; colour never
// says anything by itself.
type Banner struct {
	Colour Colour            // empty: the palette's, by the level's place
	Words  map[string]string // by language: one sentence more, for instance how what is said may be used; may be nil
}

// Colour is a name of the palette, or "#rrggbb". White text stands on it.
type Colour string

// palette are the colours of levels that name none, by their place. Each is told from each other, also by those who see red
// and green alike, and carries white text (banner_test.go).
var palette = []struct {
	name  Colour
	value rgb
}{
	{"slate", rgb{0x4a, 0x56, 0x51}},
	{"green", rgb{0x1f, 0x6a, 0x5c}},
	{"blue", rgb{0x1c, 0x4a, 0x96}},
	{"red", rgb{0x8a, 0x1f, 0x2b}},
	{"violet", rgb{0x6a, 0x2f, 0x9c}},
	{"brown", rgb{0x6e, 0x4a, 0x12}},
	{"black", rgb{0x14, 0x14, 0x18}},
	{"magenta", rgb{0xa8, 0x1e, 0x74}},
}

// Bounds of a level's words, in bytes of UTF-8.
const (
	maxLevelWord = 80
	maxBanner    = 120
)

// leastContrast is what WCAG 2.2 asks of text of normal size (1.4.3, AA).
const leastContrast = 4.5

// leastApart is how far two levels' colours stand from each other at least (rgb.apart). The nearest two of the palette have
// a quarter more.
const leastApart = 60

// rgb is a colour in sRGB.
type rgb [3]uint8

// Banner returns how a level is marked: its colour as "#rrggbb". A level that does not exist has none.
func (l Levels) Banner(level conclave.Level) Banner {
	if int(level) >= len(l) {
		return Banner{}
	}
	b := l[level].Banner
	if c, err := l.colour(int(level)); err == nil {
		b.Colour = Colour(fmt.Sprintf("#%02x%02x%02x", c[0], c[1], c[2]))
	}
	return b
}

// colour returns the colour of a level.
func (l Levels) colour(i int) (rgb, error) {
	c := l[i].Banner.Colour
	if c == "" {
		if i >= len(palette) {
			return rgb{}, fmt.Errorf("admission: levels: from the %dth on a level needs a banner's colour", len(palette)+1)
		}
		return palette[i].value, nil
	}
	for _, p := range palette {
		if p.name == c {
			return p.value, nil
		}
	}
	digits, ok := strings.CutPrefix(string(c), "#")
	n, err := strconv.ParseUint(digits, 16, 24)
	if !ok || len(digits) != 6 || err != nil {
		return rgb{}, fmt.Errorf("admission: levels: %q is no colour: a name of the palette, or #rrggbb", c)
	}
	return rgb{uint8(n >> 16), uint8(n >> 8), uint8(n)}, nil
}

// checkBanners refuses what could not be read, or taken for another level.
func (l Levels) checkBanners() error {
	var before []rgb
	for i := range l {
		for _, texts := range []struct {
			words map[string]string
			most  int
		}{{l[i].Words, maxLevelWord}, {l[i].Banner.Words, maxBanner}} {
			for language, text := range texts.words {
				if language != "de" && language != "en" && language != "fr" {
					return fmt.Errorf("admission: levels: words are in de, en and fr, not in %q", language)
				}
				if text == "" || len(text) > texts.most {
					return fmt.Errorf("admission: levels: words have 1 to %d bytes", texts.most)
				}
			}
		}
		c, err := l.colour(i)
		if err != nil {
			return err
		}
		if contrast := c.contrast(); contrast < leastContrast {
			return fmt.Errorf("admission: levels: the words of %q could not be read: white on its colour has a contrast of %.1f to 1, and needs %.1f", l[i].Name, contrast, leastContrast)
		}
		for j, other := range before {
			if c.apart(other) < leastApart {
				return fmt.Errorf("admission: levels: the banners of %q and %q look alike", l[j].Name, l[i].Name)
			}
		}
		before = append(before, c)
	}
	return nil
}

// contrast is that of white text on c (WCAG 2.2, contrast ratio).
func (c rgb) contrast() float64 {
	linear := func(v uint8) float64 {
		s := float64(v) / 255
		if s <= 0.04045 {
			return s / 12.92
		}
		return math.Pow((s+0.055)/1.055, 2.4)
	}
	return 1.05 / (0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2]) + 0.05)
}

// apart is about how different two colours look: the weighted distance known as "redmean", 0 to 765.
func (c rgb) apart(d rgb) float64 {
	red := (float64(c[0]) + float64(d[0])) / 2
	r, g, b := float64(c[0])-float64(d[0]), float64(c[1])-float64(d[1]), float64(c[2])-float64(d[2])
	return math.Sqrt((2+red/256)*r*r + 4*g*g + (2+(255-red)/256)*b*b)
}
