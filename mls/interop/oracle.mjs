// A member of MLS groups, played by ts-mls, for the tests of our own implementation. It reads one JSON command a line from
// standard input and answers each with one JSON line: {"ok":{…}} or {"error":"…"}. Byte strings are hexadecimal. Groups
// are kept by the caller's names; a commit made here takes effect with "merge".
import { createInterface } from "node:readline";
import {
  branchGroup, createApplicationMessage, createCommit, createGroup, createProposal,
  decodeMlsMessage, defaultCapabilities, defaultCryptoProvider, defaultKeyPackageEqualityConfig, defaultKeyRetentionConfig, defaultLifetimeConfig,
  defaultPaddingConfig, encodeMlsMessage, generateKeyPackageWithKey,
  getCiphersuiteFromName, getCiphersuiteImpl, joinGroup, joinGroupExternal, joinGroupFromBranch, joinGroupFromReinit,
  makePskIndex, mlsExporter, processPrivateMessage, processPublicMessage, proposeAddExternal, proposeExternal, reinitCreateNewGroup,
} from "ts-mls";
import { getOwnLeafNode } from "ts-mls/clientState.js";
import { createGroupInfo } from "ts-mls/createCommit.js";
import { leafNodeTBSEncoder } from "ts-mls/leafNode.js";
import { signWithLabel } from "ts-mls/crypto/signature.js";
import { decodeRatchetTree, ratchetTreeEncoder } from "ts-mls/ratchetTree.js";
import { extensionEncoder, decodeExtension } from "ts-mls/extension.js";
import { decodeVarLenType, varLenTypeEncoder } from "ts-mls/codec/variableLength.js";
import { encode } from "ts-mls/codec/tlsEncoder.js";
import { p256, p384 } from "@noble/curves/nist.js";

const suites = {
  1: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
  2: "MLS_128_DHKEMP256_AES128GCM_SHA256_P256",
  7: "MLS_256_DHKEMP384_AES256GCM_SHA384_P384",
};
const numbers = Object.fromEntries(Object.entries(suites).map(([number, name]) => [name, Number(number)]));

const hex = (b) => Buffer.from(b).toString("hex");
const bytes = (s) => new Uint8Array(Buffer.from(s, "hex"));
const wrap = (wireformat, field, value) => hex(encodeMlsMessage({ version: "mls10", wireformat, [field]: value }));

function decode(decoder, encoded) {
  const decoded = decoder(bytes(encoded), 0);
  if (decoded === undefined) throw new Error("does not decode");
  if (decoded[1] !== encoded.length / 2) throw new Error("trailing bytes");
  return decoded[0];
}

function unwrap(message, wireformat) {
  const m = decode(decodeMlsMessage, message);
  if (wireformat !== undefined && m.wireformat !== wireformat) throw new Error(`is a ${m.wireformat}`);
  return m;
}

const extensionsEncoder = encode(varLenTypeEncoder(extensionEncoder));
const decodeExtensions = decodeVarLenType(decodeExtension);

// The credentials of these tests are names, or certificates that ts-mls leaves to the service; the default one accepts any, and lifetimes are not what is tested.
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

// Where ts-mls 1.6.4 differs from RFC 9420, this script or mend.mjs puts it right:
// - signature keys of the NIST curves are uncompressed points (Section 5.1.1); ts-mls makes compressed ones;
// - the external_pub extension holds an HPKEPublicKey, a vector with its length (Section 12.4.3.2); ts-mls reads and
//   writes the bare key.
const curves = { 2: p256, 7: p384 };

async function makeSignatureKey(suite) {
  const curve = curves[suite];
  if (curve === undefined) return (await implementation(suite)).signature.keygen();
  const signKey = curve.utils.randomSecretKey();
  return { signKey, publicKey: curve.getPublicKey(signKey, false) };
}

