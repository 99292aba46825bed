/** An archive's contents from its index, one directory at a time, and one file of it to download. */
import { useMemo } from "preact/hooks";
import type { TreeAnswer, TreeEntry } from "#web/api-archives.ts";
import { access } from "./api.ts";
import { queryText } from "./filters.ts";
import { format, language, t } from "./i18n.ts";
import { Icon, type IconName } from "./icons.tsx";
import { now } from "./live.ts";
import { Badge, Empty, Fact, Failed, Loading, Panel, Title, When } from "./parts.tsx";
import { archiveWallMs, pathSteps } from "./path-keys.ts";
import { query } from "./router.ts";
import { type ArchivePlace, pathOf } from "./routes.ts";
import { type Column, Table } from "./table.tsx";
import { Trail } from "./trail.tsx";
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

type Flag = TreeEntry["flags"][number];

/** That a file changed just before it was read means nothing to who looks for one. */
function isTold(flag: Flag): flag is Exclude<Flag, "racy"> {
  return flag !== "racy";
}

function Flags({ entry }: { entry: TreeEntry }) {
  return (
    <>
      {entry.flags.filter(isTold).map((flag) => (
        <Badge key={flag} tone="warn" title={t(`flag.${flag}`)}>
          {t(`flag.${flag}`)}
        </Badge>
      ))}
    </>
  );
}

function EntryName({ place, entry }: { place: InArchive; entry: TreeEntry }) {
  const name = (
    <>
      <Icon name={entryIcon(entry)} /> <span>{entry.name}</span>
      {entry.link === null ? null : <span class="muted"> → {entry.link}</span>}
      {entry.flags.some(isTold) ? " " : ""}
      <Flags entry={entry} />
    </>
  );
  if (entry.type !== "directory")
    return (
      <span class="name entry" title={entry.path}>
        {name}
      </span>
    );
  return (
    <a class="name entry" href={urlOf(place, entry.key)} title={entry.path}>
      {name}
    </a>
  );
}

function treeColumns(place: InArchive): readonly Column<TreeEntry>[] {
  return [
    {
      key: "name",
      label: t("tree.name"),
      width: "minmax(17rem, 3fr)",
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
      width: "minmax(13.6rem, 0.8fr)",
      drop: 1,
      narrow: "line",
      cell: (entry) => <When wallMs={entry.mtimeWallMs} />,
    },
    {
      key: "mode",
      label: t("tree.mode"),
      width: "6.5rem",
      drop: 3,
      narrow: "none",
      cell: (entry) => <span class="mono">{modeText(entry.mode)}</span>,
    },
    {
      key: "owner",
      label: t("tree.owner"),
      width: "minmax(6rem, 0.7fr)",
      drop: 2,
      narrow: "none",
      cell: (entry) => entry.owner ?? "",
    },
    {
      key: "flags",
      label: t("col.notes"),
      width: "0",
      narrow: "line",
      narrowOnly: true,
      cell: (entry) => (entry.flags.some(isTold) ? <Flags entry={entry} /> : null),
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

function urlOf(place: InArchive, key: string | null): string {
  return `${pathOf({ view: "archive", ...place })}${queryText({ key })}`;
}

/** Where one is, every directory above as a link, and the way up. */
function Path({ place, answer }: { place: InArchive; answer: TreeAnswer }) {
  const steps = pathSteps(answer.key, answer.path);
  const above = steps.slice(0, -1);
  return (
    <nav class="path mono" aria-label={t("tree.path")}>
      <a href={urlOf(place, null)} aria-label={t("tree.top")}>
        /
      </a>
      {above.map(({ name, key }) => (
        <span key={key}>
          <a href={urlOf(place, key)}>{name}</a>/
        </span>
      ))}
      <span>{steps.at(-1)?.name ?? ""}</span>
      {answer.key === null ? null : (
        <a class="button" href={urlOf(place, above.at(-1)?.key ?? null)}>
          {t("tree.back")}
        </a>
      )}
    </nav>
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

/** Which of the archives this is. */
function Begun({ archive }: { archive: string }) {
  const wallMs = archiveWallMs(archive);
  return wallMs === null ? null : <span class="muted"> · {format.value.time(wallMs, now.value)}</span>;
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
        <Begun archive={place.archive} />
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
