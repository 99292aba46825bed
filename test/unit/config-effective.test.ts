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
});
