import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseHosts } from "#pki-tools/hosts.ts";
import { PkiDirectory } from "#test/support/pki-commands.ts";

let root: string;
let d: PkiDirectory;
let made = 0;

beforeAll(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-pki-commands-"));
});
beforeEach(() => {
  made += 1;
  d = new PkiDirectory(path.join(root, `d${made}`));
});
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

describe("names", () => {
  test.each(["", ".", "..", "../x", "a/b", "-x", "a b", "ü", "x".repeat(65)])("%j is no agent", async (name) => {
    await d.good("init");
    expect(await d.bad("agent", "--", name)).toMatch(/^2 E_NAME: ".*" is not a name: 1 to 64/);
  });

  test.each([
    ["server", 'E_NAME: "server" cannot name an agent: server.pem is the file of the server'],
    ["CA", 'E_NAME: "CA" cannot name an agent: ca.pem is the file of the ca'],
    ["web-key", 'E_NAME: "web-key" cannot name an agent: files that end in -key.pem hold keys'],
    ["Backup.Example.ORG", 'E_NAME: "Backup.Example.ORG" is a name of the server, by D/server.pem'],
    ["spare", 'E_NAME: "spare" is a name of the server, by D/server.pem'],
    ["192.0.2.7", 'E_NAME: "192.0.2.7" is a name of the server, by D/server.pem'],
  ])("of the server and its files are refused for an agent: %s", async (name, message) => {
    await d.good("init");
    await d.good("server", "backup.example.org,spare,192.0.2.7");
    expect(await d.bad("agent", name)).toBe(`2 ${message}`);
    expect(await d.bad("agent", name, "--force")).toBe(`2 ${message}`);
  });

  test("of agents are refused for the server", async () => {
    await d.good("init");
    await d.good("agent", "web-01");
    expect(await d.bad("server", "backup,web-01")).toBe('2 E_NAME: "web-01" is the name of an agent, by D/web-01.pem');
  });

  test("of hosts are sorted, shortened and without repeats", () => {
    expect(parseHosts("Backup.Example.org.,192.0.2.7, [2001:DB8:0::1],backup.example.org,my_host")).toEqual({
      commonName: "backup.example.org",
      dns: ["backup.example.org", "my_host"],
      ips: ["192.0.2.7", "2001:db8::1"],
    });
    expect(parseHosts("192.0.2.7")).toEqual({ commonName: "192.0.2.7", dns: [], ips: ["192.0.2.7"] });
  });

  test("of hosts may be longer than a CN can be", () => {
    const long = `${"a".repeat(60)}.${"b".repeat(60)}.example.org`;
    expect(parseHosts(`${long},backup`).commonName).toBe("backup");
    expect(parseHosts(long)).toEqual({ commonName: "nbackup-server", dns: [long], ips: [] });
  });

  test.each([
    "",
    "a,,b",
    "a b",
    "-a",
    "a-",
    "a..b",
    ".a",
    "*.example.org",
    "1.2.3",
    "1.2.3.256",
    "fe80::1%eth0",
    "bücher.example",
    "a:9847",
    "http://a",
    "a".repeat(64),
    `${"a.".repeat(127)}a`,
  ])("%j is no host", (text) => {
    expect(() => parseHosts(text)).toThrow(/is neither a host name nor an IP address/);
  });

  test("of too many hosts are refused", () => {
    const hosts = (count: number): string => Array.from({ length: count }, (_, i) => `h${i}`).join(",");
    expect(parseHosts(hosts(100)).dns).toHaveLength(100);
    expect(() => parseHosts(hosts(101))).toThrow("101 host names, and a certificate takes 100");
  });
});
