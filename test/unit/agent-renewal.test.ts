/** The agent's certificate over months: when a new one is asked for, who gives it, and what becomes of failures. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { DAY_MS, RenewalWorld, type RenewalWorldOptions } from "#test/support/renewal-world.ts";

// Simulated days take a moment on a machine that does other things.
setDefaultTimeout(60_000);

let world: RenewalWorld | undefined;

async function start(options: RenewalWorldOptions = {}): Promise<RenewalWorld> {
  world = await RenewalWorld.start(options);
  return world;
}

afterEach(async () => {
  await world?.close();
  world = undefined;
});

const failures = (w: RenewalWorld): unknown[] =>
  w.events.filter(({ kind }) => kind === "certificate.renewal-failed").map(({ fields }) => fields["code"]);

describe("a certificate of 90 days", () => {
  test("is renewed once, with a third of its life left, and the new one is used from then on", async () => {
    const w = await start();
    await w.days(4.9);
    expect(w.signed).toEqual([]);
    await w.days(2);
    expect(w.signed).toEqual(["request 1"]);
    expect(w.events.map(({ kind, level }) => [kind, level])).toEqual([["certificate.renewed", "info"]]);
    expect(w.told("certificate.renewed")).toMatchObject([{ fields: { agent: "web-1", serial: "1" } }]);
    expect(w.registered.map(({ serial }) => serial)).toEqual(["1"]);
    expect(w.current.notAfterMs - w.clock.wall()).toBeGreaterThan(820 * DAY_MS);
    // The control connection was made anew, so the server has seen the new one.
    expect(w.pipes).toHaveLength(2);
    await w.days(10);
    expect(w.signed).toHaveLength(1);
    expect(w.link.view().connectedSinceWallMs).not.toBeNull();
  });

  test("is left alone with tls.renew: false, and asked for when that is changed", async () => {
    let enabled = false;
    const w = await start({ enabled: () => enabled });
    await w.days(8);
    expect([w.requests, w.events.length]).toEqual([0, 0]);
    enabled = true;
    w.renewal.look();
    await w.clock.advance(1_000);
    expect(w.current.serial).toBe("1");
  });

  test("is renewed at once when the agent was switched off for the time in which it was due", async () => {
    const w = await start({ oldDays: 85, leftDays: 5 });
    await w.clock.advance(1_000);
    expect(w.current.serial).toBe("1");
  });
});

describe("a renewal", () => {
  test("whose answer is lost with its connection is asked again with the same key, and gets the same certificate", async () => {
    const w = await start({ oldDays: 85, leftDays: 5 });
    w.beforeSigning = async () => must(w.pipes.at(-1), "pipe").cut();
    await w.clock.advance(1_000);
    expect([w.signed, w.current.serial]).toEqual([["request 1"], "0"]);
    await w.days(0.1);
    expect([w.signed, w.current.serial]).toEqual([["request 1"], "1"]);
    expect(w.told("certificate.renewed")).toHaveLength(1);
    expect(failures(w)).toEqual([]);
  });

  test("whose server is started anew between signing and answer is done by the next start", async () => {
    const w = await start({ oldDays: 85, leftDays: 5 });
    const signing = Promise.withResolvers<void>();
    w.beforeSigning = () => signing.promise;
    await w.clock.advance(1_000);
    const first = must(w.server, "server").server;
    w.server = undefined;
    await w.clock.until(first.shutdown(), 60_000);
    signing.resolve();
    await w.clock.advance(1_000);
    expect([w.signed, w.current.serial]).toEqual([["request 1"], "0"]);
    await w.serve(8);
    await w.days(0.1);
    expect([w.signed, w.current.serial]).toEqual([["request 1", "request 1"], "2"]);
  });

  test("that meets a revocation while it is signed is given to nobody, and what was signed is revoked with the rest", async () => {
    const w = await start({ oldDays: 85, leftDays: 5 });
    const hold = Promise.withResolvers<void>();
    w.beforeSigning = () => hold.promise;
    await w.clock.advance(1_000);
    const atMs = Math.floor(w.clock.wall() / 1000) * 1000;
    await w.revocations.add("web-1", atMs);
    // Signing had begun: what it makes could carry a time before the revocation, as it does here.
    const { beforeMs } = w.revocations;
    w.revocations.beforeMs = () => undefined;
    hold.resolve();
    await Promise.resolve();
    await Promise.resolve();
    w.revocations.beforeMs = beforeMs;
    await w.days(2);
    expect(w.certificates).toHaveLength(1);
    expect(must(w.registered[0], "issued").notBeforeMs).toBeLessThanOrEqual(atMs);
    expect(w.link.view().lastFailure?.code).toBe("E_REVOKED");
    // Not asked again for hours at a time: only another certificate would help.
    expect(w.pipes.length).toBeLessThan(60);
  });

  test("of an agent whose clock is days ahead is refused by the server's clock, told once a day and asked for no more often", async () => {
    const w = await start({ skewMs: 20 * DAY_MS, oldDays: 45, leftDays: 45 });
    await w.days(5.5);
    expect(w.signed).toEqual([]);
    expect(failures(w)).toEqual(Array(6).fill("E_RENEWAL"));
    expect(w.told("certificate.renewal-failed")).toHaveLength(6);
    expect(w.told("certificate.renewal-failed")[0]?.message).toContain("not due before");
  });

  test("by a server without a key of the CA is not asked for, which is told once a day from when it is due", async () => {
    const w = await start({ renews: false });
    await w.days(4.9);
    expect(failures(w)).toEqual([]);
    await w.days(6);
    expect(w.requests).toBe(0);
    expect(failures(w).length).toBeWithin(4, 7);
    expect(w.told("connection.closed")).toEqual([]);
  });

  test("is done at once when the server begins to renew, on the connection that stands", async () => {
    const w = await start({ oldDays: 85, leftDays: 5, renews: false });
    await w.clock.advance(1_000);
    expect(failures(w)).toEqual(["E_RENEWAL"]);
    w.offer();
    // The next keep-alive says so.
    await w.clock.advance(3_700_000);
    expect([w.current.serial, w.pipes.length]).toEqual(["1", 2]);
  });

  test("that failed is tried again at once after a reload, which may have mended it", async () => {
    let broken = true;
    const prepare = (): undefined => {
      if (broken) throw new Failure("E_RENEWAL", "cannot be written");
    };
    const w = await start({ oldDays: 85, leftDays: 5, prepare });
    await w.clock.advance(1_000);
    expect(w.requests).toBe(0);
    broken = false;
    w.renewal.again();
    await w.clock.advance(1_000);
    expect(w.current.serial).toBe("1");
  });

  test("whose certificate cannot be used here yet asks with the same key again, and gets the same certificate", async () => {
    let usable = false;
    const w = await start({ oldDays: 85, leftDays: 5, usable: () => usable });
    await w.clock.advance(1_000);
    expect(failures(w)).toEqual(["E_RENEWAL"]);
    usable = true;
    w.renewal.again();
    await w.clock.advance(1_000);
    expect([w.signed, w.requests, w.current.serial]).toEqual([["request 1"], 1, "1"]);
  });

  test("that could not be put on the disk is not asked for, and told once a day", async () => {
    const prepare = (): undefined => {
      throw new Failure("E_RENEWAL", "/etc/nbackup cannot be written: EROFS");
    };
    const w = await start({ oldDays: 100, leftDays: 40, prepare });
    await w.days(3.5);
    expect([w.requests, w.signed]).toEqual([0, []]);
    expect(failures(w)).toEqual(["E_RENEWAL", "E_RENEWAL", "E_RENEWAL", "E_RENEWAL"]);
    expect(w.events[0]).toMatchObject({ level: "warn", message: expect.stringContaining("EROFS") });
  });

  test("that is a week overdue is an error, tried more often and still told once a day", async () => {
    let tries = 0;
    const prepare = (): undefined => {
      tries += 1;
      throw new Failure("E_RENEWAL", "no");
    };
    const w = await start({ oldDays: 100, leftDays: 3, prepare });
    await w.days(2);
    expect(tries).toBeGreaterThan(15);
    expect(failures(w).length).toBeWithin(2, 4);
    expect(w.events[0]?.level).toBe("error");
  });

  test("from a CA that ends no later than the certificate is refused, with what to do", async () => {
    const w = await start({ oldDays: 85, leftDays: 5, caDays: 5 });
    await w.clock.advance(1_000);
    expect(w.certificates).toHaveLength(1);
    expect(w.registered).toEqual([]);
    expect(w.events[0]?.fields).toMatchObject({ code: "E_RENEWAL", hint: expect.stringContaining("pki renew ca") });
  });

  test("from a CA that ends sooner than a whole life gives what there is, and no more when there is no more", async () => {
    const w = await start({ oldDays: 85, leftDays: 5, caDays: 20 });
    await w.clock.advance(1_000);
    expect(w.current.notAfterMs - w.clock.wall()).toBeWithin(20 * DAY_MS - 3_000, 20 * DAY_MS + 1);
    await w.days(16);
    expect(w.certificates).toHaveLength(2);
    expect(new Set(failures(w))).toEqual(new Set(["E_RENEWAL"]));
  });

  test("of an agent that makes a new request each time is given one a minute", async () => {
    const w = await start({ oldDays: 85, leftDays: 5 });
    w.renewal.stop();
    await w.clock.advance(1_000);
    const codes: string[] = [];
    for (let index = 0; index < 3; index += 1) {
      const asked = w.link.renew(Buffer.from(`own ${index}`)).then(
        () => "given",
        (error: Failure) => error.code,
      );
      codes.push(await w.clock.until(asked, 10_000));
    }
    expect(codes).toEqual(["given", "E_LIMIT", "E_LIMIT"]);
    await w.clock.advance(60_000);
    expect(await w.clock.until(w.link.renew(Buffer.from("own 3")), 10_000)).toContain("serial");
  });
});
