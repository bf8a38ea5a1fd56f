// A member of MLS groups, played by ts-mls, for the tests of our own implementation. It reads one JSON command a line from
// standard input and answers each with one JSON line: {"ok":{…}} or {"error":"…"}. Byte strings are hexadecimal. Groups
// are kept by the caller's names; a commit made here takes effect with "merge".
import { createInterface } from "node:readline";
import {
  acceptAll, createApplicationMessage, createCommit, createGroup, createProposal,
  decodeMlsMessage, defaultCapabilities, defaultCryptoProvider, defaultKeyPackageEqualityConfig, defaultKeyRetentionConfig, defaultLifetimeConfig,
  defaultPaddingConfig, emptyPskIndex, encodeMlsMessage, generateKeyPackageWithKey,
  getCiphersuiteFromName, getCiphersuiteImpl, joinGroup, joinGroupExternal, makePskIndex, mlsExporter,
  processPrivateMessage, processPublicMessage,
} from "ts-mls";
import { createGroupInfo } from "ts-mls/createCommit.js";
import { ratchetTreeEncoder } from "ts-mls/ratchetTree.js";
import { encode } from "ts-mls/codec/tlsEncoder.js";
import { p256, p384 } from "@noble/curves/nist.js";

const suites = {
  1: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
  2: "MLS_128_DHKEMP256_AES128GCM_SHA256_P256",
  7: "MLS_256_DHKEMP384_AES256GCM_SHA384_P384",
};

const hex = (b) => Buffer.from(b).toString("hex");
const bytes = (s) => new Uint8Array(Buffer.from(s, "hex"));
const wrap = (wireformat, field, value) => hex(encodeMlsMessage({ version: "mls10", wireformat, [field]: value }));

function unwrap(message, wireformat) {
  const decoded = decodeMlsMessage(bytes(message), 0);
  if (decoded === undefined) throw new Error("does not decode");
  const [m, read] = decoded;
  if (read !== message.length / 2) throw new Error("trailing bytes");
  if (wireformat !== undefined && m.wireformat !== wireformat) throw new Error(`is a ${m.wireformat}`);
  return m;
}

// The credentials of these tests are names; the default service accepts any, and lifetimes are not what is tested.
const config = {
  keyRetentionConfig: defaultKeyRetentionConfig,
  lifetimeConfig: defaultLifetimeConfig,
  keyPackageEqualityConfig: defaultKeyPackageEqualityConfig,
  paddingConfig: defaultPaddingConfig,
  authService: { validateCredential: async () => true },
};
const lifetime = () => {
  const now = BigInt(Math.floor(Date.now() / 1000));
  return { notBefore: now - 3600n, notAfter: now + 86400n };
};

// Where ts-mls 1.6.4 differs from RFC 9420, this script puts it right at the edge:
// - signature keys of the NIST curves are uncompressed points (Section 5.1.1); ts-mls makes compressed ones;
// - the external_pub extension holds an HPKEPublicKey, a vector with its length (Section 12.4.3.2); ts-mls reads and
//   writes the bare key.
const curves = { 2: p256, 7: p384 };

async function makeSignatureKey() {
  const curve = curves[suite];
  if (curve === undefined) return impl.signature.keygen();
  const signKey = curve.utils.randomSecretKey();
  return { signKey, publicKey: curve.getPublicKey(signKey, false) };
}

// A member keeps its signature key: by it ts-mls finds the own old leaf when it joins anew.
async function signatureKey(name) {
  if (!signatureKeys.has(name)) signatureKeys.set(name, await makeSignatureKey());
  return signatureKeys.get(name);
}

// vector is RFC 9420's variable-size vector for the sizes that occur here (Section 2.1.2).
const vector = (b) => Uint8Array.from(b.length < 64 ? [b.length, ...b] : [0x40 | (b.length >> 8), b.length & 255, ...b]);

function acceptVectors(made) {
  const size = { 1: 32, 2: 65, 7: 97 }[suite];
  const importPublicKey = made.hpke.importPublicKey;
  return { ...made, hpke: { ...made.hpke,
    importPublicKey: (k) => importPublicKey(k.length > size ? k.slice(k.length - size) : k) } };
}

let suite;
let impl;
const signatureKeys = new Map();
const packages = new Map(); // name -> {publicPackage, privatePackage}
const groups = new Map(); // name -> state
const pending = new Map(); // name -> state after the commit that was made last

const group = (name) => {
  const state = groups.get(name);
  if (state === undefined) throw new Error(`no group ${name}`);
  return state;
};

