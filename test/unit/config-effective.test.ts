/** The configuration in effect, as the page shows it. */
import { describe, expect, test } from "bun:test";
import { effectiveServerConfig } from "#config/effective.ts";
import { configReference } from "#config/reference.ts";

const server = { listen: { host: "", port: 1 }, stateDir: "/var/lib/nbackup", sessionsMax: 1, memoryBytesMax: 1 };
const config = { server: { ...server, sessionIdleTimeoutMs: 1, shutdownTimeoutMs: 1 } };
const rowsOf = (content: unknown): Map<string, ReturnType<typeof effectiveServerConfig>[number]> =>
  new Map(effectiveServerConfig(content, config).map((row) => [row.key, row]));

describe("the effective configuration", () => {
  test("has what the file says as it is there, and for all other keys the default, marked", () => {
    const rows = rowsOf({
      server: { max_sessions: 4 },
      storages: { main: { base_dir: "/srv", max_backups: 3, allow_agents: ["web-*"] }, "a.b": { base_dir: "/b" } },
      web_ui: null,
    });
    expect(rows.get("server.max_sessions")).toMatchObject({ value: 4, isDefault: false });
    expect(rows.get("server.shutdown_timeout")).toMatchObject({ value: "60s", isDefault: true });
    expect(rows.get("server.state_dir")).toMatchObject({ value: "/var/lib/nbackup", isDefault: true });
    expect(rows.get("storages.main.allow_agents")).toMatchObject({ value: ["web-*"], isDefault: false });
    expect(rows.get("storages.a.b.compression_mode")).toMatchObject({ value: "gzip", isDefault: true });
    expect(rows.get("web_ui.password_file")).toMatchObject({ value: null, isDefault: true, hidden: false });
    expect(rows.get("web_ui.enabled")?.what).toBe("Serve the page.");
  });

  test("leaves no key of the reference out", () => {
    const rows = rowsOf({ storages: { "<name>": {} } });
    const [, reference = ""] = configReference().split("## server.yaml");
    const keys = [...reference.matchAll(/^- \*\*`([^`]+)`\*\*/gm)].map(([, key]) => key ?? "");
    expect(keys.length).toBeGreaterThan(50);
    expect(keys.filter((key) => !rows.has(key) && !key.includes("[]"))).toEqual([]);
  });

  test("hides secrets, by their key or in an address", () => {
    const buckets = [{ name: "b", endpoint: "https://me:pw@s3.example.org/x", secret_key: "hush", access_key: "key" }];
    const rows = [...rowsOf({ storages: { main: { buckets } } }).values()];
    const text = JSON.stringify(rows);
    for (const secret of ["hush", "me:pw"]) expect(text).not.toContain(secret);
  });

  test("shows of sections that it does not know only what is known to be none", () => {
    const bucket = {
      ...{ name: "off-site", endpoint: "https://s3.example.org", region: "eu-1", versioned: true },
      ...{ url: "s3://AKID:se/cr@et1@host/x", query: "https://h/x?sig=secret2", accessKeyId: "secret3" },
      ...{ private_key: "secret4", passwd: "secret5", pin: 123_456, apikey: ["secret6"] },
      ...{ headers: { Authorization: "Bearer secret7", "X-Key": "secret8" }, env: ["AWS_KEY=secret9"] },
    };
    const rows = rowsOf({ storages: { main: { base_dir: "ftp://me:a@b/c@host/d", buckets: [bucket] } } });
    const text = JSON.stringify([...rows.values()]);
    for (const secret of ["secret", "AKID", "cr@et1", "123456", "me:a", "b/c@"]) expect(text).not.toContain(secret);
    expect(rows.get("storages.main.base_dir")?.value).toBe("ftp://[hidden]@host/d");
    const shown = rows.get("storages.main.buckets")?.value;
    expect(JSON.parse(String(Array.isArray(shown) ? shown[0] : shown))).toMatchObject({
      ...{ name: "off-site", endpoint: "https://s3.example.org", region: "eu-1", versioned: true, pin: "[hidden]" },
      headers: { Authorization: "[hidden]" },
    });
  });
});
