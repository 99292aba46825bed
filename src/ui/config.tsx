/** The configuration in force: what stands in the file, and what is a default. Secrets are not here: the server hides them. */
import { useMemo } from "preact/hooks";
import type { ConfigAnswer, ConfigRow } from "#web/api-types.ts";
import { Search } from "./fields.tsx";
import { UNKNOWN } from "./format.ts";
import { language, t } from "./i18n.ts";
import { Asking, Badge, Empty, Panel, Title, When } from "./parts.tsx";
import { useResource } from "./resource.ts";
import { query, setQuery } from "./router.ts";

function Value({ row }: { row: ConfigRow }) {
  const { value } = row;
  if (row.hidden) return <span class="muted">{t("config.hidden")}</span>;
  if (value === null || value === "") return <span class="muted">{UNKNOWN}</span>;
  if (typeof value === "object")
    return <span class="mono break">{value.length === 0 ? UNKNOWN : value.join(", ")}</span>;
  return <span class="mono break">{String(value)}</span>;
}

/** `storages` of `storages.main.base_dir`; what has no dot stands first, together. */
function sectionOf(key: string): string {
  const parts = key.split(".");
  if (parts.length === 1) return "";
  return parts[0] === "storages" && parts.length > 2 ? parts.slice(0, 2).join(".") : (parts[0] ?? "");
}

function groups(rows: readonly ConfigRow[]): readonly (readonly [section: string, rows: readonly ConfigRow[]])[] {
  return [...Map.groupBy(rows, (row) => sectionOf(row.key))];
}

/** Of keys and whole sections: what the file says of them counts after a restart. */
function waits(key: string, restartKeys: readonly string[]): boolean {
  return restartKeys.some((one) => key === one || key.startsWith(`${one}.`));
}

function Restart({ keys }: { keys: readonly string[] }) {
  if (keys.length === 0) return null;
  return (
    <div class="wrong warn" role="note">
      <p>{t("config.restart")}</p>
      <p class="mono">{keys.join(", ")}</p>
    </div>
  );
}

function Section({
  name,
  rows,
  restartKeys,
}: {
  name: string;
  rows: readonly ConfigRow[];
  restartKeys: readonly string[];
}) {
  return (
    <Panel title={name === "" ? t("config.general") : name} flush>
      <dl class="config">
        {rows.map((row) => (
          <div key={row.key} class={row.isDefault ? "default" : ""}>
            <dt class="mono">{name === "" ? row.key : row.key.slice(name.length + 1)}</dt>
            <dd>
              <Value row={row} /> {row.isDefault ? <Badge tone="none">{t("config.default")}</Badge> : null}{" "}
              {waits(row.key, restartKeys) ? <Badge tone="warn">{t("config.waits")}</Badge> : null}
              <p class="muted small">{row.what}</p>
            </dd>
          </div>
        ))}
      </dl>
    </Panel>
  );
}

export function Config() {
  const asked = useResource<ConfigAnswer>("/api/v1/config/effective", { routes: ["config"] });
  const answer = asked.value.value;
  const text = query.value["text"]?.toLowerCase();
  const changed = query.value["only"] === "changed";
  const shown = useMemo(() => {
    const rows = (answer?.rows ?? []).filter(
      (row) =>
        (!changed || !row.isDefault) && (text === undefined || `${row.key} ${row.what}`.toLowerCase().includes(text)),
    );
    return groups(rows);
  }, [answer, text, changed, language.value]);
  return (
    <>
      <Title
        aside={
          <div class="tools">
            <Search name="text" label={t("filter.key")} />
            <button
              type="button"
              class="chip"
              aria-pressed={changed}
              onClick={() => setQuery({ only: changed ? null : "changed" })}
            >
              {t("config.changed")}
            </button>
          </div>
        }
      >
        {t("nav.config")}
      </Title>
      <Asking asked={asked} rows={8} />
      {answer === null ? null : (
        <p class="muted note">
          <span class="mono break">{answer.file}</span> · {t("config.read")} <When wallMs={answer.readWallMs} />
        </p>
      )}
      <Restart keys={answer?.restartKeys ?? []} />
      {answer !== null && shown.length === 0 ? <Empty title={t("filter.nothing")} /> : null}
      <div class="masonry">
        {shown.map(([name, rows]) => (
          <Section key={name} name={name} rows={rows} restartKeys={answer?.restartKeys ?? []} />
        ))}
      </div>
    </>
  );
}
