package prompt

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"conclave/phone/dsp"
)

func TestANameIsPlayedWhereOneIsRecorded(t *testing.T) {
	folder := fstest.MapFS{"anna.weber.wav": {Data: wav(Rate, 1, 16, 0.8, 9000)}, "notes.txt": {Data: []byte("x")}, "deep/ben.wav": {Data: wav(Rate, 1, 16, 0.8, 9000)}}
	people, err := LoadPeople(folder)
	if err != nil {
		t.Fatal(err)
	}
	length := func(person string) (frames int) {
		source, err := people.Source(person)
		if err != nil {
			t.Fatal(err)
		}
		if source == nil {
			return -1
		}
		for f := (dsp.Frame{}); source.Next(&f); frames++ {
		}
		return frames
	}
	if got := length("anna.weber"); got != 40 {
		t.Errorf("her name takes %d frames of 20 ms", got)
	}
	for _, person := range []string{"ben", "", "deep/ben", "../anna.weber", "notes.txt", "anna"} {
		if length(person) != -1 {
			t.Errorf("%q has a name", person)
		}
	}
	// One that comes later counts; one that is bad is not played.
	folder["ben.wav"] = &fstest.MapFile{Data: wav(Rate, 1, 16, 1, 9000)}
	if got := length("ben"); got != 50 {
		t.Errorf("his name takes %d frames", got)
	}
	folder["ben.wav"] = &fstest.MapFile{Data: []byte("hello")}
	if source, err := people.Source("ben"); source != nil || !errors.Is(err, ErrRecording) {
		t.Errorf("a damaged name: %v, %v", source, err)
	}
	if source, err := (*People)(nil).Source("anna.weber"); source != nil || err != nil {
		t.Errorf("without a folder: %v, %v", source, err)
	}
}

func TestBadNamesAreSaidAtTheStart(t *testing.T) {
	_, err := LoadPeople(fstest.MapFS{"anna.wav": {Data: wav(Rate, 1, 16, 4.5, 9000)}, "ben.wav": {Data: wav(8000, 1, 16, 1, 9000)}, "carla.wav": {Data: wav(Rate, 1, 16, 1, 9000)}})
	if !errors.Is(err, ErrRecording) || !strings.Contains(err.Error(), "anna.wav") || !strings.Contains(err.Error(), "ben.wav") || strings.Contains(err.Error(), "carla.wav") {
		t.Errorf("error %v", err)
	}
}
