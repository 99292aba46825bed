/** Long answers go packed to those who take it, whole to the others, and short ones as they are. */
import { describe, expect, test } from "bun:test";
import { gunzipSync } from "node:zlib";
import { eventRecord, PageKit } from "#test/support/page-kit.ts";
import type { EventsAnswer } from "#web/api-types.ts";
import type { WebAnswer } from "#web/http.ts";

function filled(): PageKit {
  const kit = new PageKit();
  for (let i = 0; i < 100; i += 1) kit.events.add(eventRecord({ wallMs: i }));
  return kit;
}

const asked = (kit: PageKit, encoding?: string): Promise<WebAnswer> =>
  kit.ask("/api/v1/events?limit=100", { headers: encoding === undefined ? {} : { "accept-encoding": encoding } });

describe("a long answer", () => {
  test("is packed for a browser, and is the same", async () => {
    const { headers, body } = await asked(filled(), "gzip, deflate, br, zstd");
    expect(headers).toMatchObject({ "content-encoding": "gzip", vary: "accept-encoding" });
    if (!(body instanceof Uint8Array)) throw new Error(`not packed: ${String(body)}`);
    const { rows }: EventsAnswer = JSON.parse(gunzipSync(body).toString("utf8"));
    expect(rows).toHaveLength(100);
    expect(headers["content-security-policy"]).toContain("default-src 'none'");
  });

  for (const encoding of [undefined, "identity", "br", "gzip;q=0", "gzip ; q=0.00, br"]) {
    test(`is whole for who says ${encoding ?? "nothing"}, and a cache is told that others may get another`, async () => {
      const { headers, body } = await asked(filled(), encoding);
      expect(headers["content-encoding"]).toBeUndefined();
      expect(headers["vary"]).toBe("accept-encoding");
      expect(JSON.parse(String(body))).toMatchObject({ total: 100 });
    });
  }
});

test("a short answer stays as it is", async () => {
  const { headers, body } = await asked(new PageKit(), "gzip");
  expect(headers["content-encoding"]).toBeUndefined();
  expect(JSON.parse(String(body))).toMatchObject({ rows: [] });
});