// vector is RFC 9420's variable-size vector for the sizes that occur here (Section 2.1.2).
const vector = (b) => Uint8Array.from(b.length < 64 ? [b.length, ...b] : [0x40 | (b.length >> 8), b.length & 255, ...b]);

const implementations = new Map();

async function implementation(suite) {
  if (!implementations.has(suite)) {
    const made = await getCiphersuiteImpl(getCiphersuiteFromName(suites[suite]), defaultCryptoProvider);
    const size = { 1: 32, 2: 65, 7: 97 }[suite];
    const importPublicKey = made.hpke.importPublicKey;
    implementations.set(suite, { ...made, hpke: { ...made.hpke,
      importPublicKey: (k) => importPublicKey(k.length > size ? k.slice(k.length - size) : k) } });
  }
  return implementations.get(suite);
}

const suiteOf = (context) => numbers[context.cipherSuite];

const signatureKeys = new Map(); // name and suite -> key
const packages = new Map(); // name -> {publicPackage, privatePackage}
const groups = new Map(); // name -> state
const pending = new Map(); // name -> state after the commit that was made last
const updates = new Map(); // name -> private key of the leaf that was proposed in the epoch

// A member keeps its signature key: by it ts-mls finds the own old leaf when it joins anew.
async function signatureKey(name, suite) {
  const at = `${name} ${suite}`;
  if (!signatureKeys.has(at)) signatureKeys.set(at, await makeSignatureKey(suite));
  return signatureKeys.get(at);
}

const group = (name) => {
  const state = groups.get(name);
  if (state === undefined) throw new Error(`no group ${name}`);
  return state;
};

