/** The agent's pair on its disk while it is renewed, however its files lie, and wherever that stops. */
import { afterAll, afterEach, beforeAll, describe, expect, mock, spyOn, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Failure } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import { type AgentPairFiles, checkReplaceable, finishRenewal, installRenewed } from "#pki/agent-pair.ts";
import { type Identity, loadIdentity } from "#pki/identity.ts";
import { type DemoPki, makeDemoPki } from "#test/support/pki.ts";

const DAY_MS = 86_400_000;
const NOW_MS = Date.UTC(2026, 1, 12);
const OLD = { notBeforeMs: NOW_MS - 80 * DAY_MS, notAfterMs: NOW_MS + 10 * DAY_MS };
const NEW = { notBeforeMs: NOW_MS - 3_600_000, notAfterMs: NOW_MS + 90 * DAY_MS };

let root: string;
let pki: DemoPki;
let others: DemoPki;
let made = 0;

beforeAll(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-agent-pair-"));
  pki = await makeDemoPki(path.join(root, "pki"), { validity: NEW });
  others = await makeDemoPki(path.join(root, "others"), { validity: NEW });
  await pki.addAgent("web", OLD, "old");
  await pki.addAgent("web", NEW, "new");
});
afterEach(() => mock.restore());
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

const random: Random = { bytes: (length) => crypto.getRandomValues(new Uint8Array(length)), unit: () => 0 };
const read = (filePath: string): string => fs.readFileSync(filePath, "utf8");

function pem(name: string, of = pki): { certPem: string; keyPem: string } {
  const { certPath, keyPath } = of.agent(name);
  return { certPem: read(certPath), keyPem: read(keyPath) };
}

type Layout = "one directory" | "two directories" | "one file";

/** The old pair, in a fresh place. */
function lay(layout: Layout): AgentPairFiles {
  made += 1;
  const dir = path.join(root, `d${made}`);
  const [certs, keys] =
    layout === "two directories" ? [path.join(dir, "certs"), path.join(dir, "private")] : [dir, dir];
  for (const one of new Set([dir, certs, keys])) fs.mkdirSync(one, { mode: 0o700 });
  const { certPem, keyPem } = pem("old");
  // The same name in two directories, and names without a pattern in one.
  const certPath = path.join(certs, layout === "one directory" ? "client.crt" : "web.pem");
  const keyPath = layout === "one directory" ? path.join(keys, "secret") : path.join(keys, "web.pem");
  fs.writeFileSync(certPath, layout === "one file" ? `${certPem}${keyPem}` : certPem, { mode: 0o640 });
  if (layout !== "one file") fs.writeFileSync(keyPath, keyPem, { mode: 0o600 });
  return { caPath: pki.caPath, certPath, keyPath };
}

function load(files: AgentPairFiles): Identity {
  return loadIdentity({ ...files, role: "agent", nowMs: NOW_MS });
}

function install(files: AgentPairFiles, renewed = pem("new")): Identity {
  return installRenewed(files, renewed, load(files), NOW_MS, random);
}

function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof Failure) return String(error).replaceAll(root, "");
    throw error;
  }
  return "none";
}

/** Everything below a directory. */
function tree(files: AgentPairFiles): string[] {
  const dirs = new Set([path.dirname(files.certPath), path.dirname(files.keyPath)]);
  return [...dirs].flatMap((dir) => fs.readdirSync(dir)).sort();
}

/** Every call that changes the disk or waits for it. */
const CHANGING = ["mkdirSync", "openSync", "writeFileSync", "fchmodSync", "fsyncSync", "renameSync", "rmSync"] as const;

/** From the call of that number on everything fails; returns how many were made. */
function crashAt(first: number): () => number {
  let count = 0;
  for (const name of CHANGING) {
    const real = fs[name] as (...args: unknown[]) => unknown;
    spyOn(fs, name).mockImplementation(((...args: unknown[]) => {
      count += 1;
      if (count > first) throw Object.assign(new Error("planted"), { code: "EIO" });
      return real(...args);
    }) as never);
  }
  return () => count;
}

