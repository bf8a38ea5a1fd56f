// What this browser keeps of an enrolled device: the leaf key, which cannot be taken out, and what it pinned.

export interface Device {
  /** ECDSA P-256, not extractable. */
  privateKey: CryptoKey;
  /** Uncompressed point. */
  leafKey: Uint8Array<ArrayBuffer>;
  statement: Uint8Array<ArrayBuffer>;
  organisation: { id: string; name: string };
  /** The organisation's Ed25519 root key, pinned when the device was enrolled. */
  root: Uint8Array<ArrayBuffer>;
  /** The passkey that vouches for each statement, and the site that it was made for. */
  passkey?: { id: Uint8Array<ArrayBuffer>; site: string };
  /** The counter of the newest list of withdrawn keys that was shown to this device. */
  withdrawn?: number;
  /** A guest's: the pointer of the one meeting that it is for. */
  guest?: string;
}

const database = "conclave";
const table = "device";
const only = "this";

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(database, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(table);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("core: no database"));
    request.onblocked = () => reject(new Error("core: database blocked"));
  });
}

async function transact<T>(mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const db = await open();
  try {
    return await new Promise<T>((resolve, reject) => {
      const transaction = db.transaction(table, mode, { durability: "strict" });
      const request = act(transaction.objectStore(table));
      // Only now is it kept.
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error ?? new Error("core: not kept"));
    });
  } finally {
    db.close();
  }
}

// A guest's device stands beside the own one, and takes nobody's place.
const place = (guest: string | undefined) => (guest ? `guest ${guest}` : only);

/** The enrolled device, or that of a guest of a meeting; undefined if there is none. */
export const readDevice = (guest?: string) => transact<Device | undefined>("readonly", (store) => store.get(place(guest)));

/** Keeps a device in place of an earlier one. */
export const keepDevice = (device: Device) => transact("readwrite", (store) => store.put(device, place(device.guest)));

const algorithm = { name: "ECDSA", namedCurve: "P-256" } as const;
const signing = { name: "ECDSA", hash: "SHA-256" } as const;

/** A fresh device key. The private half stays with the browser. */
export async function newKey(): Promise<{ privateKey: CryptoKey; leafKey: Uint8Array<ArrayBuffer> }> {
  const pair = await crypto.subtle.generateKey(algorithm, false, ["sign", "verify"]);
  return { privateKey: pair.privateKey, leafKey: new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)) };
}

/** Signs as WebCrypto does: r and s side by side. */
export async function sign(key: CryptoKey, message: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.sign(signing, key, message));
}

export interface Check {
  alg: "P-256" | "Ed25519";
  key: Uint8Array<ArrayBuffer>;
  message: Uint8Array<ArrayBuffer>;
  signature: Uint8Array<ArrayBuffer>;
}

/** Verifies all at once. null stands for one that this browser cannot verify: the core does it itself. */
export function verify(checks: Check[]): Promise<(boolean | null)[]> {
  // A batch has few keys for many signatures: the organisation's.
  const keys = new Map<string, Promise<CryptoKey>>();
  return Promise.all(
    checks.map(async (check) => {
      const name = check.alg + String(check.key);
      let key = keys.get(name);
      if (!key) {
        key = crypto.subtle.importKey("raw", check.key, check.alg === "P-256" ? algorithm : "Ed25519", false, ["verify"]);
        keys.set(name, key);
      }
      let imported: CryptoKey;
      try {
        imported = await key;
      } catch {
        return null; // an algorithm that is missing, or a key that is none: the core tells
      }
      return crypto.subtle.verify(check.alg === "P-256" ? signing : "Ed25519", imported, check.signature, check.message);
    }),
  );
}
