/** Archives on the page: the list, who may look into them, and files that are handed out. */
import { describe, expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { endRecord, PageKit, PASSWORD, scannedArchive } from "#test/support/page-kit.ts";
import type { ArchivesAnswer } from "#web/api-archives.ts";
import type { WebAnswer } from "#web/http.ts";

describe("archives", () => {
  test("are listed the newest first with what is remembered of their sessions", async () => {
    const kit = new PageKit();
    kit.archives = [
      scannedArchive({ name: "a.tar.gz", timeMs: 1 }),
      scannedArchive({ name: "b.tar.gz", timeMs: 2, damage: "1 damaged place" }),
      scannedArchive({ agent: "db-1", timeMs: 3 }),
    ];
    kit.history.add(endRecord({ archive: "web-1/home/a.tar.gz", rawBytes: 900 }));
    await kit.scans.scanAll();
    const answer = await kit.json<ArchivesAnswer>("/api/v1/archives?agent=web-1");
    expect(answer.rows).toMatchObject([
      { name: "b.tar.gz", damage: "1 damaged place", rawBytes: null },
      { name: "a.tar.gz", damage: null, rawBytes: 900 },
    ]);
    expect(answer.backups).toMatchObject([{ agent: "web-1", damagedCount: 1 }]);
  });

  const place = "storage=main&agent=web-1&backup=home&archive=2026-01-01T00-00-00-000Z.tar.gz";

  test("are looked into by nobody without password and allow_download, and only where they are", async () => {
    for (const options of [{}, { password: true }, { allowDownload: true }]) {
      const kit = new PageKit(options);
      const cookie =
        options.password === true ? ((await kit.login(PASSWORD)).headers["set-cookie"]?.split(";")[0] ?? "") : "";
      for (const what of ["tree", "find", "file"]) {
        expect((await kit.ask(`/api/v1/archives/${what}`, { headers: { cookie } })).status).toBe(403);
      }
    }
    const kit = new PageKit({ password: true, allowDownload: true });
    kit.archives = [scannedArchive()];
    await kit.scans.scanAll();
    const headers = { cookie: (await kit.login(PASSWORD)).headers["set-cookie"]?.split(";")[0] ?? "" };
    const status = async (target: string): Promise<number> =>
      (await kit.ask(`/api/v1/archives/${target}`, { headers })).status;
    expect(await status("file?storage=main&agent=web-1&backup=home&key=eA")).toBe(400);
    expect(await status("file?storage=main&agent=web-1&backup=home&archive=../../etc/shadow&key=eA")).toBe(404);
    expect(await status(`tree?${place}&path=x`)).toBe(400);
    expect(await status("find?agent=web-1&backup=other&pattern=x")).toBe(404);
  });

  async function downloader(
    file: NonNullable<ConstructorParameters<typeof PageKit>[0]>["browser"],
  ): Promise<{ kit: PageKit; get: (target: string) => Promise<WebAnswer> }> {
    const kit = new PageKit({ password: true, allowDownload: true, ...(file === undefined ? {} : { browser: file }) });
    kit.archives = [scannedArchive()];
    await kit.scans.scanAll();
    const headers = { cookie: (await kit.login(PASSWORD)).headers["set-cookie"]?.split(";")[0] ?? "" };
    return { kit, get: (target) => kit.ask(`/api/v1/archives/${target}`, { headers }) };
  }

  test("give a file as an attachment that shows and runs nothing, and tell who took it", async () => {
    const name = 'a "b"\r\nx: y; é.html';
    const { kit, get } = await downloader({
      file: () => Promise.resolve({ name, path: `srv/${name}`, bytes: 2, body: streamOf(new Uint8Array([104, 105])) }),
    });
    const { headers, body } = await get(`file?${place}&key=eA`);
    expect(headers).toMatchObject({
      "content-type": "application/octet-stream",
      "content-disposition": `attachment; filename="a__b___x__y___.html"; filename*=UTF-8''a%20%22b%22%0D%0Ax%3A%20y%3B%20%C3%A9.html`,
      "content-security-policy": "sandbox; default-src 'none'",
      "x-content-type-options": "nosniff",
    });
    expect(await new Response(body).text()).toBe("hi");
    expect(kit.emitted).toMatchObject([
      { kind: "archive.downloaded", fields: { address: "192.0.2.7", storage: "main" } },
    ]);
    expect(kit.emitted[0]?.message).not.toContain("\n");
  });

  test("give files of hostile names, which break no header and cost no place", async () => {
    let name = "";
    const { get } = await downloader({
      file: () => Promise.resolve({ name, path: name, bytes: 2, body: streamOf(new Uint8Array([104, 105])) }),
    });
    for (name of ["\ud800.txt", "x\udc00", "é".repeat(3000), "..", "", '";filename=evil', "\u{1f600}".repeat(300)]) {
      const { status, headers, body } = await get(`file?${place}&key=eA`);
      expect([name, status]).toEqual([name, 200]);
      const [, plain, encoded] =
        /^attachment; filename="([A-Za-z0-9._-]{1,255})"; filename\*=UTF-8''(\S*)$/.exec(
          headers["content-disposition"] ?? "",
        ) ?? [];
      expect(plain?.length).toBeGreaterThan(0);
      expect(name.toWellFormed()).toEndWith(decodeURIComponent(encoded ?? "%").replace(/^\ufffd/, ""));
      expect(await new Response(body).text()).toBe("hi");
    }
  });

  test("give four files at a time and no more, however they end", async () => {
    const endless = (): ReadableStream<Uint8Array> => new ReadableStream({ pull: (c) => c.enqueue(new Uint8Array(1)) });
    let fails = false;
    const { get } = await downloader({
      file: () => {
        if (fails) return Promise.reject(new Failure("E_ARCHIVE_READ", "gone"));
        return Promise.resolve({ name: "x", path: "x", bytes: 1, body: endless() });
      },
    });
    const open: WebAnswer[] = [];
    for (let i = 0; i < 4; i += 1) open.push(await get(`file?${place}&key=eA`));
    expect((await get(`file?${place}&key=eA`)).status).toBe(429);
    const [first] = open;
    if (first?.body instanceof ReadableStream) await first.body.cancel();
    fails = true;
    expect((await get(`file?${place}&key=eA`)).status).toBe(500);
    fails = false;
    expect((await get(`file?${place}&key=eA`)).status).toBe(200);
    expect((await get(`file?${place}&key=eA`)).status).toBe(429);
  });

  test("keep the place of a file that nobody wants any more until its threads have ended", async () => {
    const ended = Promise.withResolvers<void>();
    const { get } = await downloader({
      file: () => {
        const body = new ReadableStream<Uint8Array>({ cancel: () => ended.promise });
        return Promise.resolve({ name: "x", path: "x", bytes: 1, body });
      },
    });
    const left: Promise<void>[] = [];
    for (let i = 0; i < 4; i += 1) {
      const { body } = await get(`file?${place}&key=eA`);
      if (body instanceof ReadableStream) left.push(body.cancel());
    }
    expect(left).toHaveLength(4);
    expect((await get(`file?${place}&key=eA`)).status).toBe(429);
    ended.resolve();
    await Promise.all(left);
    expect((await get(`file?${place}&key=eA`)).status).toBe(200);
  });
});

function streamOf(...parts: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller): void {
      for (const part of parts) controller.enqueue(part);
      controller.close();
    },
  });
}
