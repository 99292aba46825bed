/** What goes wrong on connections: they break, stall, lose what is sent one way, damage what passes; cables are pulled. */
import { crc32 } from "node:zlib";
import { FRAME_HEADER_BYTES } from "#wire/limits.ts";
import type { LinkTap, Way } from "#test/support/memory-net.ts";
import type { SimClock } from "#test/support/sim-clock.ts";
import type { AnyMessage } from "#wire/messages.ts";
import type { Chance } from "./chance.ts";
import { Countdown } from "./countdown.ts";
import { FrameScanner } from "./frame-scanner.ts";
import { type SimLink, type SimNetwork, WAYS } from "./network.ts";
import type { SimOptions } from "./options.ts";
import type { Trace } from "./trace.ts";
import type { LinkFacts, Witness } from "./witness.ts";

export interface NetworkFaultOptions {
  readonly clock: SimClock;
  readonly chance: Chance;
  readonly trace: Trace;
  readonly options: SimOptions;
  readonly witness: Witness;
  readonly network: () => SimNetwork;
}

export class NetworkFaults {
  readonly #options: NetworkFaultOptions;
  readonly #chance: Chance;
  readonly #flip: Countdown;
  readonly #flipControl: Countdown;
  readonly #lostAnswer: Countdown;
  readonly #lie: Countdown;
  readonly #stalled = new Set<SimLink>();
  /** The session of which every Data frame is damaged. */
  #doomed: string | undefined;
  #healed = false;

  constructor(options: NetworkFaultOptions) {
    this.#options = options;
    this.#chance = options.chance;
    const { faults } = options.options;
    this.#flip = new Countdown(options.chance.fork("flip"), faults.flipBytes);
    this.#flipControl = new Countdown(options.chance.fork("flip control"), faults.flipControlFrames);
    this.#lie = new Countdown(options.chance.fork("lie"), faults.wrongProofs);
    this.#lostAnswer = new Countdown(options.chance.fork("answer"), faults.lostAnswers);
  }

