/** A file over all archives of a backup entry: which states of it there are, from when to when, and any of them to download. */
import { useEffect, useState } from "preact/hooks";
import type { FindAnswer, FoundFile, FoundVersion } from "#web/api-archives.ts";
import { type Answer, type ApiFailure, askUnlessOver } from "./api.ts";
import { queryText } from "./filters.ts";
import { format, t, tn } from "./i18n.ts";
import { Icon } from "./icons.tsx";
import { now } from "./live.ts";
import { Empty, Failed, Loading, Panel, Title, When } from "./parts.tsx";
import { archiveWallMs } from "./path-keys.ts";
import { query, setQuery } from "./router.ts";
import { type ArchivePlace, pathOf } from "./routes.ts";
import { Trail } from "./trail.tsx";
import { Download, entryIcon } from "./tree.tsx";

const FILES_MAX = "100";

interface Found {
  /** Of all pages so far. */
  readonly answer: FindAnswer | null;
  readonly failure: ApiFailure | null;
  readonly busy: boolean;
}

const NOTHING: Found = { answer: null, failure: null, busy: false };

/** A page that did not come takes none of those away that did. */
function joined(before: Found, answer: Answer<FindAnswer>): Found {
  if (!answer.ok) return { ...before, failure: answer.failure, busy: false };
  const rows = [...(before.answer?.rows ?? []), ...answer.value.rows];
  return { answer: { ...answer.value, rows }, failure: null, busy: false };
}

function useFind(place: ArchivePlace, pattern: string | undefined): Found & { more(): void; again(): void } {
  const [state, setState] = useState(NOTHING);
  const [wanted, setWanted] = useState<{ readonly url: string; readonly after: string | null } | null>(null);
  const [turn, setTurn] = useState(0);
  const { storage, agent, backup } = place;
  const url = `/api/v1/archives/find${queryText({ storage, agent, backup, pattern, limit: FILES_MAX })}`;
  // A place in another search is none in this one.
  const after = wanted?.url === url ? wanted.after : null;
  useEffect(() => setState(NOTHING), [url]);
  useEffect(() => {
    if (pattern === undefined) return undefined;
    // A search reads many indexes: one that nobody waits for any more is called off.
    const abort = new AbortController();
    setState((before) => ({ ...before, failure: null, busy: true }));
    void askUnlessOver<FindAnswer>(after === null ? url : `${url}&after=${after}`, abort.signal).then((answer) => {
      if (answer !== undefined && !abort.signal.aborted) setState((before) => joined(before, answer));
    });
    return () => abort.abort();
  }, [url, after, turn]);
  return {
    ...state,
    more: () => setWanted({ url, after: state.answer?.next ?? null }),
    again: () => setTurn((before) => before + 1),
  };
}

/** An archive by its time in the viewer's zone, as every time here; its name is the title. */
function ArchiveLink({ place, name }: { place: ArchivePlace; name: string }) {
  const wallMs = archiveWallMs(name);
  return (
    <a href={pathOf({ view: "archive", ...place, archive: name })} title={name}>
      {wallMs === null ? name : format.value.time(wallMs, now.value)}
    </a>
  );
}

function Version({ file, version }: { file: FoundFile; version: FoundVersion }) {
  const { entry } = version;
  const place = { storage: version.storage, agent: file.agent, backup: file.backup };
  return (
    <li>
      <span>
        <span class="muted small">{t("tree.changed")}</span> <When wallMs={entry.mtimeWallMs} />
      </span>
      <span class="number">{entry.type === "file" ? format.value.bytes(entry.bytes) : ""}</span>
      <span class="muted">
        {tn("find.inArchives", version.archiveCount)}: <ArchiveLink place={place} name={version.first} />
        {version.first === version.last ? null : (
          <>
            {" – "}
            <ArchiveLink place={place} name={version.last} />
          </>
        )}
      </span>
      <span class="get">
        <Download place={{ ...place, archive: version.last }} entry={entry} />
      </span>
    </li>
  );
}

function Files({ answer }: { answer: FindAnswer }) {
  if (answer.rows.length === 0)
    return <Empty title={t("find.nothing")}>{tn("find.searched", answer.archiveCount)}</Empty>;
  return (
    <ul class="list found">
      {answer.rows.map((file) => (
        <li key={file.key}>
          <p class="name entry">
            <Icon name={entryIcon(file.versions[0]?.entry ?? { type: "file" })} /> <b class="mono">{file.path}</b>{" "}
            <span class="muted">{tn("find.versions", file.versions.length)}</span>
          </p>
          <ul class="versions">
            {[...file.versions].reverse().map((version) => (
              <Version key={`${version.storage}/${version.first}`} file={file} version={version} />
            ))}
          </ul>
        </li>
      ))}
    </ul>
  );
}

export function Find(place: ArchivePlace) {
  const pattern = query.value["pattern"];
  const { answer, failure, busy, more, again } = useFind(place, pattern);
  return (
    <>
      <Trail place={place} here={t("find.title")} />
      <Title>{t("find.title")}</Title>
      <form
        class="find"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          const text = new FormData(event.currentTarget).get("pattern");
          setQuery({ pattern: typeof text === "string" ? text.trim() : null });
        }}
      >
        <label for="pattern">{t("find.label")}</label>
        <input
          id="pattern"
          name="pattern"
          type="search"
          class="mono"
          defaultValue={pattern ?? ""}
          placeholder="**/nginx.conf"
          autoComplete="off"
          spellcheck={false}
        />
        <button type="submit" class="primary">
          {t("find.go")}
        </button>
      </form>
      <p class="muted note">{t("find.hint")}</p>
      {pattern === undefined ? null : (
        <Panel title={answer === null ? t("find.searching") : tn("find.found", answer.rows.length)}>
          {answer === null ? null : <Files answer={answer} />}
          {busy ? <Loading rows={4} /> : null}
          {failure === null ? null : <Failed failure={failure} again={again} />}
          {answer?.next == null || busy || failure !== null ? null : (
            <button type="button" class="more" onClick={more}>
              {t("find.more")}
            </button>
          )}
          {answer?.failures.map((text) => (
            <p key={text} class="tone-warn">
              {text}
            </p>
          ))}
        </Panel>
      )}
    </>
  );
}
