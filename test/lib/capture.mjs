// What passes on a host's line, read at the socket.
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

let captures = 0;

/** Records the UDP packets of host's line, at the server's end of it, until stop. */
export async function startCapture(host) {
  const file = join(host.folder, `${host.name}-${++captures}.pcap`);
  const child = host.server.spawn("tcpdump", ["-i", host.device, "-w", file, "-U", "-s", "256", "--immediate-mode", "-Z", "root", "udp"]);
  child.stdout.resume();
  let printed = "";
  child.stderr.on("data", (d) => (printed += d));
  for (let i = 0; !printed.includes("listening on"); i++) {
    if (i > 100 || child.exitCode !== null) throw new Error(`tcpdump does not start: ${printed}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    async stop() {
      await new Promise((resolve) => setTimeout(resolve, 200));
      child.kill("SIGINT");
      if (child.exitCode === null) await once(child, "exit");
      return existsSync(file) ? packets(readFileSync(file)) : [];
    },
  };
}

/** The UDP packets of a capture file: time in seconds, addresses, length of what UDP carries, and its first bytes. */
export function packets(bytes) {
  const little = bytes.readUInt32LE(0);
  if (little !== 0xa1b2c3d4) throw new Error("not a capture file of this machine");
  const result = [];
  for (let at = 24; at + 16 <= bytes.length; ) {
    const time = bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) / 1e6;
    const kept = bytes.readUInt32LE(at + 8);
    const frame = bytes.subarray(at + 16, at + 16 + kept);
    at += 16 + kept;
    if (frame.length < 42 || frame.readUInt16BE(12) !== 0x0800 || frame[23] !== 17) continue;
    const ip = frame.subarray(14);
    const udp = ip.subarray((ip[0] & 15) * 4);
    result.push({ time, from: [...ip.subarray(12, 16)].join("."), to: [...ip.subarray(16, 20)].join("."), length: udp.readUInt16BE(4) - 8, data: udp.subarray(8) });
  }
  return result;
}

/** Only RTP, not RTCP, with its clear header's fields (RFC 7983, RFC 5761). */
export function rtp(all) {
  return all
    .filter(({ data }) => data.length >= 12 && data[0] >> 6 === 2 && !(data[1] >= 192 && data[1] <= 223))
    .map((p) => ({ ...p, type: p.data[1] & 127, marker: p.data[1] >> 7, sequence: p.data.readUInt16BE(2), timestamp: p.data.readUInt32BE(4), ssrc: p.data.readUInt32BE(8), extension: (p.data[0] & 16) !== 0 }));
}