  /** All faults of the network end; connections that lose what is sent stay as they are, and must be found dead. */
  heal(): void {
    this.#healed = true;
    for (const link of this.#stalled) for (const way of WAYS) link.link.release(way);
    this.#stalled.clear();
  }

  /** A connection is up: whether and where it will break is drawn now. */
  opened(link: SimLink): void {
    const { cutBytes } = this.#options.options.faults;
    if (cutBytes === undefined || this.#healed) return;
    for (const way of WAYS) {
      const bytes = Math.floor(this.#chance.gap(cutBytes));
      if (bytes > 0) link.link.cutAfter(way, bytes);
    }
  }

  tap(about: Pick<SimLink, "number" | "host" | "client">): LinkTap {
    const { witness, trace } = this.#options;
    const facts: LinkFacts = { client: about.client, session: undefined, role: undefined };
    const name = `link ${about.number}`;
    const said = new FrameScanner({
      message: (message) => {
        trace.note(`${name} server says ${summary(message)}`);
        witness.said(facts, message);
      },
      data: () => undefined,
    });
    const toServer = this.#arriving(facts, name, (message) => witness.reachedServer(facts, message));
    const toClient = this.#arriving(facts, name, () => undefined);
    return {
      sent: (way, bytes) => {
        if (way === "fromServer") said.push(bytes);
      },
      arriving: (way, bytes) => (way === "fromClient" ? toServer : toClient)(bytes),
      cut: () => trace.count("fault cutBytes"),
    };
  }

  delay(): void {
    this.#onSome("delayMs", (link) => this.#stall(link, [this.#way()], this.#chance.scale(10, 3_000)));
  }

  stall(): void {
    this.#onSome("stallMs", (link) => this.#stall(link, WAYS, this.#chance.scale(1_000, 60_000)));
  }

  halfOpen(): void {
    this.#onSome("halfOpenMs", ({ link }) => {
      for (const way of WAYS) link.lose(way);
    });
  }

  loseOneWay(): void {
    this.#onSome("oneWayLossMs", ({ link }) => link.lose(this.#way()));
  }

  /** What the agent had sent is on its way still, and comes when it has long gone on elsewhere. */
  makeStale(): void {
    this.#onSome("staleMs", (link) => {
      this.#stall(link, ["fromClient"], this.#chance.scale(100, 40_000));
      link.link.breakEnd("client");
    });
  }

  unplug(host: string): void {
    const { clock, trace, network } = this.#options;
    trace.count("fault unplugMs");
    network().unplug(host);
    clock.after(this.#chance.scale(1_000, 120_000), () => network().plug(host));
  }

  /** From now on every Data frame of some session is damaged. */
  doom(sessions: readonly string[]): void {
    this.#doomed ??= this.#chance.some(sessions);
  }

  #onSome(fault: string, act: (link: SimLink) => void): void {
    const link = this.#chance.some(this.#options.network().links());
    if (link === undefined) return;
    this.#options.trace.count(`fault ${fault}`);
    this.#options.trace.note(`${fault} on link ${link.number}`);
    act(link);
  }

  #stall(link: SimLink, ways: readonly Way[], forMs: number): void {
    this.#stalled.add(link);
    for (const way of ways) link.link.stall(way);
    this.#options.clock.after(forMs, () => {
      for (const way of ways) link.link.release(way);
      this.#stalled.delete(link);
    });
  }

  #way(): Way {
    return this.#chance.pick(["fromClient", "fromServer"]);
  }

  /** What happens to the bytes that one end is about to get. */
  #arriving(facts: LinkFacts, name: string, heard: (message: AnyMessage) => void): (bytes: Uint8Array) => number {
    const { trace } = this.#options;
    let flips: number[] = [];
    let lies: { readonly start: number; readonly end: number }[] = [];
    let arrive = 0;
    const scanner = new FrameScanner({
      message: (message, end, header) => {
        const start = end - header.length;
        if (message.type === "finish" && start >= FRAME_HEADER_BYTES && !this.#healed && this.#lie.hits(1))
          lies.push({ start, end });
        if (message.type === "committed" && !this.#healed && this.#lostAnswer.hits(1)) {
          trace.count("fault lostAnswers");
          arrive = Math.min(arrive, end - 1);
        }
        if (end > arrive) return;
        trace.note(`${name} hears ${message.type}`);
        heard(message);
      },
      data: (header) => trace.note(`${name} data ${header.file}:${header.sequence}`),
      payload: (header, start, end) => {
        // Nobody checks whether the simulator's own scripts can bear it.
        if (this.#healed || facts.client.name.startsWith("rogue")) return;
        const isData = header.type === "data";
        const doomed = isData && this.#doomed !== undefined && this.#doomed === facts.session;
        if (!doomed && !(isData ? this.#flip.hits(end - start) : this.#flipControl.hits(1))) return;
        flips.push(this.#chance.int(start, end - 1));
        trace.count(`fault ${doomed ? "flipAllMs" : isData ? "flipBytes" : "flipControlFrames"}`);
      },
    });
    return (bytes) => {
      flips = [];
      lies = [];
      arrive = bytes.length;
      scanner.push(bytes);
      for (const at of flips) bytes[at] = (bytes[at] ?? 0) ^ (1 << this.#chance.int(0, 7));
      for (const { start, end } of lies) this.#falsify(facts, bytes.subarray(start - FRAME_HEADER_BYTES, end));
      return arrive;
    };
  }

  /** Makes a Finish frame say another SHA-256 than the agent's, as an agent would whose memory is bad. */
  #falsify(facts: LinkFacts, frame: Uint8Array): void {
    const { witness, trace } = this.#options;
    const session = witness.sessions.get(facts.session ?? "");
    const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.length);
    const at = session?.production === undefined ? -1 : bytes.indexOf(Buffer.from(session.production.sha256(), "hex"));
    if (session === undefined || at === -1) return;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    bytes.writeUInt32BE(crc32(bytes.subarray(FRAME_HEADER_BYTES)), 20);
    session.wrongProofs += 1;
    trace.count("fault wrongProofs");
  }
}

/** A message as the log has it. */
function summary(message: AnyMessage): string {
  switch (message.type) {
    case "sack": {
      const files = message.body.files.map(
        ({ file, durableChunks, received }) => `${file}:${durableChunks}+${received.length}`,
      );
      return `sack ${files.join(" ")} lost ${message.body.lost.length}`;
    }
    case "refused":
    case "ended":
      return `${message.type} ${message.body.code}`;
    case "admitted":
      return `admitted ${message.body.session}`;
    default:
      return message.type;
  }
}
