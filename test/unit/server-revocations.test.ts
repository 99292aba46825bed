/** What the server remembers of revocations and of certificates that are alive, on a disk that fails and forgets. */
import { describe, expect, test } from "bun:test";
import { toFailure } from "#base/errors.ts";
import { certificateKey } from "#pki/revocations.ts";
import { CertificateRegister, type RegisteredCertificate } from "#server/certificate-register.ts";
import { Revocations } from "#server/revocations.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { memoryLogger } from "#test/support/memory-logger.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const STATE_DIR = "/var/lib/nbackup";
const DAY_MS = 86_400_000;

async function stateDisk(): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  for (const dir of ["/var", "/var/lib", STATE_DIR]) {
    await disk.mkdir(dir, 0o755);
    await disk.syncDirectory(dir.slice(0, dir.lastIndexOf("/")) || "/");
  }
  return disk;
}

function peer(notBeforeMs: number, commonName = "web-01"): Parameters<Revocations["check"]>[0] {
  return { commonName, fingerprint: "00".repeat(32), serial: "01", notBeforeMs, notAfterMs: 4e12 };
}

function attempt(action: () => void): unknown {
  try {
    action();
    return undefined;
  } catch (error) {
    return error;
  }
}

function verdict(revocations: Revocations, notBeforeMs: number): string {
  try {
    revocations.check(peer(notBeforeMs));
    return "let in";
  } catch (error) {
    return toFailure(error).code;
  }
}

describe("revocations", () => {
  test("of the list beside the CA and of what was told both count, the later one of an agent", async () => {
    const revocations = await Revocations.open(await stateDisk(), STATE_DIR, new Map([["web-01", 5000]]));
    expect([verdict(revocations, 5000), verdict(revocations, 6000)]).toEqual(["E_REVOKED", "let in"]);
    await revocations.add("web-01", 7000);
    expect([verdict(revocations, 7000), verdict(revocations, 8000)]).toEqual(["E_REVOKED", "let in"]);
    await revocations.add("web-01", 1000);
    expect(revocations.beforeMs("web-01")).toBe(7000);
    expect(revocations.beforeMs("db")).toBeUndefined();
  });

  test("that were told outlive the server and a loss of power, without the list beside the CA", async () => {
    const disk = await stateDisk();
    const revocations = await Revocations.open(disk, STATE_DIR, new Map());
    await revocations.add("web-01", 7000);
    expect((await Revocations.open(disk.reboot(), STATE_DIR, new Map())).beforeMs("web-01")).toBe(7000);
  });

  test("name certificates that begin later, for good, and leave what is made afterwards alone", async () => {
    const disk = await stateDisk();
    const revocations = await Revocations.open(disk, STATE_DIR, new Map([[certificateKey("bb".repeat(32)), 5000]]));
    await revocations.add("web-01", 7000, ["aa".repeat(32)]);
    const again = await Revocations.open(disk.reboot(), STATE_DIR, new Map());
    const later = { ...peer(9000), fingerprint: "aa".repeat(32) };
    for (const known of [revocations, again]) {
      expect(toFailure(attempt(() => known.check(later))).code).toBe("E_REVOKED");
      expect([verdict(known, 8000), verdict(known, 9000)]).toEqual(["let in", "let in"]);
    }
    const listed = { ...later, fingerprint: "bb".repeat(32) };
    expect([revocations.isRevoked("web-01", listed), again.isRevoked("web-01", listed)]).toEqual([true, false]);
  });

  test("are told to who watches once each, by a list that was read again too", async () => {
    const told: string[] = [];
    const revocations = await Revocations.open(await stateDisk(), STATE_DIR, new Map([["old", 1000]]));
    revocations.watch((agents) => told.push(...agents));
    await revocations.add("web-01", 7000);
    await revocations.add("web-01", 7000);
    revocations.use(
      new Map([
        ["old", 1000],
        ["web-01", 6000],
        ["db", 2000],
      ]),
    );
    revocations.use(
      new Map([
        ["old", 1000],
        ["web-01", 6000],
        ["db", 2000],
      ]),
    );
    expect(told).toEqual(["web-01", "db"]);
  });

  test("that the disk does not take count all the same, and who told it hears of the disk", async () => {
    const disk = await stateDisk();
    const revocations = await Revocations.open(disk, STATE_DIR, new Map());
    disk.hook = ({ call }) => {
      if (call === "rename") throw Object.assign(new Error("EIO"), { code: "EIO" });
    };
    expect(await revocations.add("web-01", 7000).then(() => "kept", String)).toContain("EIO");
    expect(verdict(revocations, 7000)).toBe("E_REVOKED");
  });

  test("that cannot be read keep the server from starting", async () => {
    const disk = await stateDisk();
    const file = await disk.create(`${STATE_DIR}/revoked.json`, 0o600);
    await file.write(Buffer.from('{"revoked":'), 0);
    await file.close();
    const failure = await Revocations.open(disk, STATE_DIR, new Map()).then(() => "opened", toFailure);
    expect(String(failure)).toMatch(/^E_STATE_DIR: .*revoked.json cannot be read/);
  });
});

