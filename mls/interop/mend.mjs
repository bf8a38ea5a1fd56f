// Mends rules of ts-mls 1.6.4 (and of 2.0.0-rc.10, as far as looked at) while it is loaded. Each entry is a text of its
// source, which must stand there once, and what it should have been by RFC 9420.
import { register } from "node:module";

const mends = [
  // Section 7.9: each unmerged leaf of a parent node is to be listed by the non-blank nodes *between* the leaf and that
  // parent. ts-mls compares the lists of all nodes up to the root, and so refuses valid trees, for instance most in which a
  // new leaf stands under a node that the committer's path does not renew.
  ["clientState.js", "if (!arraysEqual(dpNode.parent.unmergedLeaves, n.parent.unmergedLeaves))",
    "if (parentIdx === i) break; if (!dpNode.parent.unmergedLeaves.includes(unmergedLeaf))"],
  // Sections 7.4 and 12.4.2: the commit secret comes from the last path secret of the filtered direct path. Where all members stand
  // in one half of the tree the root is not on it; ts-mls goes on to the root, and so derives once too often.
  ["pathSecrets.js", "const nextSecret = await deriveSecret(pathSecrets[currentIndex], \"path\", kdf);",
    "const nextSecret = tree[nextIndex] === undefined ? pathSecrets[currentIndex] : " +
      "await deriveSecret(pathSecrets[currentIndex], \"path\", kdf);"],
  // Section 17.4: a commit that covers a GroupContextExtensions proposal has a path. ts-mls makes and takes one without.
  ["clientState.js", "|| Object.values(grouped.remove).length > 0;",
    "|| Object.values(grouped.remove).length > 0 || grouped.group_context_extensions.length > 0;"],
  // Section 12.4.1: path secrets are encrypted with the provisional GroupContext, which has the new extensions already.
  ["createCommit.js", "createUpdatePath(res.tree, toLeafIndex(state.privatePath.leafIndex), state.groupContext,",
    "createUpdatePath(res.tree, toLeafIndex(state.privatePath.leafIndex), res.additionalResult.kind === \"memberCommit\" && " +
      "res.additionalResult.extensions.length > 0 ? { ...state.groupContext, extensions: res.additionalResult.extensions } : " +
      "state.groupContext,"],
  // Section 12.3: removals go before additions, so that a commit may give the leaf of a removed member to a new one. ts-mls
  // takes a member for removed only if its leaf stays blank.
  ["clientState.js", "mutatedTree[leafToNodeIndex(toLeafIndex(state.privatePath.leafIndex))] === undefined;",
    "grouped.remove.some(({ proposal }) => proposal.remove.removed === state.privatePath.leafIndex);"],
  // Section 12.1.8.1: the external_senders extension is a vector of senders, and a sender_index counts in it. ts-mls
  // takes the extension for one sender, and counts extensions.
  ["externalSender.js", "//# sourceMappingURL=externalSender.js.map",
    "import { decodeVarLenType } from \"./codec/variableLength.js\";\n" +
      "export const decodeExternalSenders = decodeVarLenType(decodeExternalSender);"],
  ["publicMessage.js", "import { decodeExternalSender } from", "import { decodeExternalSenders } from"],
  ["publicMessage.js", "const externalSenderExtension = externalSenderExtensions[senderIndex];",
    "const externalSenderExtension = externalSenderExtensions[0];"],
  ["publicMessage.js", "const externalSender = decodeExternalSender(externalSenderExtension.extensionData, 0);",
    "const externalSender = decodeExternalSenders(externalSenderExtension.extensionData, 0)?.[0].slice(senderIndex);"],
  ["clientState.js", "import { decodeExternalSender } from", "import { decodeExternalSenders } from"],
  ["clientState.js", "const decoded = decodeExternalSender(externalSender.extensionData, 0);",
    "const decoded = decodeExternalSenders(externalSender.extensionData, 0)?.[0];"],
  ["externalProposal.js", "import { decodeExternalSender } from", "import { decodeExternalSenders } from"],
  ["externalProposal.js", "const externalSenderExtensionIndex = groupInfo.groupContext.extensions.findIndex((ex) => {",
    "let externalSenderExtensionIndex = -1; groupInfo.groupContext.extensions.some((ex) => {"],
  ["externalProposal.js", "const decoded = decodeExternalSender(ex.extensionData, 0);",
    "const decoded = decodeExternalSenders(ex.extensionData, 0);"],
  ["externalProposal.js", "return constantTimeEqual(decoded[0].signaturePublicKey, signaturePublicKey);",
    "externalSenderExtensionIndex = decoded[0].findIndex((s) => constantTimeEqual(s.signaturePublicKey, signaturePublicKey));"],
];

register("data:text/javascript," + encodeURIComponent(`
  const mends = ${JSON.stringify(mends)};
  export async function load(url, context, next) {
    const loaded = await next(url, context);
    let source;
    for (const [file, wrong, right] of mends) {
      if (!url.endsWith("/ts-mls/dist/src/" + file)) continue;
      source ??= loaded.source.toString();
      if (source.split(wrong).length !== 2) throw new Error("ts-mls is not the version that mend.mjs knows: " + file);
      source = source.replace(wrong, () => right);
    }
    return source === undefined ? loaded : { ...loaded, source };
  }
`));
