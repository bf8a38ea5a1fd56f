// The few functions that package opus calls. One instance of the module is one encoder: its state and its buffers are
// static, so nothing is ever allocated.
#include <opus.h>

#define EXPORT(name) __attribute__((export_name(name)))

enum { max_samples = 960, max_bytes = 1276, state_size = 65536 };

static _Alignas(16) unsigned char state[state_size];
static opus_int16 pcm[max_samples];
static unsigned char packet[max_bytes];

EXPORT("pcm") opus_int16 *conclave_pcm(void) { return pcm; }
EXPORT("packet") unsigned char *conclave_packet(void) { return packet; }

// transform: without SILK, whatever is said. Returns OPUS_OK or an error of libopus.
EXPORT("init") int conclave_init(opus_int32 bitrate, opus_int32 complexity, opus_int32 transform) {
	OpusEncoder *encoder = (OpusEncoder *)state;
	if (opus_encoder_get_size(1) > state_size)
		return OPUS_ALLOC_FAIL;
	int e = opus_encoder_init(encoder, 48000, 1, transform ? OPUS_APPLICATION_RESTRICTED_LOWDELAY : OPUS_APPLICATION_VOIP);
	if (e == OPUS_OK) e = opus_encoder_ctl(encoder, OPUS_SET_BITRATE(bitrate));
	if (e == OPUS_OK) e = opus_encoder_ctl(encoder, OPUS_SET_VBR(0));
	if (e == OPUS_OK) e = opus_encoder_ctl(encoder, OPUS_SET_DTX(0));
	if (e == OPUS_OK) e = opus_encoder_ctl(encoder, OPUS_SET_COMPLEXITY(complexity));
	if (e == OPUS_OK) e = opus_encoder_ctl(encoder, OPUS_SET_INBAND_FEC(0));
	return e;
}

// Encodes the 960 samples in pcm into packet; returns the number of bytes, or a negative error of libopus.
EXPORT("encode") int conclave_encode(void) {
	return opus_encode((OpusEncoder *)state, pcm, max_samples, packet, max_bytes);
}
