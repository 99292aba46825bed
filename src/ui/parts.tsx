/** Small parts that every view uses: marks, times, bars, sparklines, and the states of something that is not there. */
import type { ComponentChildren, TargetedPointerEvent } from "preact";
import type { ApiFailure } from "./api.ts";
import type { Tone } from "./judge.ts";
import { UNKNOWN } from "./format.ts";
import { format, t } from "./i18n.ts";
import { Icon } from "./icons.tsx";
import { connection, now } from "./live.ts";
import type { Resource } from "./resource.ts";
import { sparkPath } from "./shapes.ts";

/** A state: shape, colour and word, so that none of them is needed alone. */
export function Badge({
  tone,
  children,
  title,
}: {
  tone: Tone;
  children: ComponentChildren;
  title?: string | undefined;
}) {
  return (
    <span class={`badge ${tone}`} title={title}>
      <Icon name={tone} />
      <span>{children}</span>
    </span>
  );
}

/** A time in the viewer's zone, how long ago beside it, and all of it for who points at it. */
export function When({
  wallMs,
  ageOnly = false,
  seconds = false,
}: {
  wallMs: number | null;
  ageOnly?: boolean;
  seconds?: boolean;
}) {
  if (wallMs === null) return <span class="muted">{UNKNOWN}</span>;
  const f = format.value;
  const age = f.age(now.value - wallMs);
  const tellAll = ({ currentTarget }: TargetedPointerEvent<HTMLTimeElement>): void => {
    currentTarget.title = f.fullTime(wallMs);
  };
  return (
    <time dateTime={new Date(wallMs).toISOString()} onPointerEnter={tellAll}>
      {ageOnly ? null : <span class="clock">{seconds ? f.moment(wallMs, now.value) : f.time(wallMs, now.value)} </span>}
      <span class={ageOnly ? "" : "muted"}>{age}</span>
    </time>
  );
}

function Fill({ percent }: { percent: number | null }) {
  return (
    <div
      class={percent === null ? "fill moving" : "fill"}
      style={{ width: percent === null ? "30%" : `${percent}%` }}
    />
  );
}

const percentOf = (ratio: number): number => Math.round(Math.min(1, Math.max(0, ratio)) * 1000) / 10;

/** How far something is. `ratio` null: under way, and nobody knows how far. */
export function Bar({ ratio, tone = "busy", label }: { ratio: number | null; tone?: Tone; label: string }) {
  const percent = ratio === null ? null : percentOf(ratio);
  const value = percent === null ? {} : { "aria-valuenow": Math.floor(percent) };
  return (
    <div class={`bar ${tone}`} role="progressbar" aria-label={label} aria-valuemin={0} aria-valuemax={100} {...value}>
      <Fill percent={percent} />
    </div>
  );
}

/** How much of something is used. */
export function Meter({ ratio, tone = "busy", label }: { ratio: number; tone?: Tone; label: string }) {
  const percent = percentOf(ratio);
  return (
    <div
      class={`bar ${tone}`}
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.floor(percent)}
    >
      <Fill percent={percent} />
    </div>
  );
}

/** The line of a few numbers; what they say must stand beside it in words. */
export function Spark({
  values,
  fit = false,
  area = false,
}: {
  values: readonly number[];
  fit?: boolean;
  area?: boolean;
}) {
  const path = sparkPath(values, 100, 20, fit);
  if (path === "") return <span class="spark none" aria-hidden="true" />;
  return (
    <svg class="spark" viewBox="-1 -2 102 24" preserveAspectRatio="none" aria-hidden="true">
      {area ? <path class="area" d={`${path}L100 20L0 20Z`} /> : null}
      <path d={path} />
    </svg>
  );
}

/** A name and its value, as one pair of a list. */
export function Fact({ name, children, wide = false }: { name: string; children: ComponentChildren; wide?: boolean }) {
  return (
    <div class={wide ? "fact wide" : "fact"}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** `label`: its name for who cannot see it, where the title has a number that moves. */
export function Panel({
  title,
  label = title,
  aside,
  children,
  flush = false,
}: {
  title: string;
  label?: string;
  aside?: ComponentChildren;
  children: ComponentChildren;
  flush?: boolean;
}) {
  return (
    <section class={flush ? "panel flush" : "panel"} aria-label={label}>
      <header>
        <h2>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  );
}

/** There is nothing, which is no error: says why, or what will be here. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <Icon name="empty" />
      <p>{title}</p>
      {children === undefined ? null : <p class="muted">{children}</p>}
    </div>
  );
}

export function Loading({ rows = 3 }: { rows?: number }) {
  return (
    <div class="loading" role="status">
      <span class="hidden">{t("loading")}</span>
      {Array.from({ length: rows }, (_, i) => (
        <div key={i} class="ghost" />
      ))}
    </div>
  );
}

export function Failed({ failure, again }: { failure: ApiFailure; again: () => void }) {
  const offline = failure.kind === "offline";
  return (
    <div class="failed" role="alert">
      <Icon name="bad" />
      <p>{offline ? t("failed.offline") : failure.kind === "not-found" ? t("failed.notFound") : t("failed.other")}</p>
      {failure.message === "" ? null : (
        <p class="muted">
          <code>{failure.code}</code> {failure.message}
        </p>
      )}
      {failure.hint === null ? null : <p class="muted">{failure.hint}</p>}
      <button type="button" onClick={again}>
        {t("tryAgain")}
      </button>
    </div>
  );
}

/** What stands where an answer is not there yet, or did not come; and what is said when the one that is shown could not be renewed. */
export function Asking({ asked, rows }: { asked: Resource<unknown>; rows: number }) {
  const failure = asked.failure.value;
  if (asked.value.value === null)
    return failure === null ? <Loading rows={rows} /> : <Failed failure={failure} again={asked.refresh} />;
  // That nobody answers is said over the whole page.
  if (failure === null || (failure.kind === "offline" && connection.value === "lost")) return null;
  return (
    <p class="stale" role="status">
      <Icon name="warn" />
      <span>
        {t("failed.stale")} {failure.code === "offline" ? "" : <code>{failure.code}</code>} {failure.message}
      </span>
      <button type="button" onClick={asked.refresh}>
        {t("tryAgain")}
      </button>
    </p>
  );
}

/** The heading of a view; gets the focus when one comes to it. */
export function Title({ children, aside }: { children: ComponentChildren; aside?: ComponentChildren }) {
  return (
    <div class="title">
      <h1 tabIndex={-1}>{children}</h1>
      {aside}
    </div>
  );
}
