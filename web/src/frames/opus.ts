// One size for all Opus packets of a stream. Chromium is told to encode at a constant bit rate, and does; Firefox 153 does
// not, and sends silence in 3 bytes: whoever counts bytes would see when somebody speaks or is muted. Padding is Opus'
// own (RFC 6716, Section 3.2.5), so every decoder takes it off by itself. It goes on before sealing.

/** What a constant 32 kbit/s makes of 20 ms. An encoder that begins with it is taken to stay with it. */
const constant = 80;
/** Sizes for all other encoders; a stream moves up, never down. Of speech in Firefox, 115 was the longest seen. */
const cells = [128, 256, 512, 1280];

/** Chooses the size of a stream's packets. One for each microphone, however often its stream starts again. */
export class Cell {
  #size = 0;

  /** packet, padded to the stream's size. */
  fit(packet: ArrayBuffer): ArrayBuffer {
    const length = packet.byteLength;
    if (this.#size === 0 && length === constant) this.#size = constant;
    else if (this.#size === 0 || length > this.#size) this.#size = cells.find((size) => size >= length) ?? length;
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
