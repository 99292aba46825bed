/** An archive's contents from its index, one directory at a time, and one file of it to download. */
import { useMemo } from "preact/hooks";
import type { TreeAnswer, TreeEntry } from "#web/api-archives.ts";
import { access } from "./api.ts";
import { Trail } from "./archives.tsx";
import { queryText } from "./filters.ts";
import { format, language, t } from "./i18n.ts";
import { Icon, type IconName } from "./icons.tsx";
import { Badge, Empty, Fact, Failed, Loading, Panel, Title, When } from "./parts.tsx";
import { query } from "./router.ts";
import { type ArchivePlace, pathOf } from "./routes.ts";
import { type Column, Table } from "./table.tsx";
import { useTree } from "./tree-pages.ts";

export interface InArchive extends ArchivePlace {
  readonly archive: string;
}

export function entryIcon(entry: Pick<TreeEntry, "type">): IconName {
  if (entry.type === "directory") return "folder";
  if (entry.type === "file") return "file";
  return entry.type === "symlink" || entry.type === "hardlink" ? "link" : "special";
}

/** The server answers with an attachment, and records who took what. */
export function Download({
  place,
  entry,
}: {
  place: InArchive;
  entry: Pick<TreeEntry, "key" | "name" | "downloadable">;
}) {
  if (access.value?.download !== true || !entry.downloadable) return null;
  const { storage, agent, backup, archive } = place;
  return (
    <a
      class="button"
      download
      href={`/api/v1/archives/file${queryText({ storage, agent, backup, archive, key: entry.key })}`}
      aria-label={t("tree.downloadOf", { name: entry.name })}
    >
      <Icon name="download" /> {t("tree.download")}
    </a>
  );
}

/** `rwxr-x---` */
function modeText(mode: number | null): string {
  if (mode === null) return "";
  return [8, 7, 6, 5, 4, 3, 2, 1, 0].map((bit) => ((mode >> bit) & 1 ? ("xwr"[bit % 3] ?? "") : "-")).join("");
}

function EntryName({ place, entry }: { place: InArchive; entry: TreeEntry }) {
  const name = (
    <>
      <Icon name={entryIcon(entry)} /> <span>{entry.name}</span>
      {entry.link === null ? null : <span class="muted"> → {entry.link}</span>}
    </>
  );
  if (entry.type !== "directory")
    return (
      <span class="name entry" title={entry.path}>
        {name}
      </span>
    );
  return (
    <a
      class="name entry"
      href={`${pathOf({ view: "archive", ...place })}${queryText({ key: entry.key })}`}
      title={entry.path}
    >
      {name}
    </a>
  );
}

function treeColumns(place: InArchive): readonly Column<TreeEntry>[] {
  return [
    {
      key: "name",
      label: t("tree.name"),
      width: "minmax(12rem, 3fr)",
      narrow: "main",
      cell: (entry) => <EntryName place={place} entry={entry} />,
    },
    {
      key: "size",
      label: t("col.size"),
      width: "5.5rem",
      number: true,
      narrow: "line",
      cell: (entry) => (entry.type === "file" ? format.value.bytes(entry.bytes) : ""),
    },
    {
      key: "mtime",
      label: t("tree.changed"),
      width: "minmax(11.4rem, 0.8fr)",
      narrow: "line",
      cell: (entry) => <When wallMs={entry.mtimeWallMs} />,
    },
    {
      key: "mode",
      label: t("tree.mode"),
      width: "6.5rem",
      narrow: "none",
      cell: (entry) => <span class="mono">{modeText(entry.mode)}</span>,
    },
    {
      key: "owner",
      label: t("tree.owner"),
      width: "minmax(6rem, 0.7fr)",
      narrow: "none",
      cell: (entry) => entry.owner ?? "",
    },
    {
      key: "flags",
      label: t("col.notes"),
      width: "minmax(10.5rem, 0.8fr)",
      narrow: "none",
      cell: (entry) =>
        entry.flags
          .filter((flag) => flag !== "racy")
          .map((flag) => (
            <Badge key={flag} tone="warn">
              {t(`flag.${flag}`)}
            </Badge>
          )),
    },
    {
      key: "get",
      label: t("tree.download"),
      width: "8rem",
      narrow: "end",
      cell: (entry) => <Download place={place} entry={entry} />,
    },
  ];
}

/** The directories above, from the path that is shown; only the top can be linked, for keys are the server's. */
function Path({ place, answer }: { place: InArchive; answer: TreeAnswer }) {
  return (
    <p class="path mono">
      <a href={pathOf({ view: "archive", ...place })}>/</a>
      <span>{answer.path ?? ""}</span>
      {answer.key === null ? null : (
        <button type="button" onClick={() => history.back()}>
          {t("tree.back")}
        </button>
      )}
    </p>
  );
}

function Facts({ answer }: { answer: TreeAnswer }) {
  const { archive } = answer;
  const f = format.value;
  return (
    <dl class="facts panel">
      <Fact name={t("archive.begun")}>
        <When wallMs={archive.timeWallMs} />
      </Fact>
      <Fact name={t("archive.stored")}>{f.bytes(archive.bytes)}</Fact>
      <Fact name={t("session.raw")}>{f.bytes(archive.rawBytes)}</Fact>
      <Fact name={t("col.files")}>{f.count(archive.entries)}</Fact>
      <Fact name={t("col.duration")}>{f.duration(archive.durationMs)}</Fact>
      <Fact name={t("session.problems")}>{f.count(archive.problems)}</Fact>
      {archive.damage === null ? null : (
        <Fact name={t("badge.damaged")} wide>
          {archive.damage}
        </Fact>
      )}
      {archive.sha256 === null ? null : (
        <Fact name="SHA-256" wide>
          <span class="mono break">{archive.sha256}</span>
        </Fact>
      )}
    </dl>
  );
}

export function Archive(place: InArchive) {
  const key = query.value["key"] ?? null;
  const { answer, rows, failure, more, again, complete } = useTree(place, key);
  const columns = useMemo(
    () => treeColumns(place),
    [language.value, place.storage, place.agent, place.backup, place.archive],
  );
  return (
    <>
      <Trail place={place} archive={place.archive} />
      <Title
        aside={
          <a
            class="button"
            href={pathOf({ view: "find", storage: place.storage, agent: place.agent, backup: place.backup })}
          >
            {t("find.title")}
          </a>
        }
      >
        {place.agent} / {place.backup}
      </Title>
      {failure === null ? null : <Failed failure={failure} again={again} />}
      {answer === null && failure === null ? <Loading rows={6} /> : null}
      {answer === null ? null : (
        <>
          {answer.key === null ? <Facts answer={answer} /> : null}
          <Panel title={t("tree.title")} flush>
            <Path place={place} answer={answer} />
            {rows.length === 0 ? (
              <Empty title={t("tree.empty")} />
            ) : (
              <Table
                label={t("tree.title")}
                columns={columns}
                rows={rows}
                rowKey={(entry) => entry.key}
                total={complete ? rows.length : rows.length + 1}
                onEnd={more}
              />
            )}
          </Panel>
        </>
      )}
    </>
  );
}