const commands = {
  // With certificates the credential is their chain, whose first one is of the key that signatureKey tells.
  async keyPackage({ name, suite, identity = name, extensions, certificates }) {
    const credential = certificates
      ? { credentialType: "x509", certificates: certificates.map(bytes) }
      : { credentialType: "basic", identity: new TextEncoder().encode(identity) };
    const capabilities = defaultCapabilities();
    capabilities.extensions.push(...extensions);
    const made = await generateKeyPackageWithKey(
      credential, capabilities, lifetime(), [], await signatureKey(name, suite), await implementation(suite));
    packages.set(name, made);
    return { keyPackage: wrap("mls_key_package", "keyPackage", made.publicPackage) };
  },
  async create({ name, group: id, extensions }) {
    const { publicPackage, privatePackage } = packages.get(name);
    const impl = await implementation(numbers[publicPackage.cipherSuite]);
    groups.set(name, await createGroup(bytes(id), publicPackage, privatePackage, decode(decodeExtensions, extensions), impl, config));
    return {};
  },
  async welcome({ name, welcome, psks = {} }) {
    const { publicPackage, privatePackage } = packages.get(name);
    const m = unwrap(welcome, "mls_welcome");
    const impl = await implementation(numbers[publicPackage.cipherSuite]);
    groups.set(name, await joinGroup(m.welcome, publicPackage, privatePackage, index(undefined, psks), impl, undefined, undefined, config));
    return {};
  },
  async groupInfo({ name }) {
    const s = group(name);
    const impl = await implementation(suiteOf(s.groupContext));
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
    const { publicMessage, newState } = await joinGroupExternal(m.groupInfo, publicPackage, privatePackage, resync === true,
      await implementation(suiteOf(m.groupInfo.groupContext)), undefined, config);
    pending.set(name, newState);
    return { commit: wrap("mls_public_message", "publicMessage", publicMessage) };
  },
  async propose({ name, publicly, ...what }) {
    const s = group(name);
    const made = await createProposal(s, publicly, proposal(what), await implementation(suiteOf(s.groupContext)));
    groups.set(name, made.newState);
    return { message: hex(encodeMlsMessage(made.message)) };
  },
  // ts-mls commits and processes Updates but cannot make one. Its new private key waits in updates for the commit.
  async update({ name, publicly }) {
    const s = group(name);
    const impl = await implementation(suiteOf(s.groupContext));
    const { publicKey, privateKey } = await impl.hpke.generateKeyPair();
    const { signaturePublicKey, credential, capabilities, extensions } = getOwnLeafNode(s);
    const tbs = {
      leafNodeSource: "update", hpkePublicKey: await impl.hpke.exportPublicKey(publicKey), signaturePublicKey, credential,
      capabilities, extensions, groupId: s.groupContext.groupId, leafIndex: s.privatePath.leafIndex,
    };
    const signature = await signWithLabel(s.signaturePrivateKey, "LeafNodeTBS", encode(leafNodeTBSEncoder)(tbs), impl.signature);
    const made = await createProposal(s, publicly, { proposalType: "update", update: { leafNode: { ...tbs, signature } } }, impl);
    groups.set(name, made.newState);
    updates.set(name, await impl.hpke.exportPrivateKey(privateKey));
    return { message: hex(encodeMlsMessage(made.message)) };
  },
  // The key of a member, or of an external sender; its name is not that of a member.
  async signatureKey({ name, suite }) {
    return { key: hex((await signatureKey(name, suite)).publicKey) };
  },
  async proposeExternal({ name, groupInfo, ...what }) {
    const { groupInfo: info } = unwrap(groupInfo, "mls_group_info");
    const suite = suiteOf(info.groupContext);
    const key = await signatureKey(name, suite);
    const message = await proposeExternal(info, proposal(what), key.publicKey, key.signKey, await implementation(suite));
    return { message: hex(encodeMlsMessage(message)) };
  },
  // A key package asks for itself to be added.
  async proposeJoin({ name, groupInfo }) {
    const { groupInfo: info } = unwrap(groupInfo, "mls_group_info");
    const { publicPackage, privatePackage } = packages.get(name);
    const message = await proposeAddExternal(info, publicPackage, privatePackage, await implementation(suiteOf(info.groupContext)));
    return { message: hex(encodeMlsMessage(message)) };
  },
  async commit({ name, proposals, psks = {}, publicly }) {
    const state = group(name);
    const made = await createCommit({ state, cipherSuite: await implementation(suiteOf(state.groupContext)), pskIndex: index(state, psks) },
      { wireAsPublicMessage: publicly, extraProposals: proposals.map(proposal), ratchetTreeExtension: true });
    pending.set(name, made.newState);
    return {
      commit: hex(encodeMlsMessage(made.commit)),
      welcome: made.welcome === undefined ? "" : wrap("mls_welcome", "welcome", made.welcome),
    };
  },
  async merge({ name }) {
    groups.set(name, pending.get(name));
    pending.delete(name);
    updates.delete(name);
    return {};
  },
  async process({ name, message, psks = {} }) {
    pending.delete(name);
    const { state, callback } = withUpdate(group(name), updates.get(name));
    const m = unwrap(message);
    const impl = await implementation(suiteOf(state.groupContext));
    // processMessage would not look pre-shared keys up for private messages.
    const result = m.wireformat === "mls_public_message"
      ? await processPublicMessage(state, m.publicMessage, index(state, psks), impl, callback)
      : await processPrivateMessage(state, m.privateMessage, index(state, psks), impl, callback);
    if (result.newState.groupContext.epoch !== state.groupContext.epoch) updates.delete(name);
    groups.set(name, result.newState);
    return result.kind === "applicationMessage" ? { data: hex(result.message) } : {};
  },
  async send({ name, data }) {
    const made = await createApplicationMessage(group(name), bytes(data), await implementation(suiteOf(group(name).groupContext)));
    groups.set(name, made.newState);
    return { message: wrap("mls_private_message", "privateMessage", made.privateMessage) };
  },
  // The group of name continues as that of successor, whose key package was made before: as the group that a ReInit
  // announced, or as a branch called id. tree is for the others, the Welcome has none.
  async succeed({ name, successor, packages: others, id }) {
    const state = group(name);
    const { publicPackage, privatePackage } = packages.get(successor);
    const members = others.map((p) => unwrap(p, "mls_key_package").keyPackage);
    const reinit = state.groupActiveState.reinit;
    const made = id === undefined
      ? await reinitCreateNewGroup(state, publicPackage, privatePackage, members, reinit.groupId, reinit.cipherSuite, reinit.extensions)
      : await branchGroup(state, publicPackage, privatePackage, members, bytes(id), await implementation(suiteOf(state.groupContext)));
    groups.set(successor, made.newState);
    return { welcome: wrap("mls_welcome", "welcome", made.welcome), tree: hex(encode(ratchetTreeEncoder)(made.newState.ratchetTree)) };
  },
  async follow({ name, successor, welcome, tree, branch }) {
    const { publicPackage, privatePackage } = packages.get(successor);
    const m = unwrap(welcome, "mls_welcome");
    const nodes = decode(decodeRatchetTree, tree);
    groups.set(successor, branch
      ? await joinGroupFromBranch(group(name), m.welcome, publicPackage, privatePackage, nodes, await implementation(suiteOf(group(name).groupContext)))
      : await joinGroupFromReinit(group(name), m.welcome, publicPackage, privatePackage, nodes));
    return {};
  },
  async state({ name }) {
    const s = group(name);
    return {
      epoch: Number(s.groupContext.epoch),
      authenticator: hex(s.keySchedule.epochAuthenticator),
      treeHash: hex(s.groupContext.treeHash),
      extensions: hex(extensionsEncoder(s.groupContext.extensions)),
      leaf: s.privatePath.leafIndex,
      active: s.groupActiveState.kind !== "removedFromGroup",
      closed: s.groupActiveState.kind === "suspendedPendingReinit",
    };
  },
  async export({ name, label, context, length }) {
    const s = group(name);
    return { secret: hex(await mlsExporter(s.keySchedule.exporterSecret, label, bytes(context), length, await implementation(suiteOf(s.groupContext)))) };
  },
};

