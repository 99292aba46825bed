/** What a restore does about things that are there already: an option of commands, and of what carries them out. */

/**
 * always: replaced. if-changed: kept when it looks the same: type, size, time, and mode and owner as far as they are restored. if-newer:
 * replaced when the archive's is newer. never: kept.
 */
export type Overwrite = "always" | "if-changed" | "if-newer" | "never";

export const OVERWRITES: readonly Overwrite[] = ["always", "if-changed", "if-newer", "never"];
