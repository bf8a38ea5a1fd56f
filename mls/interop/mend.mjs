// Mends one rule of ts-mls 1.6.4 (and of 2.0.0-rc.10) while it is loaded: RFC 9420, Section 7.9, wants each unmerged leaf of
// a parent node to be listed by the non-blank nodes *between* the leaf and that parent. ts-mls compares the lists of all
// nodes up to the root, and so refuses valid trees, for instance most in which a new leaf stands under a node that the
// committer's path does not renew.
import { register } from "node:module";

register("data:text/javascript," + encodeURIComponent(`
  const wrong = "if (!arraysEqual(dpNode.parent.unmergedLeaves, n.parent.unmergedLeaves))";
  const right = "if (parentIdx === i) break; " +
    "if (!dpNode.parent.unmergedLeaves.includes(unmergedLeaf))";
  export async function load(url, context, next) {
    const loaded = await next(url, context);
    if (!url.endsWith("/ts-mls/dist/src/clientState.js")) return loaded;
    const source = loaded.source.toString();
    if (source.split(wrong).length !== 2) throw new Error("ts-mls is not the version that mend.mjs knows");
    return { ...loaded, source: source.replace(wrong, right) };
  }
`));
