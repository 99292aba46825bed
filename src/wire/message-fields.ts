/** Fields that several messages have, as schemas. */
import { z } from "zod";
import { isName } from "#base/names.ts";
import { MESSAGE_TEXT_CHARS_MAX } from "./limits.ts";

export const uint = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
export const u32 = z.number().int().min(0).max(0xffff_ffff);
export const u8 = z.number().int().min(0).max(255);
export const text = z.string().max(MESSAGE_TEXT_CHARS_MAX);
export const name = z.string().refine(isName, "not a name");
export const uuid = z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);

/** At least one. */
export const bytes = (bytesMax: number): z.ZodCustom<Uint8Array, Uint8Array> =>
  z.custom<Uint8Array>(
    (b) => b instanceof Uint8Array && b.length >= 1 && b.length <= bytesMax,
    `not 1 to ${bytesMax} bytes`,
  );

/** Refused, Ended, Failed and what Archives says of a storage. */
export const failureFields = {
  code: text,
  message: text,
  hint: text,
  retry: z.boolean(),
  retryAfterMs: uint.optional(),
};
