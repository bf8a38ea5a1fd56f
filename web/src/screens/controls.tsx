// The controls, with words. Leave stands apart.

import type { Signal } from "@preact/signals";
import type { App } from "../app";
import { Icon } from "../parts/parts";
import type { IconName } from "../parts/icons";
import { words } from "../words/words";

type Props = { app: App; people: Signal<boolean>; onLeave: () => void; onKeys: () => void };

export function Controls({ app, people, onLeave, onKeys }: Props) {
  const w = words.value;
  const { session, media } = app;
  const here = session.state.value.state === "in";
  const microphone = media.devices.microphone.value === "on";
  const muted = session.muted.value || !microphone;
  const waiting = session.guests.value.length;
  return (
    <div class="bar" role="group" aria-label={w.room.controls}>
      <Control
        icon={muted ? "mic-off" : "mic"}
        long={!microphone ? w.room.cannotUnmute : muted ? w.room.unmute : w.room.mute}
        short={muted ? w.room.unmute : w.room.mute}
        on={muted}
        disabled={!here || !microphone}
        onPress={() => session.setMuted(!session.muted.value)}
        testid="mute"
      />
      <Control
        icon={session.camera.value ? "video" : "video-off"}
        long={session.camera.value ? w.room.stopVideo : w.room.startVideo}
        short={w.room.video}
        on={!session.camera.value}
        disabled={!here}
        onPress={() => void session.setCamera(!session.camera.value)}
        testid="camera"
      />
      {"getDisplayMedia" in (navigator.mediaDevices ?? {}) && (
        <Control
          icon="monitor-up"
          long={session.screen.value ? w.room.stopShare : session.aside.screenClosed.value ? w.aside.share.control : w.room.share}
          short={w.room.share}
          on={session.screen.value}
          disabled={!here}
          closed={session.aside.screenClosed.value && !session.screen.value}
          onPress={() => void session.setScreen(!session.screen.value)}
          testid="share"
        />
      )}
      <Control
        icon="hand"
        long={session.hand.value ? w.room.lower : w.room.raise}
        short={w.room.hand}
        on={session.hand.value}
        disabled={!here}
        onPress={() => session.setHand(!session.hand.value)}
        testid="hand"
      />
      <Control icon="pause" long={w.aside.pause.button} short={w.aside.pause.short} disabled={!here || !!session.aside.paused.value} onPress={() => session.aside.pause(false)} testid="pause" />
      <Control icon="users" long={w.room.people} short={w.room.people} expanded={people.value} badge={waiting} onPress={() => (people.value = !people.value)} testid="people" />
      <Control icon="circle-question-mark" long={w.room.keys} short={w.room.keys} onPress={onKeys} testid="keys" extra />
      <button class="leave" type="button" onClick={onLeave} data-testid="leave">
        <Icon name="log-out" />
        {w.room.leave}
      </button>
    </div>
  );
}

type ControlProps = {
  icon: IconName;
  /** The word where there is room, and the button's name. */
  long: string;
  /** The word on a small screen; part of the long one wherever the language allows. */
  short: string;
  on?: boolean;
  expanded?: boolean;
  disabled?: boolean;
  /** By policy, for now: a press says why. */
  closed?: boolean;
  badge?: number;
  /** Left out on a small screen, which has no keyboard. */
  extra?: boolean;
  onPress: () => void;
  testid: string;
};

function Control({ icon, long, short, on = false, expanded, disabled = false, closed = false, badge = 0, extra = false, onPress, testid }: ControlProps) {
  return (
    <button
      type="button"
      class={`${on ? "on" : ""} ${expanded ? "open" : ""} ${extra ? "extra" : ""}`}
      disabled={disabled}
      aria-label={badge > 0 ? `${long} (${badge})` : long}
      {...(expanded !== undefined && { "aria-expanded": expanded, "aria-controls": "people" })}
      onClick={onPress}
      data-testid={testid}
      data-on={String(on)}
      {...(closed && { "aria-disabled": true, "data-closed": "true" })}
    >
      <Icon name={icon} />
      <span class="long" aria-hidden="true">
        {long}
      </span>
      <span class="short" aria-hidden="true">
        {short}
      </span>
      {badge > 0 && <i class="badge num" aria-hidden="true" data-count={badge} />}
    </button>
  );
}