describe("the register of certificates", () => {
  const certificate = (fingerprint: string, fields: Partial<RegisteredCertificate> = {}): RegisteredCertificate => ({
    ...{ fingerprint, serial: fingerprint, notBeforeMs: 1000, notAfterMs: 10 * DAY_MS, ...fields },
  });

  async function registerOn(
    disk: MemoryDisk,
    clock: SimClock,
  ): Promise<{ register: CertificateRegister; revocations: Revocations }> {
    const revocations = await Revocations.open(disk, STATE_DIR, new Map());
    const options = { disk, stateDir: STATE_DIR, log: memoryLogger(), clock, revocations };
    return { register: await CertificateRegister.open(options), revocations };
  }

  test("knows the one that ends last of those issued and seen, until it ends or is revoked", async () => {
    const clock = new SimClock();
    const startMs = clock.wall();
    const { register, revocations } = await registerOn(await stateDisk(), clock);
    expect(register.live("web-01")).toBeUndefined();
    register.seen("web-01", certificate("a", { notAfterMs: startMs + DAY_MS }));
    await register.issued("web-01", certificate("b", { notBeforeMs: 9000, notAfterMs: startMs + 3 * DAY_MS }));
    await register.issued("web-01", certificate("c", { notAfterMs: startMs + 2 * DAY_MS }));
    expect(register.live("web-01")?.fingerprint).toBe("b");
    await revocations.add("web-01", 5000);
    expect(register.live("web-01")?.fingerprint).toBe("b");
    await revocations.add("web-01", 9000);
    expect(register.live("web-01")).toBeUndefined();
  });

  test("keeps the four of a name that end last, and does not write for one that it does not keep", async () => {
    const clock = new SimClock();
    const disk = await stateDisk();
    const { register } = await registerOn(disk, clock);
    const day = (days: number): RegisteredCertificate =>
      certificate(String(days), { notAfterMs: clock.wall() + days * DAY_MS });
    for (const days of [5, 2, 3, 4]) await register.issued("web-01", day(days));
    let writes = 0;
    disk.hook = ({ call }) => {
      if (call === "rename") writes += 1;
    };
    register.seen("web-01", day(1));
    await register.issued("web-01", day(1));
    expect([writes, register.live("web-01")?.fingerprint]).toEqual([0, "5"]);
    await register.issued("web-01", day(6));
    expect([writes, register.live("web-01")?.fingerprint]).toEqual([1, "6"]);
  });

  test("tells agents that were given a certificate from those whose Hello has come, also after a restart", async () => {
    const clock = new SimClock();
    const disk = await stateDisk();
    const { register, revocations } = await registerOn(disk, clock);
    const life = { notAfterMs: clock.wall() + DAY_MS };
    for (const name of ["came", "new", "gone"]) await register.issued(name, certificate(name, life));
    register.seen("came", certificate("came", life));
    register.seen("other", certificate("other", life));
    await revocations.add("gone", 1000);
    expect(register.unseen()).toEqual(["new"]);
    await clock.advance(1);
    const again = (await registerOn(disk.reboot(), clock)).register;
    expect(again.unseen()).toEqual(["new"]);
    again.seen("new", certificate("new", life));
    expect(again.unseen()).toEqual([]);
  });

  test("forgets of no other agent by a clock that is ahead for a moment", async () => {
    const disk = await stateDisk();
    const clock = new SimClock();
    const startMs = clock.wall();
    const { register } = await registerOn(disk, clock);
    await register.issued("web-01", certificate("a", { notAfterMs: startMs + DAY_MS }));
    const ahead = new SimClock();
    await ahead.advance(400 * DAY_MS);
    const wrong = (await registerOn(disk, ahead)).register;
    await wrong.issued("web-02", certificate("b", { notAfterMs: ahead.wall() + DAY_MS }));
    expect((await registerOn(disk, clock)).register.live("web-01")?.fingerprint).toBe("a");
  });

  test("forgets what ended a month ago, of every agent, and nothing that is alive, when it has very many", async () => {
    const clock = new SimClock();
    const disk = await stateDisk();
    const life = certificate("a", { notAfterMs: clock.wall() + 500 * DAY_MS });
    const agents = Object.fromEntries(Array.from({ length: 9_998 }, (_, i) => [`many-${i}`, [life]]));
    const file = await disk.create(`${STATE_DIR}/certificates.json`, 0o600);
    await file.write(Buffer.from(JSON.stringify({ agents })), 0);
    await file.close();
    const { register } = await registerOn(disk, clock);
    const ends = (days: number): RegisteredCertificate =>
      certificate(`${days} ${clock.wall()}`, { notAfterMs: clock.wall() + days * DAY_MS });
    await register.issued("short", ends(1));
    await register.issued("both", ends(2));
    await register.issued("both", ends(400));
    await clock.advance(31 * DAY_MS);
    await register.issued("new", ends(1));
    expect([register.known("short"), register.beginningAfter("both", 0).length]).toEqual([true, 2]);
    await clock.advance(2 * DAY_MS);
    await register.issued("new", ends(2));
    expect([register.known("short"), register.beginningAfter("both", 0).length]).toEqual([false, 1]);
    expect(register.live("both")).toBeDefined();
  });

  test("refuses what would make its file too long to be read again, and keeps what the disk has", async () => {
    const clock = new SimClock();
    const disk = await stateDisk();
    const { register } = await registerOn(disk, clock);
    const life = { notAfterMs: clock.wall() + DAY_MS };
    await register.issued("first", certificate("a", life));
    const huge = register.issued("huge", certificate("b".repeat(17 * 1024 * 1024), life)).catch(toFailure);
    expect(String(await huge)).toMatch(
      /^E_STATE_DIR: .*certificates.json would have 35\d{6} bytes, more than the limit/,
    );
    expect((await registerOn(disk.reboot(), clock)).register.live("first")?.fingerprint).toBe("a");
  });

  test("is there again after a loss of power, and begins anew when it cannot be read", async () => {
    const clock = new SimClock();
    const before = await stateDisk();
    const { register } = await registerOn(before, clock);
    await register.issued("web-01", certificate("a", { notAfterMs: clock.wall() + DAY_MS }));
    const disk = before.reboot();
    expect((await registerOn(disk, clock)).register.live("web-01")?.fingerprint).toBe("a");
    const file = await disk.open(`${STATE_DIR}/certificates.json`, "read-write");
    await file.write(Buffer.from("?"), 0);
    await file.close();
    expect((await registerOn(disk, clock)).register.live("web-01")).toBeUndefined();
  });
});
