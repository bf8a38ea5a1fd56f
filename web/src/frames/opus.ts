// One size for all Opus packets. Chromium is told to encode at a constant bit rate, and does; Firefox 153 does not, and
// sends silence in 3 bytes: whoever counts bytes would see when somebody speaks or is muted. Padding is Opus' own (RFC
// 6716, Section 3.2.5), so every decoder takes it off by itself. It goes on before sealing.

/** What a constant 32 kbit/s makes of 20 ms: the size of all sound in Conclave. */
const constant = 80;
/** The sizes of a browser whose packets do not fit into that. A microphone moves up, never down. */
const larger = [128, 256, 512, 1280];

/** Too long a packet weighs as much as this many that fit ... */
const weight = 10;
/** ... and this weight is a browser that does not keep the rate: a dozen long ones in a row. */
const limit = 120;

/** Gives the packets of a microphone their size. One for each microphone, however often its stream starts again. */
export class Cell {
  #size = constant;
  #long = 0;

  /**
   * packet, padded to the size. One that is too long is rare at the rate that is asked for (a clap, a whistle); in its place
   * goes a packet without a frame, for which decoders conceal 20 ms: a longer packet, or none, would show on the wire.
   */
  fit(packet: ArrayBuffer): ArrayBuffer {
    if (packet.byteLength <= this.#size) {
      this.#long = Math.max(0, this.#long - 1);
      return pad(packet, this.#size);
    }
    this.#long += weight;
    if (this.#long < limit) return pad(packet.slice(0, 1), this.#size);
    this.#long = 0;
    this.#size = larger.find((size) => size >= packet.byteLength) ?? packet.byteLength;
    return pad(packet, this.#size);
  }
}

/**
 * The same frame in a packet of size bytes: one frame, constant bit rate, padding (code 3). A packet that is no shorter, or
 * not of one frame alone (code 0), stays as it is.
 */
export function pad(packet: ArrayBuffer, size: number): ArrayBuffer {
  const from = new Uint8Array(packet);
  const extra = size - from.length;
  const toc = from[0];
  if (extra <= 0 || toc === undefined || (toc & 3) !== 0) return packet;
  const out = new Uint8Array(size);
  out[0] = toc | 3;
  if (extra === 1) {
    out[1] = 1; // one frame, no padding: the count itself is the byte
    out.set(from.subarray(1), 2);
    return out.buffer;
  }
  out[1] = 0x40 | 1; // one frame, padding
  const rest = extra - 1; // bytes that tell its length, and the padding itself
  const more = Math.floor((rest - 1) / 255); // each says 255: 254 bytes, and another length follows
  out.fill(255, 2, 2 + more);
  out[2 + more] = rest - 1 - 255 * more;
  out.set(from.subarray(1), 3 + more);
  return out.buffer;
}
