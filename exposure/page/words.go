package page

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Languages are those of the pages, by their codes.
var Languages = []string{"de", "en", "fr"}

// words are one language's: sentences by key, with arguments in braces.
type words struct {
	lang    string
	table   map[string]string
	months  [12]string
	decimal string
	zone    *time.Location
}

func newWords(lang string, zone *time.Location) *words {
	w := &words{lang: lang, zone: zone, decimal: "."}
	switch lang {
	case "de":
		w.table, w.months, w.decimal = german, germanMonths, ","
	case "fr":
		w.table, w.months, w.decimal = french, frenchMonths, ","
	default:
		w.lang, w.table, w.months = "en", english, englishMonths
	}
	if w.zone == nil {
		w.zone = time.UTC
	}
	return w
}

// say returns a sentence; args are pairs of name and value. A key without words is a slip of ours, and is shown.
func (w *words) say(key string, args ...string) string {
	text, ok := w.table[key]
	if !ok {
		return key
	}
	for i := 0; i+1 < len(args); i += 2 {
		text = strings.ReplaceAll(text, "{"+args[i]+"}", args[i+1])
	}
	return text
}

// has says whether there are words for a key.
func (w *words) has(key string) bool { _, ok := w.table[key]; return ok }

// first words a code by the first of the tables that has it; what has no words is shown as it came.
func (w *words) first(code string, tables ...string) string {
	for _, table := range tables {
		if w.has(table + code) {
			return w.say(table + code)
		}
	}
	return code
}

// value words what a fact says; what has no words is shown as it came.
func (w *words) value(v string) string {
	return w.first(v, "value_")
}

// count chooses between the words for one and for many, and puts the number in.
func (w *words) count(key string, n int, args ...string) string {
	if n == 1 {
		key += "_one"
	}
	return w.say(key, append(args, "n", w.number(int64(n)))...)
}

// number groups digits by three, with a thin space that does not break.
func (w *words) number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// long is a span of time as people say it.
func (w *words) long(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		places := 1
		if d < time.Second {
			places = 2
		}
		return strings.Replace(strconv.FormatFloat(d.Seconds(), 'f', places, 64), ".", w.decimal, 1) + "\u00a0s"
	case d < time.Minute:
		return fmt.Sprintf("%.0f\u00a0s", d.Seconds())
	case d < time.Hour:
		d = d.Round(time.Second)
		if d%time.Minute == 0 {
			return fmt.Sprintf("%d\u00a0min", d/time.Minute)
		}
		return fmt.Sprintf("%d\u00a0min %d\u00a0s", d/time.Minute, d%time.Minute/time.Second)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%d\u00a0h %02d\u00a0min", d/time.Hour, d%time.Hour/time.Minute)
}

func (w *words) ms(ms int64) string { return w.long(time.Duration(ms) * time.Millisecond) }

// date is a day with its year.
func (w *words) date(t time.Time) string {
	t = t.In(w.zone)
	day := strconv.Itoa(t.Day())
	if w.lang == "de" {
		day += "."
	}
	return day + "\u00a0" + w.months[t.Month()-1] + "\u00a0" + strconv.Itoa(t.Year())
}

func (w *words) clock(t time.Time) string  { return t.In(w.zone).Format("15:04:05") }
func (w *words) minute(t time.Time) string { return t.In(w.zone).Format("15:04") }
func (w *words) precise(t time.Time) string {
	return strings.Replace(t.In(w.zone).Format("15:04:05.00"), ".", w.decimal, 1)
}

// zoneName names the zone of all times on a page, with its distance from UTC.
func (w *words) zoneName(t time.Time) string {
	name, offset := t.In(w.zone).Zone()
	if offset == 0 {
		return "UTC"
	}
	sign := "+"
	if offset < 0 {
		sign, offset = "−", -offset
	}
	text := fmt.Sprintf("UTC%s%d", sign, offset/3600)
	if offset%3600 != 0 {
		text += fmt.Sprintf(":%02d", offset%3600/60)
	}
	if strings.ContainsAny(name, "+-0123456789") || name == "" {
		return text
	}
	return name + ", " + text
}

// list joins words as the language does.
func (w *words) list(items []string) string {
	switch n := len(items); n {
	case 0:
		return ""
	case 1:
		return items[0]
	default:
		return strings.Join(items[:n-1], ", ") + " " + w.say("and") + " " + items[n-1]
	}
}

var (
	englishMonths = [12]string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"}
	germanMonths  = [12]string{"Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"}
	frenchMonths  = [12]string{"janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"}
)
