// What a link says. The fragment holds the one-time token and the pin of the organisation's root key; it never reaches a
// server, and it leaves the address bar before anything else happens.

export interface Link {
  /** The meeting's pointer, 22 characters of base64url; undefined on the bare page. */
  meeting?: string;
  /** One-time enrolment token, base64url; or that of a guest's invitation. */
  token?: string;
  /** The link is a guest's. */
  guest?: boolean;
  /** No meeting: the line is tested before it is needed. */
  ready?: boolean;
  /** Why signing in with the organisation gave no link. */
  problem?: "oidc_failed" | "oidc_person";
  /** The path leads nowhere: the link was mistyped, or cut off. */
  malformed?: boolean;
  /** First 16 bytes of SHA-256 of the root key, base64url. */
  root?: string;
}

const pointer = /^\/([mg])\/([A-Za-z0-9_-]{22})$/;
const base64url = /^[A-Za-z0-9_-]{1,128}$/;

/** Reads path and fragment; whatever is malformed counts as absent. */
export function readLink(path: string, fragment: string): Link {
  const link: Link = {};
  const [, kind, meeting] = pointer.exec(path) ?? [];
  if (meeting) link.meeting = meeting;
  if (kind === "g") link.guest = true;
  if (path === "/ready") link.ready = true;
  if (!meeting && !["/", "/ready", "/devices"].includes(path)) link.malformed = true;
  const parts = new URLSearchParams(fragment.replace(/^#/, ""));
  const problem = parts.get("p");
  if (problem === "oidc_failed" || problem === "oidc_person") link.problem = problem;
  // A guest's invitation enrols no colleague, and a colleague's link no guest.
  const token = parts.get(link.guest ? "i" : "e");
  const root = parts.get("r");
  if (token && root && base64url.test(token) && base64url.test(root)) {
    link.token = token;
    link.root = root;
  }
  return link;
}
