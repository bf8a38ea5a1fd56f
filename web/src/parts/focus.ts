// Where the focus goes when the button that had it has done its work and is gone: else it would fall to the page itself, and
// whoever works with the keyboard or a screen reader would begin at the top.

/** How long an answer is waited for, in milliseconds. */
const patience = 10_000;

/** Calls next once a pressed button is gone or of no more use, unless the person has moved on by then. */
export function focusOnceGone(button: HTMLButtonElement, next: () => void): void {
  if (document.activeElement !== button) return;
  const until = Date.now() + patience;
  const look = () => {
    const { activeElement } = document;
    if (activeElement !== null && activeElement !== button && activeElement !== document.body) return;
    if (!button.isConnected || button.disabled) next();
    else if (Date.now() < until) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}

/** Does what a button is for, and gives the focus to the main part of the page once the button is gone. */
export function thenMain(button: HTMLButtonElement, act: () => void): void {
  act();
  focusOnceGone(button, () => document.getElementById("main")?.focus({ preventScroll: true }));
}
