// What the core worker and the frames worker say to each other, over the MessagePort that the page gave to both. Keys of
// frames pass here and nowhere else: the page never sees them.

import type { StreamKind } from "./events";

export type ToFrames =
  /**
   * A new epoch. Import the key as non-extractable, wipe the bytes, and seal under it from now on. `first`: the group is
   * another than before; forget all earlier epochs, and ask for new context ids.
   */
  | { epoch: { epoch: number; leaf: number; key: Uint8Array<ArrayBuffer>; members: number[]; first: boolean } }
  /** Frames of this epoch must not be opened any longer. */
  | { retire: { epoch: number } }
  /** Frames of this leaf must not be opened any longer: its pass has run out. */
  | { bar: { leaf: number } }
  /** Which leaf is in which receiving slot, -1 for none. */
  | { slots: { audio: number[]; camera: number[]; screen: number[]; crowded: boolean } }
  /** The answer to an ask for a context id, 0x800 to 0xFFF, never given twice under one epoch's keys. */
  | { context: { stream: StreamKind; id: number } }
  /** The meeting is over: forget all keys. */
  | { closed: true };

export type FromFrames =
  /** Asks for a context id, once for each start of a sending stream. The answer comes when there are keys. */
  | { context: { stream: StreamKind } }
  /** Who is truly heard or seen in a slot, on change; -1: nobody any longer. */
  | { opened: { kind: StreamKind; slot: number; leaf: number } }
  /** A frame that does not open, or whose sealer is not the leaf in whose slot it came; -1: it names none. */
  | { stranger: { stream: StreamKind; leaf: number } };
