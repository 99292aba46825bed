/** Keeps the live stream open: connects, says when it is lost, and tries again at growing intervals. What comes goes to live.ts. */
import type { StreamMessage } from "#web/api-types.ts";
import { access, askAccess } from "./api.ts";
import { browserNow } from "./browser.ts";
import { queryText } from "./filters.ts";
import { connection, epoch, lostSince, lostWhy, now, receive, setClock, watched } from "./live.ts";

const TYPES = ["hello", "tick", "event", "ended", "session", "changed"] as const;
const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 10_000;
/** The server speaks every 5 s when nothing runs: this long without a word, and the line is dead. */
const SILENCE_MAX_MS = 20_000;
const CLOCK_MS = 5_000;
/** Hidden for longer than this, the page asks its lists again. */
const AWAY_MS = 60_000;

let source: EventSource | null = null;
let session: string | null = null;
let retryMs = RETRY_FIRST_MS;
let retryTimer: ReturnType<typeof setTimeout> | undefined;
let heardWallMs = 0;
let leftWallMs = browserNow();
let reconnecting = false;

function close(): void {
  clearTimeout(retryTimer);
  source?.close();
  source = null;
}

function lose(why: typeof lostWhy.value): void {
  close();
  if (connection.value !== "lost") lostSince.value = now.value;
  connection.value = "lost";
  lostWhy.value = why;
  retryTimer = setTimeout(() => void reconnect(), retryMs);
  retryMs = Math.min(RETRY_MAX_MS, retryMs * 2);
}

/** A stream cannot say why it was refused: whether a login is needed is asked first. */
async function reconnect(): Promise<void> {
  if (reconnecting) return;
  reconnecting = true;
  const failure = await askAccess();
  reconnecting = false;
  if (failure !== undefined) return lose(failure.code === "forbidden" ? "refused" : "silent");
  if (access.value?.passwordNeeded === true && !access.value.loggedIn) return;
  open(true);
}

/** At once, and not when its turn comes: somebody looks again, or the machine has its network back. */
function hurry(): void {
  retryMs = RETRY_FIRST_MS;
  clearTimeout(retryTimer);
  void reconnect();
}

/** `answered`: the server has just answered something else, so that a stream that does not begin is only the stream's. */
function open(answered: boolean): void {
  close();
  const opened = new EventSource(`/api/v1/stream${queryText({ session })}`);
  source = opened;
  heardWallMs = browserNow();
  let spoke = false;
  opened.addEventListener("error", () => {
    if (source === opened) lose(answered && !spoke ? "streamless" : "silent");
  });
  for (const type of TYPES) {
    opened.addEventListener(type, (event: MessageEvent<string>) => {
      spoke = true;
      heardWallMs = browserNow();
      retryMs = RETRY_FIRST_MS;
      const message: StreamMessage = { type, data: JSON.parse(event.data) };
      receive(message);
    });
  }
}

/** Begins, also again after a login. */
export function startStream(): void {
  retryMs = RETRY_FIRST_MS;
  open(false);
}

export function stopStream(): void {
  close();
  connection.value = "connecting";
}

/** Tells the server of which session the page wants all; null: of none. */
export function watchSession(next: string | null): void {
  if (session === next) return;
  session = next;
  watched.value = null;
  if (source !== null) open(false);
}

function isSilent(): boolean {
  return source !== null && browserNow() - heardWallMs > SILENCE_MAX_MS;
}

/** Looks at the page again: after a night of sleep the line may be dead, and the lists are from yesterday. */
function comeBack(): void {
  if (document.visibilityState !== "visible") {
    leftWallMs = browserNow();
    return;
  }
  if (browserNow() - leftWallMs > AWAY_MS) epoch.value += 1;
  if (isSilent()) lose("silent");
  if (connection.value === "lost") hurry();
}

/** Ages move on, a silent line is given up, and a page that comes back to the front does not wait for its turn. */
export function startClock(): void {
  setInterval(() => {
    setClock(null);
    if (isSilent()) lose("silent");
  }, CLOCK_MS);
  document.addEventListener("visibilitychange", comeBack);
  addEventListener("online", () => {
    if (connection.value === "lost") hurry();
  });
}
