/** Backups that nobody has any more, over several starts of the server: with the list that it keeps, on a disk that loses what was not synced. */
import { describe, expect, test } from "bun:test";
import { GoneBackups } from "#store/gone-backups.ts";
import type { EventRecord, SessionRecord } from "#observe/records.ts";
import type { ScannedArchive } from "#observe/storage-scans.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import {
  agentChannel,
  endRecord,
  eventRecord,
  PageKit,
  runningServer,
  scannedArchive,
} from "#test/support/page-kit.ts";
import { listLog } from "#test/support/store-kit.ts";
import type { OverviewAnswer } from "#web/api-types.ts";

const STATE = "/state";
const FILE = `${STATE}/gone-backups.json`;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const GONE = "failing none of its archives is in the storage any more";
const TOLD = { agent: "web-1", backup: "home", storage: "main" };

/** A server that is started again and again. Its clock that is never set begins at 0 each time, as that of a machine does. */
class Site {
  disk: MemoryDisk;
  readonly log = listLog();
  archives: ScannedArchive[] = [];
  /** Newest first; its one committed run ended long ago. */
  history: readonly SessionRecord[];
  events: readonly EventRecord[] = [];
  wallMs = Date.UTC(2026, 5, 1);
  tellings = 0;
  /** Of the start that runs. */
  kit: PageKit;

  private constructor(disk: MemoryDisk) {
    this.disk = disk;
    const endWallMs = this.wallMs - 99 * DAY_MS;
    this.history = [endRecord({ startWallMs: endWallMs - 1000, endWallMs })];
    this.kit = new PageKit();
  }

  /** The server has found out in its first second that the archives are gone. */
  static async begin(prepare: (site: Site) => void = () => undefined): Promise<Site> {
    const disk = new MemoryDisk();
    await disk.mkdir(STATE, 0o700);
    await disk.syncDirectory("/");
    const site = new Site(disk);
    prepare(site);
    await site.start();
    return site;
  }

  async start(): Promise<void> {
    this.kit = new PageKit({ gone: await GoneBackups.open(this.disk, STATE, this.log), wallMs: this.wallMs });
    this.kit.history.rows.push(...this.history);
    this.kit.events.rows.push(...this.events);
    this.kit.archives = this.archives;
    await this.states();
    await this.kit.scans.scanAll();
    await this.states();
  }

  /** What the page says of the one backup that matters here. */
  async states(): Promise<readonly string[]> {
    this.kit.app.forget();
    const { backups } = await this.kit.json<OverviewAnswer>("/api/v1/overview");
    const own = backups.filter(({ agent }) => agent === "web-1");
    return own.map(({ state, reason }) => `${state} ${reason}`.trim());
  }

  async pass(ms: number): Promise<void> {
    await this.kit.clock.advance(ms);
  }

  /** In order, and then the disk keeps only what was synced. */
  async stop(): Promise<void> {
    await this.kit.forgetting.close();
    this.crash();
  }

  crash(): void {
    this.tellings += this.#told;
    this.wallMs = this.kit.clock.wall();
    this.disk = this.disk.reboot();
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Over all starts. */
  get told(): number {
    return this.tellings + this.#told;
  }

  /** Looks at its storage again. */
  async hold(archives: ScannedArchive[]): Promise<readonly string[]> {
    this.archives = archives;
    this.kit.archives = archives;
    await this.kit.scans.scanAll();
    return await this.states();
  }

  /** What the next start would find. */
  async kept(): Promise<GoneBackups["kept"]> {
    await this.kit.forgetting.close();
    return (await GoneBackups.open(this.disk, STATE, this.log)).kept;
  }

  get #told(): number {
    return this.kit.emitted.filter(({ kind }) => kind === "backup.forgotten").length;
  }
}

