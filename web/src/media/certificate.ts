// The certificate of this page's media paths. It is one for all of them: a fresh assertion of a join names its fingerprint
// before there is a path, and a broken path is replaced under the same.

import { base64 } from "../core/text";
import { readFingerprint } from "./offer";

let made: Promise<RTCCertificate> | undefined;

export function certificate(): Promise<RTCCertificate> {
  made ??= RTCPeerConnection.generateCertificate({ name: "ECDSA", namedCurve: "P-256" } as AlgorithmIdentifier);
  return made;
}

/** SHA-256 of the certificate, in base64; read from an offer, since not all browsers tell it otherwise. */
export async function fingerprint(): Promise<string> {
  const connection = new RTCPeerConnection({ certificates: [await certificate()] });
  try {
    connection.createDataChannel("");
    const { sdp = "" } = await connection.createOffer();
    return base64(new Uint8Array(readFingerprint(sdp.split(/\r?\n/))));
  } finally {
    connection.close();
  }
}
