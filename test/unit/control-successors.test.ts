/** The server tells its agents of new CAs: once on each control connection, and again when there are others. */
import { afterEach, expect, test } from "bun:test";
import type { Succession } from "#pki/succession.ts";
import { helloOf, ServerWorld } from "#test/support/server-world.ts";
import { SimClock } from "#test/support/sim-clock.ts";

let world: ServerWorld | undefined;

afterEach(async () => {
  await world?.close();
  world = undefined;
});

test("a new CA is told once on each control connection, and again when there is another", async () => {
  const bytes = (fill: number, length: number): Uint8Array => new Uint8Array(length).fill(fill);
  let told: readonly Succession[] = [];
  // As large as they may be.
  const [one, other] = [1, 2].map((fill) => ({ certificate: bytes(fill, 2048), signature: bytes(fill, 512) }));
  const w = await ServerWorld.start({ clock: new SimClock(), successions: () => told });
  world = w;
  const { link } = w.connect("web-2");
  link.send("hello", helloOf({ role: "control", agent: "web-2", keepaliveMs: 30_000 }));
  await w.wait(link.expect("welcome"));
  let id = 0;
  const heard = async (): Promise<number[] | undefined> => {
    id += 1;
    link.send("ping", { id });
    const { server } = await w.wait(link.expect("pong"));
    return server?.successors?.map(({ certificate }) => certificate[0] ?? 0);
  };
  expect(await heard()).toBeUndefined();
  if (one === undefined || other === undefined) throw new Error("two successions");
  told = [one];
  expect([await heard(), await heard()]).toEqual([[1], undefined]);
  told = [one, other, one, other];
  expect([await heard(), await heard()]).toEqual([[1, 2, 1, 2], undefined]);
  // Four were told: who trusts three of them would be cut off by the fourth.
  const standing = async (successors?: number): Promise<unknown> => {
    link.send("ping", {
      id: 100,
      agent: { uptimeMs: 1, backups: [], backupCount: 0, ...(successors === undefined ? {} : { successors }) },
    });
    await w.wait(link.expect("pong"));
    return await shown();
  };
  const shown = async (): Promise<unknown> => {
    const around = {} as Parameters<typeof w.server.admin.handle>[1];
    const history = { newest: () => [] };
    const [view] = (await w.wait(w.server.admin.handle({ command: "agents" }, { ...around, history } as never))) as {
      newCa?: string;
    }[];
    return view?.newCa;
  };
  // Of before this, or not asked yet: it has not said that it lacks any.
  expect([await standing(), await standing(3), await standing(4)]).toEqual(["unknown", "missing", "trusted"]);
  expect([await standing(0), await standing()]).toEqual(["missing", "unknown"]);
  expect(await standing(4)).toBe("trusted");
  told = [other, one, other, one];
  // What it said is of the list before, also in the Ping that this one is the answer to.
  expect([await shown(), await standing(4), await standing(4)]).toEqual(["unknown", "unknown", "trusted"]);
  told = [];
  expect([await heard(), await standing()]).toEqual([undefined, undefined]);
});
