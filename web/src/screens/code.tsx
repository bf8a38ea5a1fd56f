// The security code: where it stands, why it changed, and how two people compare it by ear.

import { useSignal } from "@preact/signals";
import type { App } from "../app";
import { Dialog } from "../parts/parts";
import { clockTime, fill, list, words } from "../words/words";

/** A group digit by digit: as a number it would be said as one, and its leading nought be lost. */
export const spelt = (group: string) => [...group].join(" ");

/** A group as it is seen, and as it is said. */
function Group({ text, after }: { text: string; after: string }) {
  return (
    <>
      <span aria-hidden="true">{text}</span>
      <span class="vh">
        {spelt(text)}
        {after}
      </span>
    </>
  );
}

/** Why the code is another one than before, with names and the time; "" while there is none. */
function whyChanged({ session }: App): string {
  const w = words.value;
  const code = session.code.value;
  if (!code) return "";
  const names = code.who ?? [];
  const own = session.self.value?.name;
  const onlyOwn = code.why === "came" && names.length === 1 && names[0] === own;
  const out = new Set(session.aside.away.value.map((a) => a.name));
  const quarantine = code.why === "removed" && names.length > 0 && names.every((n) => out.has(n));
  const why = w.room.codeWhy[code.why as keyof typeof w.room.codeWhy] ?? w.room.codeWhy.other;
  const sentence = quarantine ? w.aside.away.code : onlyOwn ? w.room.codeWhy.self : names.length === 0 && code.why !== "began" ? w.room.codeWhy.other : why;
  return fill(sentence, { time: clockTime(new Date(code.since)), names: list(names) });
}

export function Code({ app, onCode }: { app: App; onCode: () => void }) {
  const w = words.value;
  const { session } = app;
  const code = session.code.value;
  if (!code) return null;
  const compared = session.compared.value?.epoch === code.epoch ? session.compared.value : undefined;
  return (
    <section class="code" data-testid="code" data-epoch={code.epoch} data-why={code.why} data-compared={String(compared !== undefined)}>
      <h2>
        {w.room.code}{" "}
        <span>{compared ? fill(w.compare.done, { time: clockTime(new Date(compared.at)) }) : session.gateways.value.length > 0 ? w.room.codeSameBut : w.room.codeSame}</span>
      </h2>
      <p class="mono" data-testid="code-groups">
        {code.groups.map((group, i) => (
          <span key={i}>
            <Group text={group} after="," />{" "}
          </span>
        ))}
      </p>
      <p>
        {whyChanged(app)}{" "}
        <button class="plain" type="button" onClick={onCode} data-testid="code-compare">
          {w.compare.start}
        </button>
      </p>
    </section>
  );
}

/** One group after the other. What is compared is the code that stood here at the first of them: another begins anew. */
export function CodeDialog({ app, onClose }: { app: App; onClose: () => void }) {
  const w = words.value;
  const { session } = app;
  const code = session.code.value;
  const began = useSignal(code?.epoch);
  const same = useSignal(0);
  if (!code) return null;
  const changed = began.value !== code.epoch;
  const at = changed ? 0 : same.value;
  const whole = at === code.groups.length;
  const agree = () => {
    began.value = code.epoch;
    same.value = at + 1;
    if (same.value === code.groups.length) session.codeCompared(code.epoch, true);
  };
  const differ = () => {
    session.codeCompared(code.epoch, false);
    onClose();
  };
  return (
    <Dialog label={w.compare.title} onClose={onClose} testid="code-dialog">
      <h2>{w.compare.title}</h2>
      <p class="mono large-code" aria-hidden="true">
        {code.groups.map((group, i) => (
          <span key={i} class={i === at ? "hot" : i < at ? "good" : ""}>
            {group}
          </span>
        ))}
      </p>
      <div role="status" data-testid="code-step" data-at={at}>
        {changed && <p class="sub">{fill(w.compare.changed, { why: whyChanged(app) })}</p>}
        <p class="sub">
          {whole ? (
            w.compare.whole
          ) : (
            <>
              {fill(w.compare.step, { n: at + 1, all: code.groups.length })}: <b class="mono"><Group text={code.groups[at] ?? ""} after="" /></b>. {w.compare.ask}
            </>
          )}
        </p>
      </div>
      <details>
        <summary>{w.compare.how}</summary>
        {w.room.codeHowText.map((text, i) => (
          <p class="sub" key={i}>
            {text}
          </p>
        ))}
      </details>
      <div class="acts">
        {whole ? (
          <button class="btn" type="button" data-focus onClick={onClose} data-testid="code-close">
            {w.close}
          </button>
        ) : (
          <>
            <button class="btn primary" type="button" data-focus onClick={agree} data-testid="code-same">
              {w.compare.same}
            </button>
            <button class="btn danger" type="button" onClick={differ} data-testid="code-differs">
              {w.compare.differs}
            </button>
          </>
        )}
      </div>
    </Dialog>
  );
}
