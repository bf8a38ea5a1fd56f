package main

import "conclave/watermark"

// attack is something that is done to a recording.
type attack struct {
	name    string
	step    step
	pieces  int // the clip is put together from so many; 0: one
	seconds int // or from as many as it takes, of this length
	guilty  int // legs in it; 0: one
	// stretched: its speed, tempo or pitch is changed.
	stretched bool
}

// apply returns 16-kHz sound.
func (a attack) apply(one, two []float32) ([]float32, error) {
	sound := one
	if a.guilty == 2 {
		sound = make([]float32, len(one))
		for i := range sound {
			sound[i] = (one[i] + two[i]) / 2
		}
	}
	out, err := a.step(sound)
	if err != nil {
		return nil, err
	}
	return out[:len(out)/watermark.Rate*watermark.Rate], nil
}

var (
	plain   = through("wav", "-c:a", "pcm_s16le")
	mp3     = func(rate string) step { return through("mp3", "-c:a", "libmp3lame", "-b:a", rate) }
	opus    = func(rate string) step { return through("ogg", "-c:a", "libopus", "-b:a", rate) }
	g711    = []string{"-af", "highpass=f=300,lowpass=f=3400", "-ar", "8000", "-c:a", "pcm_alaw"}
	gsm     = []string{"-ar", "8000", "-c:a", "libgsm"}
	attacks = []attack{
		{name: "none", step: plain},
		{name: "MP3 64k", step: mp3("64k")},
		{name: "MP3 32k", step: mp3("32k")},
		{name: "MP3 16k (16 kHz)", step: through("mp3", "-ar", "16000", "-c:a", "libmp3lame", "-b:a", "16k")},
		{name: "AAC 32k", step: through("m4a", "-c:a", "aac", "-b:a", "32k")},
		{name: "Vorbis q0", step: through("ogg", "-c:a", "libvorbis", "-q:a", "0")},
		{name: "AC-3 64k", step: through("ac3", "-c:a", "ac3", "-b:a", "64k")},
		{name: "WMA 32k", step: through("asf", "-c:a", "wmav2", "-b:a", "32k")},
		{name: "G.726 16k", step: through("wav", "-ar", "8000", "-c:a", "g726", "-b:a", "16k")},
		{name: "Opus 24k", step: opus("24k")},
		{name: "Opus 16k", step: opus("16k")},
		{name: "Opus 8k", step: opus("8k")},
		{name: "Speex 8 kHz", step: through("ogg", "-ar", "8000", "-c:a", "libspeex", "-compression_level", "5")},
		{name: "G.711, telephone band", step: through("wav", g711...)},
		{name: "GSM FR", step: through("gsm", gsm...)},
		{name: "AMR 12.2", step: through("amr")},
		{name: "Codec2 3200", step: through("codec2raw", "-ar", "8000", "-c:a", "libcodec2", "-mode", "3200")},
		{name: "resampled to 8 kHz", step: filtered("aresample=8000,aresample=48000")},
		{name: "a telephone's loudspeaker", step: filtered("highpass=f=500:p=2,lowpass=f=4000:p=2,equalizer=f=1200:t=q:w=1:g=8")},
		{name: "overdriven by 18 dB", step: filtered("volume=18dB")},
		{name: "a tenth of it lost", step: chain(dropouts, plain)},
		{name: "speed +1 %", step: filtered("asetrate=48480,aresample=48000"), stretched: true},
		{name: "speed -1 %", step: filtered("asetrate=47520,aresample=48000"), stretched: true},
		{name: "tempo +1 %, pitch kept", step: filtered("atempo=1.01"), stretched: true},
		{name: "tempo +2 %, pitch kept", step: filtered("atempo=1.02"), stretched: true},
		{name: "pitch +2 %, tempo kept", step: filtered("asetrate=48960,aresample=48000,atempo=0.98039"), stretched: true},
		{name: "speed +4 %", step: filtered("asetrate=49920,aresample=48000"), stretched: true},
		{name: "speed +8 %", step: filtered("asetrate=51840,aresample=48000"), stretched: true},
		{name: "tempo 1.25, pitch kept", step: filtered("atempo=1.25"), stretched: true},
		{name: "white noise 15 dB", step: chain(noise(15, false), plain)},
		{name: "white noise 10 dB", step: chain(noise(10, false), plain)},
		{name: "white noise 5 dB", step: chain(noise(5, false), plain)},
		{name: "pink noise 10 dB", step: chain(noise(10, true), plain)},
		{name: "room, RT60 0.4 s", step: chain(room(0.4), plain)},
		{name: "room, RT60 0.7 s", step: chain(room(0.7), plain)},
		{name: "music 10 dB beneath", step: chain(music(10), plain)},
		{name: "noise reduction (afftdn 20 dB)", step: filtered("afftdn=nr=20")},
		{name: "compressor and loudness", step: filtered("acompressor=threshold=0.05:ratio=6,dynaudnorm")},
		{name: "cut from 4 pieces, MP3 32k", step: mp3("32k"), pieces: 4},
		{name: "cut from pieces of 2 s", step: plain, seconds: 2},
		{name: "two legs averaged", step: plain, guilty: 2},
		{name: "two legs averaged, MP3 32k", step: mp3("32k"), guilty: 2},
		{name: "MP3 64k → Opus 16k", step: chain(by("mp3", "-c:a", "libmp3lame", "-b:a", "64k"), opus("16k"))},
		{name: "room 0.4 s → MP3 32k", step: chain(room(0.4), mp3("32k"))},
		{name: "G.711 → GSM", step: chain(by("wav", g711...), through("gsm", gsm...))},
		{name: "G.711 → AMR 12.2 → MP3 32k", step: chain(by("wav", g711...), by("amr"), mp3("32k"))},
		{name: "speed +1 % → AAC 32k", step: chain(by("wav", "-af", "asetrate=48480,aresample=48000", "-c:a", "pcm_s16le"), through("m4a", "-c:a", "aac", "-b:a", "32k")), stretched: true},
	}
)
