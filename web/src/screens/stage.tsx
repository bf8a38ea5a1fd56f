// The stage: who is large, who is in the strip, and over every picture the viewer's own watermark.

import type { App } from "../app";
import type { Member } from "../core/events";
import { Icon } from "../parts/parts";
import { Picture } from "../parts/picture";
import { clockTime, fill, language, span, words } from "../words/words";
import { levelWord } from "../room/levels";
import { layout, type Place } from "../room/stage";
import { initials, isPhone } from "../room/roster";
import { minute, secondsSince } from "../parts/time";

export function Stage({ app, onPeople }: { app: App; onPeople: () => void }) {
  const w = words.value;
  const { session, media } = app;
  void session.truthVersion.value;
  const members = session.members.value;
  const { screen, main, strip } = layout(members, session.truth, media.streams.value.screen.length, session.stage.value);
  const of = (leaf: number) => members.find((m) => m.leaf === leaf);
  const sharer = screen && of(screen.leaf);
  const shared = screen && media.streams.value.screen[screen.slot];
  const large = main && of(main.leaf);
  const hidden = members.length - strip.length - (large ? 1 : 0);
  const alone = !sharer && !large;
  return (
    <>
      {sharer && shared && (
        <div class="tile screen" data-testid="tile-screen" data-leaf={sharer.leaf}>
          <Picture stream={shared} label={fill(w.room.screenOf, { name: sharer.name })} testid="screen" />
          <Watermark app={app} />
          <div class="cap">
            <span>
              <Icon name="monitor-up" size={15} />
              {fill(w.room.screenOf, { name: sharer.name })}
            </span>
          </div>
        </div>
      )}
      {large && main && <Tile app={app} member={large} place={main} large />}
      {alone && (
        <div class="tile alone" data-testid="alone-in-room">
          <div class="void">
            <p>
              <b>{w.room.alone}</b>
              <br />
              {w.room.aloneText}
            </p>
          </div>
        </div>
      )}
      <div class="strip" role="group" aria-label={w.room.inTheRoom} tabIndex={0}>
        {strip.map((place) => {
          const member = of(place.leaf);
          return member && <Tile key={member.leg} app={app} member={member} place={place} />;
        })}
        {hidden > 0 && (
          <button class="tile more" type="button" onClick={onPeople} data-testid="more-people">
            {fill(hidden === 1 ? w.room.more.one : w.room.more.other, { n: hidden })}
          </button>
        )}
      </div>
    </>
  );
}

type TileProps = { app: App; member: Member; place: Place; large?: boolean };

function Tile({ app, member, place, large = false }: TileProps) {
  const w = words.value;
  const { session, media } = app;
  const own = member.self;
  const stream = own ? media.devices.picture.value : place.camera === undefined ? undefined : media.streams.value.camera[place.camera];
  const speaks = session.speaking.value.has(member.leaf);
  const lost = !!member.lost;
  const phone = isPhone(member);
  return (
    <div
      class={`tile ${large ? "large" : ""} ${speaks ? "speaks" : ""} ${own ? "own" : ""}`}
      data-testid={own ? "tile-own" : `tile-${member.leaf}`}
      data-leaf={member.leaf}
      data-camera={place.camera ?? ""}
      data-speaks={String(speaks)}
    >
      {stream ? (
        <Picture stream={stream} label={own ? w.room.ownPicture : fill(w.room.pictureOf, { name: member.name })} testid={own ? "video-own" : `video-${member.leaf}`} />
      ) : (
        <div class="void">
          {phone ? <PhoneVoid large={large} /> : <span class="initials" aria-hidden="true">{initials(member.name)}</span>}
        </div>
      )}
      {stream && !own && <Watermark app={app} few={!large} />}
      {lost && (
        <div class="void lost-tile">
          <span>{fill(w.room.lostTile, { clock: span(secondsSince(member.lost)) })}</span>
        </div>
      )}
      <div class="cap">
        <span>
          {member.muted ? <Icon name="mic-off" size={15} /> : speaks ? <Icon name="mic" size={15} /> : null}
          {member.hand && <Icon name="hand" size={15} />}
          <span class="name">{own ? fill(w.room.youTile, { name: member.name }) : member.name}</span>
          {member.muted && <span class="vh">{w.room.muted}</span>}
        </span>
      </div>
    </div>
  );
}

function PhoneVoid({ large }: { large: boolean }) {
  return (
    <span class="phone-void">
      <Icon name="phone" size={large ? 34 : 22} />
      <span>{words.value.aside.phone.tile}</span>
    </span>
  );
}

/** Enough to cover the stage of a large screen, and a tile; what overflows is cut. */
const copies = Array.from({ length: 60 }, (_, i) => i);
const fewCopies = copies.slice(0, 16);

/** Who looks, when, at what level: a photograph of the screen says whose screen it was. */
function Watermark({ app, few = false }: { app: App; few?: boolean }) {
  const { session } = app;
  const name = session.self.value?.name ?? session.identity.value?.name ?? "";
  const text = `${name} · ${clockTime(new Date(minute.value * 60_000))} · ${levelWord(app.levels.value, session.meeting.value?.level_name ?? "", language.value)}`;
  return (
    <div class="wm" aria-hidden="true" data-testid="watermark" data-text={text}>
      {(few ? fewCopies : copies).map((i) => (
        <span key={i}>{text}</span>
      ))}
    </div>
  );
}
