// The English catalogue of problems and fixes, read from its source: what a person is to see.
import { readFileSync } from "node:fs";

export function words() {
  const source = readFileSync(new URL("../../web/src/words/problems.en.ts", import.meta.url), "utf8");
  const [problems, fixes] = source.split("export const fixes");
  const entries = (text) => Object.fromEntries([...text.matchAll(/^ {2}(\w+): "((?:[^"\\]|\\.)*)",$/gm)].map(([, code, words]) => [code, words]));
  return { problems: entries(problems), fixes: entries(fixes) };
}
