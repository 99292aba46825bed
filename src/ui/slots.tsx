/** Every stream of a session: a field of small squares for the eye, a table with the numbers. */
import { useMemo } from "preact/hooks";
import type { SlotRow } from "#web/api-types.ts";
import { format, language, t, tn } from "./i18n.ts";
import type { Tone } from "./judge.ts";
import { Badge, Empty, Panel } from "./parts.tsx";
import { type Column, Table } from "./table.tsx";

type Shown = SlotRow["state"] | "parked";

/** In the order in which they are counted. A stream that the autoscaler took out of use is nothing to worry about. */
const TONES: Readonly<Record<Shown, Tone>> = {
  receiving: "busy",
  idle: "none",
  disconnected: "bad",
  disabled: "warn",
  parked: "none",
};

function shownState(slot: SlotRow): Shown {
  return slot.parked && slot.state !== "disconnected" ? "parked" : slot.state;
}

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
      cell: (row) => <Badge tone={TONES[shownState(row)]}>{t(`slot.${shownState(row)}`)}</Badge>,
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
      named: true,
      narrow: "line",
      cell: (row) => f.millis(row.rttMs),
    },
    {
      key: "reconnects",
      label: t("slot.reconnects"),
      width: "minmax(4.5rem, 0.6fr)",
      number: true,
      named: true,
      narrow: "line2",
      cell: (row) => f.count(row.reconnects),
    },
    {
      key: "rotations",
      label: t("slot.rotations"),
      width: "minmax(4.5rem, 0.6fr)",
      number: true,
      drop: 1,
      narrow: "none",
      cell: (row) => f.count(row.rotations),
    },
    {
      key: "chunks",
      label: t("slot.chunks"),
      width: "minmax(4.5rem, 0.6fr)",
      number: true,
      named: true,
      narrow: "line2",
      cell: (row) => f.count(row.chunks),
    },
    {
      key: "resent",
      label: t("slot.resent"),
      width: "minmax(4rem, 0.5fr)",
      number: true,
      named: true,
      narrow: "line2",
      cell: (row) => f.count(row.duplicateChunks),
    },
  ];
}

function summary(slots: readonly SlotRow[]): string {
  const states = ["receiving", "idle", "disconnected", "disabled", "parked"] as const;
  return states
    .map((state) => [state, slots.filter((slot) => shownState(slot) === state).length] as const)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => tn(`slots.${state}`, count))
    .join(" · ");
}

export function Slots({ slots }: { slots: readonly SlotRow[] }) {
  const columns = useMemo(slotColumns, [language.value]);
  return (
    <Panel title={t("session.slots")} flush aside={<span class="muted">{summary(slots)}</span>}>
      {slots.length >= FIELD_FROM ? (
        <div class="field" aria-hidden="true">
          {slots.map((slot) => (
            <i
              key={slot.slot}
              class={`tone-${TONES[shownState(slot)]}`}
              title={`${slot.slot}: ${t(`slot.${shownState(slot)}`)}`}
            />
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
