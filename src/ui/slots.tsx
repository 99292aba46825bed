/** Every stream of a session: a field of small squares for the eye, a table with the numbers. */
import { useMemo } from "preact/hooks";
import type { SlotRow } from "#web/api-types.ts";
import { format, language, t } from "./i18n.ts";
import type { Tone } from "./judge.ts";
import { Badge, Empty, Panel } from "./parts.tsx";
import { type Column, Table } from "./table.tsx";

const TONES: Readonly<Record<SlotRow["state"], Tone>> = {
  receiving: "ok",
  idle: "none",
  disconnected: "bad",
  disabled: "warn",
};

/** With fewer the table says it all. */
const FIELD_FROM = 9;

function slotColumns(): readonly Column<SlotRow>[] {
  const f = format.value;
  return [
    { key: "slot", label: t("slot.slot"), width: "3rem", number: true, narrow: "main", cell: (row) => `${row.slot}` },
    {
      key: "state",
      label: t("col.state"),
      width: "minmax(8rem, 1fr)",
      narrow: "end",
      cell: (row) => <Badge tone={TONES[row.state]}>{row.parked ? t("slot.parked") : t(`slot.${row.state}`)}</Badge>,
    },
    {
      key: "rate",
      label: t("col.rate"),
      width: "minmax(5.5rem, 0.7fr)",
      number: true,
      narrow: "line",
      cell: (row) => f.rate(row.bytesPerSecond),
    },
    {
      key: "bytes",
      label: t("slot.bytes"),
      width: "minmax(5rem, 0.7fr)",
      number: true,
      narrow: "line",
      cell: (row) => f.bytes(row.bytes),
    },
    {
      key: "rtt",
      label: t("slot.rtt"),
      width: "minmax(4.5rem, 0.6fr)",
      number: true,
      narrow: "line",
      cell: (row) => rttText(row.rttMs),
    },
    {
      key: "reconnects",
      label: t("slot.reconnects"),
      width: "minmax(4.5rem, 0.6fr)",
      number: true,
      narrow: "line",
      cell: (row) => f.count(row.reconnects),
    },
    {
      key: "rotations",
      label: t("slot.rotations"),
      width: "minmax(4.5rem, 0.6fr)",
      number: true,
      narrow: "none",
      cell: (row) => f.count(row.rotations),
    },
    {
      key: "chunks",
      label: t("slot.chunks"),
      width: "minmax(4.5rem, 0.6fr)",
      number: true,
      narrow: "none",
      cell: (row) => f.count(row.chunks),
    },
    {
      key: "resent",
      label: t("slot.resent"),
      width: "minmax(4rem, 0.5fr)",
      number: true,
      narrow: "none",
      cell: (row) => f.count(row.duplicateChunks),
    },
  ];
}

export function rttText(ms: number | null): string {
  if (ms === null) return format.value.duration(null);
  return ms < 10
    ? `${format.value.language === "pt" ? ms.toFixed(1).replace(".", ",") : ms.toFixed(1)} ms`
    : `${Math.round(ms)} ms`;
}

function summary(slots: readonly SlotRow[]): string {
  const states = ["receiving", "idle", "disconnected", "disabled"] as const;
  const counted = states.map((state) => [state, slots.filter((slot) => slot.state === state).length] as const);
  return counted
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${format.value.count(count)} ${t(`slot.${state}`)}`)
    .join(" · ");
}

export function Slots({ slots }: { slots: readonly SlotRow[] }) {
  const columns = useMemo(slotColumns, [language.value]);
  return (
    <Panel title={t("session.slots")} flush aside={<span class="muted">{summary(slots)}</span>}>
      {slots.length >= FIELD_FROM ? (
        <div class="field" aria-hidden="true">
          {slots.map((slot) => (
            <i key={slot.slot} class={`tone-${TONES[slot.state]}`} title={`${slot.slot}`} />
          ))}
        </div>
      ) : null}
      {slots.length === 0 ? (
        <Empty title={t("slot.none")} />
      ) : (
        <Table label={t("session.slots")} columns={columns} rows={slots} rowKey={(slot) => `${slot.slot}`} dense />
      )}
    </Panel>
  );
}
