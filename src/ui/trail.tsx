/** Where among the archives one is, with links back. */
import { t } from "./i18n.ts";
import { type ArchivePlace, pathOf } from "./routes.ts";

export function Trail({ place, archive, here }: { place: ArchivePlace; archive?: string; here?: string }) {
  const last = archive ?? here;
  return (
    <nav class="trail" aria-label={t("archives.where")}>
      <a href="/archives">{t("nav.archives")}</a> › <span class="muted">{place.storage}</span> ›{" "}
      <a href={pathOf({ view: "agent", agent: place.agent })}>{place.agent}</a> ›{" "}
      {last === undefined ? (
        <span>{place.backup}</span>
      ) : (
        <a href={pathOf({ view: "backup", ...place })}>{place.backup}</a>
      )}
      {last === undefined ? null : (
        <>
          {" "}
          › <span class={archive === undefined ? "" : "mono"}>{last}</span>
        </>
      )}
    </nav>
  );
}
