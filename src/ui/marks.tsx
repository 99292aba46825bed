/** States of this product as marks: of a backup entry, of an ended session, of a storage; and the names that link to them. */
import type { BackupStanding, StorageRow } from "#web/api-archives.ts";
import type { ApiEnd } from "#web/api-types.ts";
import { format, t, tn, word } from "./i18n.ts";
import {
  endTone,
  forecastView,
  isDamaged,
  nextInMs,
  reasonText,
  rowTone,
  scheduleRatio,
  storageTone,
} from "./judge.ts";
import { now } from "./live.ts";
import { Badge } from "./parts.tsx";
import { pathOf } from "./routes.ts";
import { roughDuration } from "./format.ts";

/** Of a span of days an axis, and whoever foretells, shows the day alone. */
const DAYS_MS = 30 * 86_400_000;

export function StateBadge({ row }: { row: BackupStanding }) {
  if (row.running !== null) {
    return (
      <a class="plain" href={pathOf({ view: "session", session: row.running })}>
        <Badge tone={row.state === "ok" || row.state === "unknown" ? "busy" : rowTone(row, now.value)}>
          {row.state === "ok" || row.state === "unknown"
            ? t("state.running")
            : `${t(`state.${row.state}`)} · ${t("state.running")}`}
        </Badge>
      </a>
    );
  }
  const tone = isDamaged(row) || (row.state === "ok" && (row.lastWarnings ?? 0) > 0) ? "warn" : rowTone(row, now.value);
  return (
    <Badge tone={tone} title={row.reason === "" ? undefined : row.reason}>
      {isDamaged(row) ? t("badge.damaged") : t(`state.${row.state}`)}
    </Badge>
  );
}

/** Why a row is not ok, in the page's language. */
export function Reason({ row }: { row: BackupStanding }) {
  const key = reasonText(row);
  if (key === undefined) return null;
  const f = format.value;
  const age = roughDuration(now.value - (row.lastSuccessWallMs ?? now.value), f.language);
  const outcome = row.lastOutcome === null ? "" : word("outcome", row.lastOutcome);
  const text =
    key === "reason.damaged"
      ? tn(key, row.damagedCount)
      : key === "reason.warned"
        ? tn(key, row.lastWarnings ?? 0)
        : t(key, { age, outcome });
  return <span title={row.reason === "" ? text : row.reason}>{text}</span>;
}

/** The state, and beside it why it is no better. */
export function StateAndReason({ row }: { row: BackupStanding }) {
  return (
    <span class="state">
      <StateBadge row={row} />{" "}
      <span class="muted small reason">{row.running === null ? <Reason row={row} /> : null}</span>
    </span>
  );
}

/** As it stands there. */
export function backupSort({ agent, backup }: Pick<BackupStanding, "agent" | "backup">): string {
  return `${agent} / ${backup}`;
}

export function BackupName({ row }: { row: Pick<BackupStanding, "storage" | "agent" | "backup"> }) {
  const { storage, agent, backup } = row;
  return (
    <a class="name" href={pathOf({ view: "backup", storage, agent, backup })} title={`${agent} / ${backup}`}>
      <span>{agent}</span>
      <span class="muted"> / </span>
      <b>{backup}</b>
    </a>
  );
}

/** How old the last success is, against how old it should get. */
export function ScheduleAge({ row }: { row: BackupStanding }) {
  const ratio = scheduleRatio(row, now.value);
  if (row.everyMs === null) return <NextAlone row={row} />;
  const every = roughDuration(row.everyMs, format.value.language);
  // How bad that is, is the server's judgement: it knows what a run may take.
  const tone = row.state === "late" ? "warn" : row.state === "failing" || row.state === "never" ? "bad" : "ok";
  return (
    <span class="schedule" title={row.everyFrom === "habit" ? t("every.habit") : t("every.agent")}>
      <span class={`mini ${tone}`} aria-hidden="true">
        <i style={{ width: `${Math.min(100, (ratio ?? 0) * 50)}%` }} />
      </span>
      <span>{t("every", { every: row.everyFrom === "habit" ? `~${every}` : every })}</span>
    </span>
  );
}

/** Of a backup that ran too few times to tell how often it does. */
function NextAlone({ row }: { row: BackupStanding }) {
  const inMs = nextInMs(row, now.value);
  if (inMs === null) return <span class="muted">{t("every.unknown")}</span>;
  const text = t("every.next", { in: roughDuration(inMs, format.value.language) });
  return <span title={t("every.nextHint")}>{text}</span>;
}

export function EndBadge({ end }: { end: ApiEnd }) {
  const warned = end.outcome === "committed" && end.problems > 0;
  const title = warned ? tn("reason.warned", end.problems) : undefined;
  return (
    <Badge tone={endTone(end)} title={end.code === null ? title : `${end.code}: ${end.message}`}>
      {warned ? tn("outcome.warned", end.problems) : word("outcome", end.outcome)}
    </Badge>
  );
}

export function StorageBadge({ storage }: { storage: StorageRow }) {
  return (
    <Badge tone={storageTone(storage)} title={storage.message ?? undefined}>
      {t(`storage.${storage.state}`)}
    </Badge>
  );
}

/** When it is full; `full`: with the day, and what that is told from. */
export function ForecastText({ storage, full = false }: { storage: StorageRow; full?: boolean }) {
  const view = forecastView(storage, now.value);
  const f = format.value;
  const perDay = storage.forecast === null ? "" : f.bytes(Math.abs(storage.forecast.bytesPerDay));
  const text = {
    full: t("forecast.full"),
    unknown: t("forecast.unknown"),
    steady: (storage.forecast?.bytesPerDay ?? 0) < 0 ? t("forecast.shrinks", { perDay }) : t("forecast.steady"),
    fills: t("forecast.fills", { in: view.inMs === null ? "" : roughDuration(view.inMs, f.language), perDay }),
  }[view.kind];
  const { forecast } = storage;
  const day = view.kind === "fills" && forecast?.fullWallMs != null ? ` · ${f.tick(forecast.fullWallMs, DAYS_MS)}` : "";
  const basis = forecast === null ? undefined : roughDuration(forecast.basisMs, f.language);
  const title =
    basis === undefined ? undefined : t("forecast.basis", { basis, perDay: f.bytes(forecast?.bytesPerDay ?? 0) });
  return (
    <span class={`tone-${view.tone}`} title={title}>
      {text}
      {full ? day : ""}
    </span>
  );
}
