// The page's view of the core worker and of the media path: interfaces at our own edge, so that the session's logic runs
// without a browser.

import type { Command, CoreEvent, MediaOffer, MediaServer, MediaWanted, StreamKind } from "../core/events";
import type { Mark } from "../mark/output";
import type { Sample } from "./ownline";

export interface Core {
  /** Hands a command to the core. */
  send(command: Command): void;
  /** Called for each event; set once. */
  onevent: (event: CoreEvent) => void;
}

/** The session's media, behind src/media. */
export interface Media {
  /** Makes a new media path in place of an earlier one. */
  open(wanted: MediaWanted): Promise<MediaOffer>;
  /** SHA-256 of the certificate that all media paths of this page have, in base64. */
  fingerprint(): Promise<string>;
  /** Makes the end of a probe of the path; an earlier one is dropped. */
  probe(): Promise<{ ufrag: string; fingerprint: string }>;
  /** Has the probe go to the server; without a server it is over. */
  probeTo(server?: MediaServer): void;
  /** The server knows this end now. */
  ready(): void;
  /** Ends the path: nothing is sent or heard any longer. */
  close(): void;
  /** Ends the path, but keeps the devices: another may be asked for. */
  suspend(): void;
  /** The room is paused: nothing is sent until it goes on. */
  setHeld(held: boolean): void;
  /** What all that is played is marked with from now on; null: nothing. */
  mark(mark: Mark): void;
  /** Whether the last ruling knew that what is played here carries no mark, and lets this leg hear all the same. */
  setUnmarked(allowed: boolean): void;
  /** A muted microphone goes on sending: sealed silence, at the same rate. */
  setMuted(muted: boolean): void;
  /** Resolves to whether the camera is on now. */
  setCamera(on: boolean): Promise<boolean>;
  /** Resolves to whether a screen is shared now; asks the person which. */
  setScreen(on: boolean): Promise<boolean>;
  /** Whether the room has more microphones than slots: then loudness is told. */
  setCrowded(crowded: boolean): void;
  /** Called when the person ends sharing from the browser's own bar. */
  onscreenend: () => void;
  /** Whose key opens the frames of a slot. */
  onopened: (kind: StreamKind, slot: number, leaf: number) => void;
  /** Sound and picture get through, or do so no longer. */
  onconnected: (connected: boolean) => void;
  /** The path broke, while the core may think all is well: a new one is needed. */
  onbroken: () => void;
  /** How loud each audio slot is (0 to 1, root mean square), ten times a second while the path stands. */
  onlevels: (levels: readonly number[], own: number) => void;
  /** How the last second of the path was. */
  onsample: (sample: Sample) => void;
  /** Frames left this browser that were not sealed, or not all of them: sending has been stopped. */
  onclear: () => void;
}
