/**
 * The certificate of an agent without a daemon: a run of `--once` renews it when it is due, once its backups are over. It opens a control
 * connection for that alone, hears what the server tells, asks, and goes. It never rejects and takes half a minute at the longest, so that
 * no backup fails and no cron job hangs for its sake.
 */
import type { Clock } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { EventSink } from "#observe/events.ts";
import type { Succession } from "#pki/succession.ts";
import { type CertificateLife, renewalDueMs } from "#pki/renewal.ts";
import { failureFromFields } from "#wire/failure.ts";
import { certificateRenewed, notOffered, type RenewalOptions } from "./certificate-renewal.ts";
import { ControlRenewals } from "./control-renewals.ts";
import type { FrameLink } from "./frame-link.ts";
import { type HandshakeDeps, openLink } from "./handshake.ts";

export interface OnceRenewalOptions extends Pick<RenewalOptions, "prepare" | "makeRequest" | "install"> {
  readonly clock: Clock;
  readonly events: EventSink;
  readonly current: CertificateLife;
  readonly deps: HandshakeDeps;
  /** The server tells of new CAs. Never throws. */
  readonly successors: (successions: readonly Succession[]) => void;
  /** Whether a daemon of this agent runs here: the renewal is its own then, and so is the one control connection. */
  readonly hasDaemon: () => Promise<boolean>;
  /** The run was interrupted. */
  readonly signal: AbortSignal;
}

const LIMIT_MS = 30_000;
/** With more left nobody has to hear each night that it did not work: a daemon says it once a day, in a log. */
const SOON_MS = 30 * 86_400_000;
const DAY_MS = 86_400_000;

export async function renewWhenDue(options: OnceRenewalOptions): Promise<void> {
  const { clock, events, current, signal } = options;
  if (signal.aborted || renewalDueMs(current) > clock.wall() || (await options.hasDaemon())) return;
  try {
    const renewed = options.prepare() ?? (await exchange(options));
    events.emit(certificateRenewed(renewed));
  } catch (error) {
    if (signal.aborted) return;
    const { code, message, hint } = toFailure(error);
    const leftMs = current.notAfterMs - clock.wall();
    events.emit({
      kind: "certificate.renewal-failed",
      level: leftMs < SOON_MS ? "warn" : "info",
      message: `the certificate could not be renewed: ${message}`,
      fields: { code, hint, daysLeft: Math.max(0, Math.floor(leftMs / DAY_MS)) },
    });
  }
}

async function exchange(options: OnceRenewalOptions): Promise<CertificateLife> {
  const { clock, signal, makeRequest, install } = options;
  const stop = new AbortController();
  const onAbort = (): void => stop.abort();
  signal.addEventListener("abort", onAbort, { once: true });
  const late = Promise.withResolvers<never>();
  const timer = clock.after(LIMIT_MS, () => {
    late.reject(new Failure("E_TIMEOUT", `the server gave no certificate within ${LIMIT_MS / 1000} s`));
    stop.abort();
  });
  try {
    const { keyPem, requestDer } = makeRequest();
    return install(await Promise.race([ask(options, requestDer, stop.signal), late.promise]), keyPem);
  } finally {
    timer.cancel();
    signal.removeEventListener("abort", onAbort);
  }
}

/** Resolves with PEM. */
function ask({ clock, deps, successors }: OnceRenewalOptions, request: Uint8Array, stop: AbortSignal): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const renewals = new ControlRenewals(clock);
  let opened: FrameLink | undefined;
  let asked = false;
  /** Without a goodbye the server would wait for this agent to come back, and miss it during its next backup. */
  const leave = (failure?: Failure): void => {
    opened?.send("goodbye", {});
    if (failure !== undefined) renewals.fail(failure);
    if (failure !== undefined) reject(failure);
    opened?.end();
  };
  const welcomed = ({ link }: { readonly link: FrameLink }): void => {
    opened = link;
    stop.addEventListener("abort", () => leave(new Failure("E_INTERRUPTED", "interrupted")), { once: true });
    link.handle({
      message: (message) => {
        if (message.type === "refused") link.destroy(failureFromFields(message.body));
        if (message.type === "renewAnswer") renewals.answered(message.body);
        // Nobody is here who could run it.
        if (message.type === "run")
          link.send("runAnswer", { request: message.body.request, accepted: false, code: "E_SHUTDOWN" });
      },
      pong: ({ server }) => {
        if (asked || server === undefined) return;
        asked = true;
        // First: what the new CA has issued can be used only then.
        if (server.successors !== undefined) successors(server.successors);
        if (server.renews === true) renewals.ask(request, (renew) => link.send("renew", renew)).then(resolve, reject);
        else reject(notOffered());
      },
      closed: (failure) => {
        const why = failure ?? new Failure("E_DISCONNECTED", "the server closed the connection before the answer came");
        renewals.fail(why);
        reject(why);
      },
    });
    link.enter("agent/control");
    link.ping();
  };
  openLink(deps, { role: "control" }, { name: "control connection", signal: stop, welcomed }).catch(reject);
  return promise.finally(() => leave());
}
