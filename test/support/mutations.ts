/**
 * What disks, bugs and wicked hands do to a file: bits flipped, pieces cut out, doubled, moved in from another file, zeroed,
 * junk put in. As values of fast-check, so that a counterexample shrinks and prints what was done.
 */
import fc from "fast-check";

/** Places are shares of the length, in 2^32 parts, so that they fit whatever the file's length. */
export type Mutation =
  | { readonly kind: "flip"; readonly at: number; readonly bit: number }
  | { readonly kind: "zero"; readonly at: number; readonly length: number }
  | { readonly kind: "cut"; readonly at: number }
  | { readonly kind: "remove"; readonly at: number; readonly length: number }
  | { readonly kind: "double"; readonly from: number; readonly length: number; readonly to: number }
  | { readonly kind: "splice"; readonly from: number; readonly length: number; readonly to: number }
  | { readonly kind: "junk"; readonly at: number; readonly bytes: Uint8Array };

const place = fc.integer({ min: 0, max: 0xffff_ffff });
const length = fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 5000 }));

/** Nothing moves: what stands before the first damage is as it was, and what stands behind it where it was. */
export const inPlace: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ kind: fc.constant("flip" as const), at: place, bit: fc.nat(7) }),
  fc.record({ kind: fc.constant("zero" as const), at: place, length }),
  fc.record({ kind: fc.constant("cut" as const), at: place }),
);

/** Any, pieces that move included. */
export const anyMutation: fc.Arbitrary<Mutation> = fc.oneof(
  inPlace,
  fc.record({ kind: fc.constant("remove" as const), at: place, length }),
  fc.record({ kind: fc.constant("double" as const), from: place, length, to: place }),
  fc.record({ kind: fc.constant("splice" as const), from: place, length, to: place }),
  fc.record({ kind: fc.constant("junk" as const), at: place, bytes: fc.uint8Array({ minLength: 1, maxLength: 60 }) }),
);

/** The bytes after these mutations; `other` is the file from which pieces are moved in. */
export function mutate(bytes: Uint8Array, mutations: readonly Mutation[], other: Uint8Array): Buffer<ArrayBuffer> {
  let now = Buffer.from(bytes);
  for (const mutation of mutations) if (now.length > 0) now = apply(now, mutation, other);
  return now;
}

function apply(bytes: Buffer<ArrayBuffer>, mutation: Mutation, other: Uint8Array): Buffer<ArrayBuffer> {
  const at = (share: number, size = bytes.length): number => Math.floor((share / 2 ** 32) * size);
  const insert = (where: number, piece: Uint8Array): Buffer<ArrayBuffer> =>
    Buffer.concat([bytes.subarray(0, where), piece, bytes.subarray(where)]);
  switch (mutation.kind) {
    case "flip": {
      const flipped = Buffer.from(bytes);
      const where = at(mutation.at);
      flipped[where] = (flipped[where] ?? 0) ^ (1 << mutation.bit);
      return flipped;
    }
    case "zero":
      return Buffer.from(bytes).fill(0, at(mutation.at), Math.min(bytes.length, at(mutation.at) + mutation.length));
    case "cut":
      return Buffer.from(bytes.subarray(0, at(mutation.at)));
    case "remove":
      return Buffer.concat([bytes.subarray(0, at(mutation.at)), bytes.subarray(at(mutation.at) + mutation.length)]);
    case "double": {
      const from = at(mutation.from);
      return insert(at(mutation.to), bytes.subarray(from, from + mutation.length));
    }
    case "splice": {
      const from = at(mutation.from, other.length);
      return insert(at(mutation.to), other.subarray(from, from + mutation.length));
    }
    case "junk":
      return insert(at(mutation.at), mutation.bytes);
  }
}
