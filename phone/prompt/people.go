package prompt

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"conclave/phone/dsp"
)

// People are recordings of people's names, which a room hears when a phone comes in: <person>.wav in one folder, in the form of
// an operator's sentences. The operator keeps them; who speaks a name, the person or a colleague, is the organisation's affair.
// That the name is right rests on the operator, as all that a gateway says does: the list that everybody sees is verified.
type People struct {
	folder fs.FS
}

// MaxName bounds a name, so that nobody talks over a meeting.
const MaxName = 4 * time.Second

// LoadPeople looks through a folder. All that is wrong is said in one error, which wraps ErrRecording: the room must not be the
// first to find out. Files that come later are looked at when they are needed.
func LoadPeople(folder fs.FS) (*People, error) {
	n := &People{folder}
	files, err := fs.Glob(folder, "*.wav")
	if err != nil {
		return nil, fmt.Errorf("prompt: names: %v", err)
	}
	if _, err := fs.Stat(folder, "."); err != nil {
		return nil, fmt.Errorf("prompt: names: %v", err)
	}
	var wrong []error
	for _, name := range files {
		if _, err := n.read(name); err != nil {
			wrong = append(wrong, err)
		}
	}
	return n, errors.Join(wrong...)
}

func (n *People) read(name string) ([]int16, error) {
	samples, err := readFile(n.folder, name)
	if length := time.Duration(len(samples)) * time.Second / Rate; err == nil && length > MaxName {
		err = fmt.Errorf("%w: %s: %v long, a name has at most %v", ErrRecording, name, length.Round(time.Millisecond), MaxName)
	}
	return samples, err
}

// Source returns a person's name from its beginning. Nil where there is no recording of it, or none that can be used (with an
// error then); so it is for a nil n.
func (n *People) Source(person string) (dsp.Source, error) {
	name := person + ".wav"
	if n == nil || person == "" || !fs.ValidPath(name) || path.Base(name) != name {
		return nil, nil
	}
	if _, err := fs.Stat(n.folder, name); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	samples, err := n.read(name)
	if err != nil {
		return nil, err
	}
	return &linear{rest: samples, up: dsp.NewUpsampler(Rate)}, nil
}
