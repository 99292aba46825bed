/** One event, as a line of a list: when, how bad, what; with links to the session and the agent that it names. */
import type { ApiEvent } from "#web/api-types.ts";
import { levelTone } from "./judge.ts";
import { t } from "./i18n.ts";
import { Icon } from "./icons.tsx";
import { When } from "./parts.tsx";
import { pathOf } from "./routes.ts";

function fieldText(event: ApiEvent, name: string): string | null {
  const value = event.fields[name];
  return typeof value === "string" && value !== "" ? value : null;
}

export function EventLinks({ event }: { event: ApiEvent }) {
  const session = fieldText(event, "session");
  const agent = fieldText(event, "agent");
  return (
    <>
      {agent === null ? null : (
        <a class="agent" href={pathOf({ view: "agent", agent })} title={agent}>
          {agent}
        </a>
      )}
      {session === null ? null : (
        <a class="mono" href={pathOf({ view: "session", session })} title={session}>
          {session.slice(0, 8)}
        </a>
      )}
    </>
  );
}

/** `own`: in the log of its session, to the second and without links to where one is. */
export function EventLine({ event, own = false }: { event: ApiEvent; own?: boolean }) {
  const tone = levelTone(event.level);
  return (
    <li class={`event tone-${tone}`}>
      <Icon name={tone === "none" ? "dot" : tone} />
      <div>
        <p>
          <span class="hidden">{t(`level.${event.level}`)}: </span>
          {event.message}
        </p>
        <p class="small muted">
          <When wallMs={event.wallMs} seconds={own} /> {own ? null : <EventLinks event={event} />}
        </p>
      </div>
    </li>
  );
}
