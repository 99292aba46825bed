/** How much a storage may still take: pure arithmetic over what the disk reports. */
import type { DiskSpace } from "./disk.ts";

/** Free space kept on the disk: min(percent / 100 × size of the disk, bytesMax). */
export interface ReserveRule {
  readonly percent: number;
  readonly bytesMax: number;
}

export interface StorageSpace extends DiskSpace {
  /** Kept free. */
  readonly reserveBytes: number;
}

/** The bytes that are kept free on a disk of this size. */
export function reserveBytes(rule: ReserveRule, totalBytes: number): number {
  return Math.min(Math.floor((totalBytes / 100) * rule.percent), rule.bytesMax);
}

/**
 * Bytes that are missing for a session of `estimateBytes` beside the reserve and the `promisedBytes` that running
 * sessions of the same disk still need; 0 or less when it fits.
 */
export function missingBytes(space: StorageSpace, promisedBytes: number, estimateBytes: number): number {
  return estimateBytes + promisedBytes + space.reserveBytes - space.freeBytes;
}

/** True when a session of that estimate can be admitted. */
export function fits(space: StorageSpace, promisedBytes: number, estimateBytes: number): boolean {
  return missingBytes(space, promisedBytes, estimateBytes) <= 0;
}
