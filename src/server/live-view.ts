/** What a session is at now, beyond what status says of it: phase, window, slots. Values only; it changes nothing. */
import type { LiveSlot, LiveView } from "#observe/live-view.ts";
import type { SessionView, SlotView } from "#observe/views.ts";
import type { Session } from "./session.ts";
import type { SessionFacts } from "./session-types.ts";

export function liveView(session: Pick<Session, "plan" | "facts" | "state">, view: SessionView): LiveView {
  const { facts, plan, state } = session;
  return {
    view,
    ...phaseOf(state, facts),
    windowBytes: plan.windowBytes,
    durableBytes: facts.store?.durableBytes ?? 0,
    lastRawBytes: plan.lastRawBytes,
    slots: view.slots.map(liveSlot),
  };
}

function phaseOf(
  state: Session["state"],
  { finishing, store }: SessionFacts,
): Pick<LiveView, "phase" | "phaseDone" | "phaseTotal"> {
  if (state === "finishing" && finishing !== undefined) {
    const { phase, done, total } = finishing.phase;
    return total === 0 ? { phase, phaseDone: null, phaseTotal: null } : { phase, phaseDone: done, phaseTotal: total };
  }
  // What was durable before a restart is read again while data comes.
  const again = state === "receiving" ? store?.catchingUp : undefined;
  return { phase: state, phaseDone: again?.doneBytes ?? null, phaseTotal: again?.totalBytes ?? null };
}

function liveSlot({ remotePort: _port, lastByteAgeMs: _age, ...slot }: SlotView): LiveSlot {
  return slot;
}