describe("the 14 days of a backup that nobody has any more", () => {
  test("pass also where the server is started again more often, and what was told stays told when no event knows it", async () => {
    const site = await Site.begin();
    for (let week = 0; week < 2; week += 1) {
      expect([await site.states(), site.told]).toEqual([[GONE], 0]);
      await site.pass(7 * DAY_MS - 1);
      await site.restart();
    }
    expect([await site.states(), site.told]).toEqual([[GONE], 0]);
    await site.pass(3);
    expect([await site.states(), site.told]).toEqual([[], 1]);
    for (let start = 0; start < 3; start += 1) {
      // The events know nothing of it: the event was pushed out before the success left the history.
      await site.restart();
      expect([await site.states(), site.told]).toEqual([[], 1]);
    }
    expect(site.log.lines).toEqual([]);
  });

  test("lose an hour at most by a crash", async () => {
    const site = await Site.begin();
    for (let life = 0; life < 13; life += 1) {
      for (let look = 0; look < 149; look += 1) {
        await site.pass(HOUR_MS / 6);
        expect([await site.states(), site.told]).toEqual([[GONE], 0]);
      }
      site.crash();
      await site.start();
    }
    expect(await site.states()).toEqual([GONE]);
    await site.pass(DAY_MS + 1);
    expect([await site.states(), site.told]).toEqual([[], 1]);
  });

  test("are counted by no wall clock: one that jumps years ahead, in a run or between two, makes nothing vanish", async () => {
    const site = await Site.begin();
    await site.pass(DAY_MS);
    site.kit.clock.jumpWall(3650 * DAY_MS);
    expect([await site.states(), site.told]).toEqual([[GONE], 0]);
    await site.stop();
    site.wallMs += 3650 * DAY_MS;
    await site.start();
    await site.pass(13 * DAY_MS);
    expect([await site.states(), site.told]).toEqual([[GONE], 0]);
    await site.stop();
    // Put right again.
    site.wallMs -= 7300 * DAY_MS;
    await site.start();
    await site.pass(1);
    expect([await site.states(), site.told]).toEqual([[], 1]);
  });

  test("do not pass while nobody can tell, as where its disk is not mounted", async () => {
    const site = await Site.begin();
    await site.pass(13 * DAY_MS);
    expect(await site.states()).toEqual([GONE]);
    const many = Array.from({ length: 100 }, (_, n) => scannedArchive({ agent: "a", name: `${n}.tar.gz` }));
    await site.hold(many);
    await site.pass(9 * DAY_MS);
    expect([await site.hold([]), site.told]).toEqual([[GONE], 0]);
    await site.pass(DAY_MS + 1);
    expect([await site.states(), site.told]).toEqual([[], 1]);
  });

  test("are those too of a backup that only its archives told of, and that the history never knew", async () => {
    const site = await Site.begin((prepared) => {
      prepared.history = [];
      prepared.archives = [scannedArchive()];
    });
    expect(await site.hold([])).toEqual([GONE]);
    await site.pass(10 * DAY_MS);
    await site.restart();
    expect([await site.states(), site.told]).toEqual([[GONE], 0]);
    await site.pass(4 * DAY_MS + 1);
    expect([await site.states(), site.told]).toEqual([[], 1]);
    await site.restart();
    expect([await site.states(), site.told]).toEqual([[], 1]);
  });
});

describe("a backup that somebody has again", () => {
  test("begins a new life when its archives come back, also one that was told", async () => {
    const site = await Site.begin();
    await site.pass(13 * DAY_MS);
    expect(await site.hold([scannedArchive()])).not.toEqual([GONE]);
    await site.restart();
    expect(await site.hold([])).toEqual([GONE]);
    await site.pass(13 * DAY_MS);
    expect([await site.states(), site.told]).toEqual([[GONE], 0]);
    await site.pass(DAY_MS + 1);
    expect([await site.states(), site.told]).toEqual([[], 1]);
    await site.hold([scannedArchive()]);
    await site.restart();
    expect(await site.hold([])).toEqual([GONE]);
    await site.pass(13 * DAY_MS);
    expect([await site.states(), site.told]).toEqual([[GONE], 1]);
  });

  test("begins one with a run that ends after it was told, with all of its 14 days", async () => {
    const site = await Site.begin();
    await site.pass(14 * DAY_MS + 1);
    expect([await site.states(), site.told]).toEqual([[], 1]);
    await site.stop();
    site.history = [endRecord({ startWallMs: site.wallMs, endWallMs: site.wallMs + 1 }), ...site.history];
    await site.start();
    expect(await site.states()).toEqual([GONE]);
    expect(await site.kept()).toEqual([{ ...TOLD, goneMs: 0, toldWallMs: null }]);
    await site.restart();
    await site.pass(13 * DAY_MS);
    expect([await site.states(), site.told]).toEqual([[GONE], 1]);
    await site.pass(DAY_MS + 2);
    expect([await site.states(), site.told]).toEqual([[], 2]);
  });

  test("does not vanish at a start before its agent is back, which had named it since it was counted", async () => {
    const site = await Site.begin();
    await site.pass(13 * DAY_MS);
    expect(await site.states()).toEqual([GONE]);
    site.kit.agents = [agentChannel({})];
    expect(await site.states()).toEqual([GONE]);
    await site.pass(5 * DAY_MS);
    await site.restart();
    await site.pass(2 * DAY_MS);
    expect([await site.states(), site.told]).toEqual([[GONE], 0]);
  });
});

