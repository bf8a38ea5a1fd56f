package admission

import (
	"fmt"
	"strings"
	"testing"

	"conclave"
)

func TestThePaletteCanBeReadAndToldApart(t *testing.T) {
	for i, p := range palette {
		if c := p.value.contrast(); c < leastContrast {
			t.Errorf("white on %s has a contrast of %.2f", p.name, c)
		}
		for _, q := range palette[:i] {
			if d := p.value.apart(q.value); d < leastApart*1.25 {
				t.Errorf("%s and %s are %.0f apart", p.name, q.name, d)
			}
		}
	}
	// The figure's own check: black has 21 to 1, white 1, and the house's blue what other tools say.
	for c, want := range map[rgb]string{{}: "21.00", {255, 255, 255}: "1.00", {0x76, 0x76, 0x76}: "4.54"} {
		if got := fmt.Sprintf("%.2f", c.contrast()); got != want {
			t.Errorf("%v: %s, want %s", c, got, want)
		}
	}
}

func TestFiveLevelsLookLikeFive(t *testing.T) {
	var levels Levels
	for i := range 8 {
		levels = append(levels, LevelWords{Name: fmt.Sprintf("L%d", i)})
	}
	if err := levels.Check(); err != nil {
		t.Fatal(err)
	}
	seen := map[Colour]bool{}
	for i := range levels {
		seen[levels.Banner(conclave.Level(i)).Colour] = true
	}
	if len(seen) != 8 || seen[""] {
		t.Errorf("8 levels have the colours %v", seen)
	}
	if err := append(levels, LevelWords{Name: "L8"}).Check(); err == nil || !strings.Contains(err.Error(), "9th") {
		t.Errorf("a ninth without a colour: %v", err)
	}
	if err := append(levels, LevelWords{Name: "L8", Banner: Banner{Colour: "#005f8c"}}).Check(); err != nil {
		t.Errorf("a ninth with one: %v", err)
	}
	if b := levels.Banner(20); b.Colour != "" {
		t.Errorf("a level that does not exist is marked %v", b)
	}
}

func TestABannerThatCannotBeReadOrToldApartIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		level LevelWords
		says  string
	}{
		"too light":             {LevelWords{Banner: Banner{Colour: "#f2be62"}}, "contrast of 1.7 to 1"},
		"that of the one below": {LevelWords{Banner: Banner{Colour: "slate"}}, "look alike"},
		"nearly that":           {LevelWords{Banner: Banner{Colour: "#4c5850"}}, "look alike"},
		"no colour":             {LevelWords{Banner: Banner{Colour: "mauve"}}, "is no colour"},
		"half a colour":         {LevelWords{Banner: Banner{Colour: "#fff"}}, "is no colour"},
		"a sign":                {LevelWords{Banner: Banner{Colour: "#"}}, "is no colour"},
		"another language":      {LevelWords{Banner: Banner{Words: map[string]string{"it": "x"}}}, "de, en and fr"},
		"words without end":     {LevelWords{Banner: Banner{Words: map[string]string{"de": strings.Repeat("x", 121)}}}, "1 to 120"},
		"no words":              {LevelWords{Words: map[string]string{"de": ""}}, "1 to 80"},
	} {
		t.Run(name, func(t *testing.T) {
			c.level.Name = "HIGH"
			if err := (Levels{{Name: "LOW"}, c.level}).Check(); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}