const commands = {
  async suite({ suite: wanted }) {
    suite = wanted;
    impl = acceptVectors(await getCiphersuiteImpl(getCiphersuiteFromName(suites[suite]), defaultCryptoProvider));
    signatureKeys.clear();
    packages.clear();
    groups.clear();
    pending.clear();
    return {};
  },
  async keyPackage({ name }) {
    const credential = { credentialType: "basic", identity: new TextEncoder().encode(name) };
    const made = await generateKeyPackageWithKey(
      credential, defaultCapabilities(), lifetime(), [], await signatureKey(name), impl);
    packages.set(name, made);
    return { keyPackage: wrap("mls_key_package", "keyPackage", made.publicPackage) };
  },
  async create({ name, group: id }) {
    const { publicPackage, privatePackage } = packages.get(name);
    groups.set(name, await createGroup(bytes(id), publicPackage, privatePackage, [], impl, config));
    return {};
  },
  async welcome({ name, welcome }) {
    const { publicPackage, privatePackage } = packages.get(name);
    const m = unwrap(welcome, "mls_welcome");
    const state = await joinGroup(m.welcome, publicPackage, privatePackage, emptyPskIndex, impl, undefined, undefined, config);
    groups.set(name, state);
    return {};
  },
  async groupInfo({ name }) {
    const s = group(name);
    const { publicKey } = await impl.hpke.deriveKeyPair(s.keySchedule.externalSecret);
    const info = await createGroupInfo(s.groupContext, s.confirmationTag, s, [
      { extensionType: "external_pub", extensionData: vector(await impl.hpke.exportPublicKey(publicKey)) },
      { extensionType: "ratchet_tree", extensionData: encode(ratchetTreeEncoder)(s.ratchetTree) },
    ], impl);
    return { groupInfo: wrap("mls_group_info", "groupInfo", info) };
  },
  async external({ name, groupInfo, resync }) {
    const { publicPackage, privatePackage } = packages.get(name);
    const m = unwrap(groupInfo, "mls_group_info");
    const { publicMessage, newState } = await joinGroupExternal(
      m.groupInfo, publicPackage, privatePackage, resync === true, impl, undefined, config);
    pending.set(name, newState);
    return { commit: wrap("mls_public_message", "publicMessage", publicMessage) };
  },
  async propose({ name, remove, add, psk, publicly }) {
    const proposal = remove !== undefined ? { proposalType: "remove", remove: { removed: remove } } :
      psk !== undefined ? pskProposal(psk) : addProposal(add);
    const made = await createProposal(group(name), publicly, proposal, impl);
    groups.set(name, made.newState);
    return { message: hex(encodeMlsMessage(made.message)) };
  },
  async commit({ name, add = [], remove = [], psk = [], psks = {}, publicly }) {
    const extraProposals = [
      ...add.map(addProposal),
      ...remove.map((removed) => ({ proposalType: "remove", remove: { removed } })),
      ...psk.map(pskProposal),
    ];
    const state = group(name);
    const made = await createCommit({ state, cipherSuite: impl, pskIndex: index(state, psks) },
      { wireAsPublicMessage: publicly, extraProposals, ratchetTreeExtension: true });
    pending.set(name, made.newState);
    return {
      commit: hex(encodeMlsMessage(made.commit)),
      welcome: made.welcome === undefined ? "" : wrap("mls_welcome", "welcome", made.welcome),
    };
  },
  async merge({ name }) {
    groups.set(name, pending.get(name));
    pending.delete(name);
    return {};
  },
  async drop({ name }) {
    pending.delete(name);
    return {};
  },
  async process({ name, message, psks = {} }) {
    pending.delete(name);
    const state = group(name);
    const m = unwrap(message);
    // processMessage would not look pre-shared keys up for private messages.
    const result = m.wireformat === "mls_public_message"
      ? await processPublicMessage(state, m.publicMessage, index(state, psks), impl, acceptAll)
      : await processPrivateMessage(state, m.privateMessage, index(state, psks), impl, acceptAll);
    groups.set(name, result.newState);
    return result.kind === "applicationMessage" ? { data: hex(result.message) } : {};
  },
  async send({ name, data }) {
    const made = await createApplicationMessage(group(name), bytes(data), impl);
    groups.set(name, made.newState);
    return { message: wrap("mls_private_message", "privateMessage", made.privateMessage) };
  },
  async state({ name }) {
    const s = group(name);
    return {
      epoch: Number(s.groupContext.epoch),
      authenticator: hex(s.keySchedule.epochAuthenticator),
      treeHash: hex(s.groupContext.treeHash),
      leaf: s.privatePath.leafIndex,
      active: s.groupActiveState.kind === "active",
    };
  },
  async export({ name, label, context, length }) {
    return { secret: hex(await mlsExporter(group(name).keySchedule.exporterSecret, label, bytes(context), length, impl)) };
  },
};

function addProposal(keyPackage) {
  return { proposalType: "add", add: { keyPackage: unwrap(keyPackage, "mls_key_package").keyPackage } };
}

function pskProposal({ id, nonce }) {
  return { proposalType: "psk", psk: { preSharedKeyId: { psktype: "external", pskId: bytes(id), pskNonce: bytes(nonce) } } };
}

function index(state, psks) {
  return makePskIndex(state, Object.fromEntries(
    Object.entries(psks).map(([id, secret]) => [Buffer.from(id, "hex").toString("base64"), bytes(secret)])));
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const { do: verb, ...args } = JSON.parse(line);
    answer = { ok: await commands[verb](args) };
  } catch (e) {
    answer = { error: `${e.name}: ${e.message}` };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