// proposal makes a proposal of the one field that is set.
function proposal({ add, remove, psk, extensions, reinit }) {
  if (remove !== undefined) return { proposalType: "remove", remove: { removed: remove } };
  if (psk !== undefined) {
    return { proposalType: "psk", psk: { preSharedKeyId: { psktype: "external", pskId: bytes(psk.id), pskNonce: bytes(psk.nonce) } } };
  }
  if (extensions !== undefined) {
    return { proposalType: "group_context_extensions", groupContextExtensions: { extensions: decode(decodeExtensions, extensions) } };
  }
  if (reinit !== undefined) {
    return { proposalType: "reinit", reinit: {
      groupId: bytes(reinit.group), version: "mls10", cipherSuite: suites[reinit.suite], extensions: decode(decodeExtensions, reinit.extensions) } };
  }
  return { proposalType: "add", add: { keyPackage: unwrap(add, "mls_key_package").keyPackage } };
}

// withUpdate returns a copy of state which takes over the private key of its own proposed leaf once it sees that a commit
// covers it, before it looks for the path secret.
function withUpdate(state, key) {
  if (key === undefined) return { state, callback: () => "accept" };
  const leaf = state.privatePath.leafIndex;
  const privateKeys = { ...state.privatePath.privateKeys };
  return {
    state: { ...state, privatePath: { ...state.privatePath, privateKeys } },
    callback: ({ kind, proposals }) => {
      const covers = (p) => p.proposal.proposalType === "update" && p.senderLeafIndex === leaf;
      if (kind === "commit" && proposals.some(covers)) privateKeys[2 * leaf] = key;
      return "accept";
    },
  };
}

function index(state, psks) {
  return makePskIndex(state, Object.fromEntries(
    Object.entries(psks).map(([id, secret]) => [Buffer.from(id, "hex").toString("base64"), bytes(secret)])));
}

// Whoever asked may be gone.
process.stdout.on("error", () => process.exit(0));

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
