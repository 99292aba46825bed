/** A file over all archives of a backup entry: which states of it there are, from when to when, and any of them to download. */
import { useEffect, useState } from "preact/hooks";
import type { FindAnswer, FoundFile, FoundVersion } from "#web/api-archives.ts";
import { type ApiFailure, ask } from "./api.ts";
import { Trail } from "./archives.tsx";
import { queryText } from "./filters.ts";
import { format, t, tn } from "./i18n.ts";
import { Icon } from "./icons.tsx";
import { Empty, Failed, Loading, Panel, Title, When } from "./parts.tsx";
import { query, setQuery } from "./router.ts";
import { type ArchivePlace, pathOf } from "./routes.ts";
import { Download, entryIcon } from "./tree.tsx";

const FILES_MAX = "100";

interface Found {
  readonly answer: FindAnswer | null;
  readonly failure: ApiFailure | null;
  readonly busy: boolean;
}

function useFind(place: ArchivePlace, pattern: string | undefined, turn: number): Found {
  const [state, setState] = useState<Found>({ answer: null, failure: null, busy: false });
  const { storage, agent, backup } = place;
  useEffect(() => {
    if (pattern === undefined) return undefined;
    let over = false;
    setState({ answer: null, failure: null, busy: true });
    void ask<FindAnswer>(
      `/api/v1/archives/find${queryText({ storage, agent, backup, pattern, limit: FILES_MAX })}`,
    ).then((answer) => {
      if (over) return;
      setState({ answer: answer.ok ? answer.value : null, failure: answer.ok ? null : answer.failure, busy: false });
    });
    return () => {
      over = true;
    };
  }, [storage, agent, backup, pattern, turn]);
  return state;
}

function Version({ file, version }: { file: FoundFile; version: FoundVersion }) {
  const { entry } = version;
  const place = { storage: version.storage, agent: file.agent, backup: file.backup, archive: version.last };
  return (
    <li>
      <span>
        <When wallMs={entry.mtimeWallMs} />
      </span>
      <span class="number">{entry.type === "file" ? format.value.bytes(entry.bytes) : ""}</span>
      <span class="muted">
        {tn("find.inArchives", version.archiveCount)}:{" "}
        <a class="mono" href={pathOf({ view: "archive", ...place, archive: version.first })}>
          {shortName(version.first)}
        </a>
        {version.first === version.last ? null : (
          <>
            {" – "}
            <a class="mono" href={pathOf({ view: "archive", ...place })}>
              {shortName(version.last)}
            </a>
          </>
        )}
      </span>
      <Download place={place} entry={entry} />
    </li>
  );
}

/** An archive's time without what all of them end with. */
function shortName(name: string): string {
  return name.replace(/-\d{3}Z\.tar\.(gz|zst)$/, "");
}

function Files({ answer }: { answer: FindAnswer }) {
  if (answer.files.length === 0)
    return <Empty title={t("find.nothing")}>{tn("find.searched", answer.archiveCount)}</Empty>;
  return (
    <ul class="list found">
      {answer.files.map((file) => (
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
  const [turn, setTurn] = useState(0);
  const { answer, failure, busy } = useFind(place, pattern, turn);
  return (
    <>
      <Trail place={place} archive={t("find.title")} />
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
        <Panel title={answer === null ? t("find.searching") : tn("find.found", answer.files.length)}>
          {busy ? <Loading rows={4} /> : null}
          {failure === null ? null : <Failed failure={failure} again={() => setTurn(turn + 1)} />}
          {answer === null ? null : <Files answer={answer} />}
          {answer?.more === true ? <p class="muted">{t("find.more")}</p> : null}
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
