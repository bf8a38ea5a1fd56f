package network

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"
)

// The bounds of a calendar.
const (
	MaxCalendar  = 1 << 20 // bytes
	maxEvents    = 10_000
	maxEventName = 128
)

// Calendar says when where the risk is raised: an air show, a summit, a country for which there is a standing warning.
type Calendar struct {
	sum       [sha256.Size]byte // of the source
	byCountry map[Country][]event
	count     int
}

// event is open at an end whose time is zero.
type event struct {
	from, until time.Time
	name        string
}

// ParseCalendar reads a calendar: a line for each event, its cells divided by "|".
//
//	# country | from       | until      | what
//	SG        | 2026-02-03 | 2026-02-08 | Singapore Airshow
//	XX        |            |            | standing warning
//
// Both days belong to the event, wherever on earth they are counted: it begins with the first clock that shows the first day
// and ends with the last that shows the last. An empty day leaves that end open. The error names the line of the first
// mistake.
func ParseCalendar(source []byte) (*Calendar, error) {
	if len(source) > MaxCalendar {
		return nil, fmt.Errorf("network: parse calendar: over %d bytes", MaxCalendar)
	}
	c := &Calendar{sum: sha256.Sum256(source), byCountry: map[Country][]event{}}
	number := 0
	for text := range strings.Lines(string(source)) {
		number++
		text = strings.TrimSpace(text)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if err := c.add(strings.Split(text, "|")); err != nil {
			return nil, fmt.Errorf("network: parse calendar line %d: %w", number, err)
		}
	}
	return c, nil
}

func (c *Calendar) add(cells []string) error {
	if len(cells) != 4 {
		return fmt.Errorf("%d cells; there are four: country | from | until | what", len(cells))
	}
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	country, ok := ParseCountry(cells[0])
	if !ok {
		return fmt.Errorf("%q is no country's code of two letters", cells[0])
	}
	if cells[3] == "" || len(cells[3]) > maxEventName {
		return fmt.Errorf("an event needs words of at most %d bytes", maxEventName)
	}
	from, until, err := ParseDays(cells[1], cells[2])
	if err != nil {
		return err
	}
	if c.count == maxEvents {
		return fmt.Errorf("over %d events", maxEvents)
	}
	c.count++
	c.byCountry[country] = append(c.byCountry[country], event{from, until, cells[3]})
	return nil
}

// The clocks of the earth are at most so far ahead of UTC, and behind it.
const (
	ahead  = 14 * time.Hour
	behind = 12 * time.Hour
)

// ParseDays returns when the first of two days begins and the last one ends, wherever they are counted; an empty text gives
// the zero time.
func ParseDays(first, last string) (from, until time.Time, err error) {
	if first != "" {
		if from, err = time.Parse(time.DateOnly, first); err != nil {
			return from, until, fmt.Errorf("%q is no day such as 2026-02-03", first)
		}
		from = from.Add(-ahead)
	}
	if last != "" {
		if until, err = time.Parse(time.DateOnly, last); err != nil {
			return from, until, fmt.Errorf("%q is no day such as 2026-02-08", last)
		}
		until = until.Add(24*time.Hour + behind)
	}
	if !from.IsZero() && !until.IsZero() && last < first {
		return from, until, fmt.Errorf("it ends on %s, before it begins on %s", last, first)
	}
	return from, until, nil
}

// Raised says whether the risk in a country is raised now, and by what.
func (c *Calendar) Raised(country Country, now time.Time) (what string, raised bool) {
	if c == nil || country == "" {
		return "", false
	}
	for _, e := range c.byCountry[country] {
		if (e.from.IsZero() || !now.Before(e.from)) && (e.until.IsZero() || now.Before(e.until)) {
			return e.name, true
		}
	}
	return "", false
}

// Len returns how many events there are.
func (c *Calendar) Len() int {
	if c == nil {
		return 0
	}
	return c.count
}