describe("the list of backups that nobody has any more", () => {
  test("is begun anew when it is damaged, and the events tell what was told as long as they know", async () => {
    const site = await Site.begin();
    await site.pass(14 * DAY_MS + 1);
    expect([await site.states(), site.told]).toEqual([[], 1]);
    const damage = async (): Promise<void> => {
      await site.stop();
      site.disk.plant(FILE, Buffer.from('{"backups":[{"agent":"web-1","back'));
      await site.start();
    };
    const wallMs = site.kit.clock.wall();
    site.events = [eventRecord({ kind: "backup.forgotten", level: "warn", wallMs, fields: TOLD })];
    await damage();
    expect([await site.states(), site.told]).toEqual([[], 1]);
    // What they told is kept from then on.
    site.events = [];
    await site.restart();
    expect([await site.states(), site.told]).toEqual([[], 1]);
    await damage();
    expect([await site.states(), site.told]).toEqual([[GONE], 1]);
    await site.pass(14 * DAY_MS + 1);
    expect([await site.states(), site.told]).toEqual([[], 2]);
    const said = "the list of backups that nobody has any more cannot be read and is begun anew";
    expect(site.log.lines.map(({ message }) => message)).toEqual([said, said]);
  });

  test("holds up no page: a disk that hangs or refuses costs what is counted, and is said in the log", async () => {
    const site = await Site.begin();
    await site.pass(7 * DAY_MS);
    const hangs = Promise.withResolvers<void>();
    site.disk.hook = ({ call }) => (call === "create" ? hangs.promise : undefined);
    expect(await site.states()).toEqual([GONE]);
    await site.pass(HOUR_MS);
    expect(await site.states()).toEqual([GONE]);
    hangs.reject(diskError("ENOSPC"));
    await site.kit.forgetting.close();
    const failure = "warn the list of backups that nobody has any more could not be written";
    const said = site.log.lines.map(({ level, message }) => `${level} ${message}`);
    expect(said.length).toBeGreaterThan(0);
    expect(new Set(said)).toEqual(new Set([failure]));
    site.crash();
    await site.start();
    expect([await site.states(), site.told]).toEqual([[GONE], 0]);
    await site.pass(13 * DAY_MS);
    expect(await site.states()).toEqual([GONE]);
  });

  test("lets go of a storage that is taken out of the configuration, and of what nobody could bring back", async () => {
    const site = await Site.begin((prepared) => {
      prepared.history = [];
      prepared.archives = [scannedArchive()];
    });
    expect(await site.hold([])).toEqual([GONE]);
    await site.pass(13 * DAY_MS);
    expect(await site.kept()).toEqual([{ ...TOLD, goneMs: 13 * DAY_MS, toldWallMs: null }]);
    site.kit.status = runningServer({ storages: [] });
    expect([await site.states(), site.told, await site.kept()]).toEqual([[], 0, []]);
    site.kit.status = runningServer();
    expect([await site.hold([scannedArchive()]), site.told]).toEqual([[expect.any(String)], 0]);
    // Its success is in no history: once it was told, nothing of it is there that could be shown.
    expect(await site.hold([])).toEqual([GONE]);
    await site.pass(14 * DAY_MS + 1);
    expect([await site.states(), site.told, await site.kept()]).toEqual([[], 1, []]);
  });

  test("waits for a storage that is out of the configuration where the history knows of the success", async () => {
    const site = await Site.begin();
    await site.pass(13 * DAY_MS);
    expect(await site.states()).toEqual([GONE]);
    site.kit.status = runningServer({ storages: [] });
    await site.kit.scans.scanAll();
    expect([(await site.states()).length, site.told]).toEqual([1, 0]);
    await site.pass(9 * DAY_MS);
    await site.restart();
    expect([await site.states(), site.told]).toEqual([[GONE], 0]);
    await site.pass(DAY_MS + 1);
    expect([await site.states(), site.told]).toEqual([[], 1]);
  });

  test("stays as it is where a start does not know a storage that comes back, for what was told", async () => {
    const site = await Site.begin();
    await site.pass(14 * DAY_MS + 1);
    expect([await site.states(), site.told]).toEqual([[], 1]);
    site.kit.status = runningServer({ storages: [] });
    await site.kit.scans.scanAll();
    await site.states();
    await site.restart();
    expect([await site.states(), site.told]).toEqual([[], 1]);
  });
});
