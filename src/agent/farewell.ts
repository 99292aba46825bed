/**
 * Gives a session up to which no connection is up: one attempt to tell the server, within a short time, so that what it
 * keeps for the session is free at once. When it fails the session waits on the server until it expires or the agent's
 * next run takes its place. Who gives up and why is the caller's part.
 */
import { type Failure, toFailure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { disownFields } from "#wire/failure.ts";
import type { Message } from "#wire/messages.ts";
import type { FrameLink } from "./frame-link.ts";
import { type HandshakeDeps, openLink, type OpenedLink } from "./handshake.ts";

/** Nobody who interrupted a run waits longer for it to end. */
export const FAREWELL_MS = 5_000;

export type FarewellDeps = HandshakeDeps & { readonly log: Logger };

const NAME = "session connection";

/** Resolves when the server was told, or could not be; never rejects. */
export function disownSession(deps: FarewellDeps, session: string, reason: Failure): Promise<void> {
  return within(deps, async (signal) => {
    const welcomed = ({ link }: OpenedLink): void => {
      link.handle({ message: () => undefined, closed: () => undefined });
      link.enter("agent/session");
      disown(link, disownFields(reason));
    };
    await openLink(deps, { role: "session", session }, { name: NAME, signal, welcomed });
  });
}

/**
 * The same when Begin was sent and the connection broke before its answer: the server may have begun a session that the
 * agent knows no id of, so that it is named by its backup.
 */
export function disownBegun(deps: FarewellDeps, backup: string, reason: Failure): Promise<void> {
  return within(deps, async (signal) => {
    const welcomed = ({ link }: OpenedLink): void => {
      link.handle({ message: () => undefined, closed: () => undefined });
      link.enter("agent/admission");
      disown(link, { ...disownFields(reason), backup });
    };
    await openLink(deps, { role: "session" }, { name: NAME, signal, welcomed });
  });
}

/** The last words on the link; what the server still says is not heard. */
function disown(link: FrameLink, words: Message<"disown">): void {
  link.send("disown", words);
  link.end();
}

async function within(deps: FarewellDeps, attempt: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const timer = deps.clock.after(FAREWELL_MS, () => stop.abort());
  try {
    await attempt(stop.signal);
  } catch (error) {
    const { code, message } = toFailure(error);
    deps.log.info("the server could not be told that the session is given up", { code, reason: message });
  } finally {
    timer.cancel();
  }
}
