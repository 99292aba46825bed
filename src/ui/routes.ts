/** The page's own URLs: every view has one, so that it can be kept, sent and reloaded. Pure; router.ts moves between them. */

export interface ArchivePlace {
  readonly storage: string;
  readonly agent: string;
  readonly backup: string;
}

export type Route =
  | { readonly view: "overview" | "sessions" | "archives" | "agents" | "storages" | "events" | "config" }
  | { readonly view: "session"; readonly session: string }
  | { readonly view: "agent"; readonly agent: string }
  | ({ readonly view: "backup" | "find" } & ArchivePlace)
  | ({ readonly view: "archive"; readonly archive: string } & ArchivePlace)
  | { readonly view: "unknown" };

export const TOP_VIEWS = ["overview", "sessions", "archives", "agents", "storages", "events", "config"] as const;

/** Which entry of the navigation a view belongs to. */
export function topView(route: Route): (typeof TOP_VIEWS)[number] | undefined {
  if (route.view === "session") return "sessions";
  if (route.view === "agent") return "agents";
  if (route.view === "backup" || route.view === "find" || route.view === "archive") return "archives";
  return TOP_VIEWS.find((name) => name === route.view);
}

/** What a view is about, for the browser's tab; undefined: its entry of the navigation says it. */
export function titleOf(route: Route): string | undefined {
  if (route.view === "session") return route.session.slice(0, 8);
  if (route.view === "agent") return route.agent;
  return "backup" in route ? `${route.agent} / ${route.backup}` : undefined;
}

function decoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part);
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

/** The view of a path; a path of none is `unknown`. */
export function parsePath(path: string): Route {
  const parts = path
    .split("/")
    .filter((part) => part !== "")
    .map(decoded);
  if (parts.includes(undefined)) return { view: "unknown" };
  const [first, second, third, fourth, fifth, ...more] = parts.filter((part) => part !== undefined);
  if (more.length > 0) return { view: "unknown" };
  if (first === undefined) return { view: "overview" };
  if (second === undefined) {
    const top = TOP_VIEWS.find((name) => name === first && name !== "overview");
    return top === undefined ? { view: "unknown" } : { view: top };
  }
  if (first === "sessions" && third === undefined) return { view: "session", session: second };
  if (first === "agents" && third === undefined) return { view: "agent", agent: second };
  if (first !== "archives" || third === undefined || fourth === undefined) return { view: "unknown" };
  const place = { storage: second, agent: third, backup: fourth };
  if (fifth === undefined) return { view: "backup", ...place };
  return fifth === "find" ? { view: "find", ...place } : { view: "archive", ...place, archive: fifth };
}

const joined = (...parts: readonly string[]): string => `/${parts.map(encodeURIComponent).join("/")}`;

export function pathOf(route: Route): string {
  switch (route.view) {
    case "session":
      return joined("sessions", route.session);
    case "agent":
      return joined("agents", route.agent);
    case "backup":
      return joined("archives", route.storage, route.agent, route.backup);
    case "find":
      return joined("archives", route.storage, route.agent, route.backup, "find");
    case "archive":
      return joined("archives", route.storage, route.agent, route.backup, route.archive);
    case "overview":
    case "unknown":
      return "/";
    default:
      return joined(route.view);
  }
}
