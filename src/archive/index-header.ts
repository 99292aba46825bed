/** The header of an index: a JSON object (index-format.ts, "HEADER"). What is missing is undefined; what is of another kind is damage. */
import { z } from "zod";
import { indexDamaged } from "./index-bytes.ts";
import { BLOCK, type IndexHeader } from "./index-format.ts";

const text = z.string().max(4096);
/** The lists come from a configuration; the length of the block bounds them. */
const texts = z.array(z.string());

const headerSchema = z.object({
  rebuilt: z.boolean(),
  session: text.optional(),
  agent: text.optional(),
  backup: text.optional(),
  archive: text.optional(),
  startedMs: z.int().optional(),
  compression: z.object({ mode: z.enum(["gzip", "zst"]), level: z.int().min(0).max(22).optional() }),
  chunkBytes: z.int().positive().optional(),
  sources: texts.optional(),
  exclude: texts.optional(),
  oneFileSystem: z.boolean().optional(),
  excludeCaches: z.boolean().optional(),
  excludeIfPresent: texts.optional(),
});

/** The raw block. */
export function writeHeader(header: IndexHeader): Uint8Array {
  const { rebuilt, session, agent, backup, archive, startedMs, compression, chunkBytes } = header;
  const { sources, exclude, oneFileSystem, excludeCaches, excludeIfPresent } = header;
  // Named one by one: their order in the block is theirs here, not that of the object that came.
  const json = JSON.stringify({
    ...{ rebuilt, session, agent, backup, archive, startedMs },
    compression: { mode: compression.mode, level: compression.level },
    ...{ chunkBytes, sources, exclude, oneFileSystem, excludeCaches, excludeIfPresent },
  });
  const body = new TextEncoder().encode(json);
  const raw = new Uint8Array(1 + body.length);
  raw[0] = BLOCK.header;
  raw.set(body, 1);
  return raw;
}

/** Throws Failure E_INDEX_DAMAGED. */
export function readHeader(raw: Uint8Array): IndexHeader {
  if (raw[0] !== BLOCK.header) throw indexDamaged("the header is something else");
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(raw.subarray(1)));
  } catch (cause) {
    // A SyntaxError or, for what is no UTF-8, a TypeError.
    if (cause instanceof Error) throw indexDamaged("the header is not JSON");
    throw cause;
  }
  const { data } = headerSchema.safeParse(value);
  if (data === undefined) throw indexDamaged("the header lacks what it must have, or has it in another form");
  const { rebuilt, session, agent, backup, archive, startedMs, chunkBytes } = data;
  const { sources, exclude, oneFileSystem, excludeCaches, excludeIfPresent } = data;
  return {
    ...{ rebuilt, session, agent, backup, archive, startedMs, chunkBytes },
    compression: { mode: data.compression.mode, level: data.compression.level },
    ...{ sources, exclude, oneFileSystem, excludeCaches, excludeIfPresent },
  };
}
