/** Long answers as gzip for those who take it: a thousand agents are half a megabyte of JSON, and a tenth of that packed. */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { WebAnswer, WebRequest } from "./http.ts";

/** Below it the head of an answer and the work weigh more. */
const PACKED_FROM_CHARACTERS = 4_096;
/** On a thread of its own, some milliseconds for a megabyte. */
const LEVEL = 1;

const inBackground = promisify(gzip);

/** Whether who asks takes gzip: it is named, and not with a weight of nothing. */
export function takesGzip(header: WebRequest["header"]): boolean {
  return /\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/i.test(header("accept-encoding") ?? "");
}

/** The same answer. What is packed already, has no end or belongs to nobody's eyes (a download) is not touched: it is no text. */
export async function packed({ header }: WebRequest, answer: WebAnswer): Promise<WebAnswer> {
  const { body, headers } = answer;
  if (typeof body !== "string" || body.length < PACKED_FROM_CHARACTERS) return answer;
  const vary = { ...headers, vary: "accept-encoding" };
  if (!takesGzip(header)) return { ...answer, headers: vary };
  const small = await inBackground(body, { level: LEVEL });
  return { ...answer, headers: { ...vary, "content-encoding": "gzip" }, body: small };
}