describe.each(["one directory", "two directories", "one file"] as const)("a pair in %s", (layout) => {
  test("is replaced, keeps its paths and modes, and leaves nothing beside it", () => {
    const files = lay(layout);
    const before = tree(files);
    const modes = (): number[] => [files.certPath, files.keyPath].map((one) => fs.statSync(one).mode & 0o777);
    const modesBefore = modes();
    expect(install(files).notAfterMs).toBe(NEW.notAfterMs);
    expect(load(files).keyPem.trim()).toBe(pem("new").keyPem.trim());
    expect(modes()).toEqual(modesBefore);
    expect(tree(files)).toEqual(before);
    expect(finishRenewal(files)).toBe(false);
  });

  test("is whole after a crash at any call, once the next start has looked", () => {
    const seen = new Set<number>();
    for (let first = 0; first < 100; first += 1) {
      const files = lay(layout);
      const old = load(files);
      const calls = crashAt(first);
      const failed = refusal(() => installRenewed(files, pem("new"), old, NOW_MS, random));
      const madeCalls = calls();
      mock.restore();
      finishRenewal(files);
      seen.add(load(files).notAfterMs);
      if (failed === "none") expect(load(files).notAfterMs).toBe(NEW.notAfterMs);
      if (madeCalls <= first) break;
    }
    expect([...seen].sort()).toEqual([OLD.notAfterMs, NEW.notAfterMs]);
  });
});

describe("a new pair", () => {
  test("keeps the intermediate certificates that stood behind the old one", () => {
    const files = lay("one directory");
    fs.appendFileSync(files.certPath, read(others.caPath));
    install(files);
    expect(read(files.certPath).match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
  });

  test("that cannot be used here is refused, and the old one stays untouched", async () => {
    const files = lay("one directory");
    await others.addAgent("web", NEW);
    await pki.addAgent("db", NEW);
    await pki.addAgent("web", { ...OLD, notAfterMs: OLD.notAfterMs - 1000 }, "sooner");
    await pki.addAgent("web", { notBeforeMs: NOW_MS + DAY_MS, notAfterMs: NEW.notAfterMs }, "early");
    const cases: readonly (readonly [string, { certPem: string; keyPem: string }])[] = [
      ["no certificate in the CA file has issued it", pem("web", others)],
      ['it is for "db", expected "web"', pem("db")],
      ["no later than the old one", pem("sooner")],
      ["it is not valid before", pem("early")],
      ["the private key does not belong to the certificate", { certPem: pem("new").certPem, keyPem: pem("db").keyPem }],
      ["is not PEM", { certPem: "hello", keyPem: pem("new").keyPem }],
    ];
    for (const [what, renewed] of cases) {
      expect(refusal(() => install(files, renewed))).toMatch(/^E_RENEWAL: the new certificate cannot be used here: /);
      expect(refusal(() => install(files, renewed))).toContain(what);
      expect(load(files).notAfterMs).toBe(OLD.notAfterMs);
      expect(tree(files)).toEqual(["client.crt", "secret"]);
    }
  });
});

describe("a pair that cannot be replaced", () => {
  test("behind a symbolic link is somebody else's", () => {
    const files = lay("one directory");
    fs.renameSync(files.certPath, `${files.certPath}.real`);
    fs.symlinkSync(`${files.certPath}.real`, files.certPath);
    expect(refusal(() => checkReplaceable(files))).toMatch(
      /^E_RENEWAL: .*client.crt is a symbolic link: another program/,
    );
  });

  test("in a directory that cannot be written is told before a certificate is asked for", () => {
    const files = lay("two directories");
    expect(refusal(() => checkReplaceable(files))).toBe("none");
    const real = fs.accessSync;
    spyOn(fs, "accessSync").mockImplementation(((target: fs.PathLike, mode?: number) => {
      if (String(target).endsWith("certs")) throw Object.assign(new Error("planted"), { code: "EROFS" });
      real(target, mode);
    }) as typeof fs.accessSync);
    expect(refusal(() => checkReplaceable(files))).toMatch(/^E_RENEWAL: .*certs cannot be written: EROFS$/);
  });
});
