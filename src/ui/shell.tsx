/** The frame of every view: navigation, switches, and whether what is shown is live. */
import { useEffect, useRef } from "preact/hooks";
import { access, logOut } from "./api.ts";
import { Agent } from "./agent.tsx";
import { Agents } from "./agents.tsx";
import { Archives } from "./archives.tsx";
import { Backup } from "./backup.tsx";
import { Config } from "./config.tsx";
import { Events } from "./events.tsx";
import { Find } from "./find.tsx";
import { format, t } from "./i18n.ts";
import { Icon } from "./icons.tsx";
import { boot, connection, lostSince, lostWhy, now, server, software } from "./live.ts";
import { Login } from "./login.tsx";
import { Overview } from "./overview.tsx";
import { Empty } from "./parts.tsx";
import { forgetAnswers } from "./resource.ts";
import { route } from "./router.ts";
import { type Route, titleOf, TOP_VIEWS, topView } from "./routes.ts";
import { Session } from "./session.tsx";
import { Sessions } from "./sessions.tsx";
import { Storages } from "./storages.tsx";
import { startStream, stopStream } from "./stream.ts";
import { Switches } from "./switches.tsx";
import { Archive } from "./tree.tsx";

function Connected() {
  const text = t(`connection.${connection.value}`);
  return (
    <span class={`connection ${connection.value}`} title={software.value ?? undefined}>
      <i aria-hidden="true" />
      <span>{text}</span>
    </span>
  );
}

/** Over everything when what is shown is no longer so. */
function Banner() {
  if (connection.value === "lost") {
    const since = lostSince.value;
    const why = lostWhy.value === "silent" ? (boot.value === null ? "never" : "lost") : lostWhy.value;
    return (
      <div class="banner bad" role="alert">
        <Icon name="warn" />
        <span>
          {t(`banner.${why}`)}
          {since === null ? null : ` ${t("banner.since", { time: format.value.time(since, now.value) })}`}
        </span>
      </div>
    );
  }
  if (server.value?.stopping === true) {
    return (
      <div class="banner warn" role="status">
        <Icon name="warn" />
        <span>{t("banner.stopping")}</span>
      </div>
    );
  }
  return null;
}

function View({ at }: { at: Route }) {
  switch (at.view) {
    case "overview":
      return <Overview />;
    case "sessions":
      return <Sessions />;
    case "session":
      return <Session key={at.session} session={at.session} />;
    case "archives":
      return <Archives />;
    case "backup":
      return (
        <Backup
          key={`${at.storage}/${at.agent}/${at.backup}`}
          storage={at.storage}
          agent={at.agent}
          backup={at.backup}
        />
      );
    case "archive":
      return <Archive storage={at.storage} agent={at.agent} backup={at.backup} archive={at.archive} />;
    case "find":
      return <Find storage={at.storage} agent={at.agent} backup={at.backup} />;
    case "agents":
      return <Agents />;
    case "agent":
      return <Agent key={at.agent} agent={at.agent} />;
    case "storages":
      return <Storages />;
    case "events":
      return <Events />;
    case "config":
      return <Config />;
    case "unknown":
      return (
        <>
          <h1 tabIndex={-1}>{t("unknown.title")}</h1>
          <Empty title={t("unknown.text")} />
        </>
      );
  }
}

function Navigation() {
  const here = topView(route.value);
  const list = useRef<HTMLElement>(null);
  useEffect(() => {
    // On a narrow screen the list is longer than the screen is wide.
    const link = list.current?.querySelector<HTMLElement>("[aria-current]");
    if (link != null) list.current?.scrollTo({ left: link.offsetLeft - link.offsetWidth });
  }, [here]);
  return (
    <nav class="nav" aria-label={t("nav")} ref={list}>
      {TOP_VIEWS.map((name) => (
        <a key={name} href={name === "overview" ? "/" : `/${name}`} aria-current={here === name ? "page" : undefined}>
          {t(`nav.${name}`)}
        </a>
      ))}
    </nav>
  );
}

function Leave() {
  if (access.value?.loggedIn !== true || !access.value.passwordNeeded) return null;
  const onClick = (): void => {
    stopStream();
    forgetAnswers();
    void logOut().then(() => {
      // The server did not hear it: one is still logged in.
      if (access.value?.loggedIn === true) startStream();
    });
  };
  return (
    <button type="button" onClick={onClick} aria-label={t("logout")} title={t("logout")}>
      <Icon name="out" />
    </button>
  );
}

export function Shell() {
  const at = route.value;
  const name = topView(at);
  const title = `${titleOf(at) ?? (name === undefined ? t("unknown.title") : t(`nav.${name}`))} · nbackup`;
  useEffect(() => {
    document.title = title;
  }, [title]);
  if (access.value?.passwordNeeded === true && !access.value.loggedIn) return <Login />;
  return (
    <>
      <a class="skip" href="#main">
        {t("skip")}
      </a>
      <header class="head">
        <a class="brand" href="/">
          <svg viewBox="0 0 16 16" aria-hidden="true">
            <path d="M2 4.5h12M2 8h12M2 11.5h7" />
            <circle cx="12.5" cy="11.5" r="1.8" />
          </svg>
          nbackup
        </a>
        <Navigation />
        <Connected />
        <Switches />
        <Leave />
      </header>
      <Banner />
      <main id="main" tabIndex={-1}>
        <View at={at} />
      </main>
      <footer class="foot muted small">{software.value ?? ""}</footer>
    </>
  );
}
