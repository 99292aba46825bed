/** Exit statuses, which scripts rely on. Codes of errors have theirs in the catalogue. */

export const EXIT = {
  done: 0,
  failed: 1,
  /** Wrong usage or configuration. */
  usage: 2,
  /** Done, but some files could not be handled; their names were printed. */
  partial: 3,
  /** Of `health`: no session is free. */
  busy: 10,
  /** Of `health`: a storage has less free than its reserve, or cannot be used. */
  lowDisk: 11,
  /** Of `health`. */
  maintenance: 12,
  interrupted: 130,
  /** Nobody reads the output any more, as in `ls … | head`: what a shell says of a program that SIGPIPE ended. */
  outputClosed: 141,
} as const;

/** From the least to the worst. */
const SEVERITY: readonly number[] = [EXIT.done, EXIT.partial, EXIT.failed, EXIT.usage, EXIT.interrupted];

/** The worst of several: an unknown one counts as failed. 0 for none. */
export function worstExit(codes: readonly number[]): number {
  const rank = (code: number): number => {
    const at = SEVERITY.indexOf(code);
    return at < 0 ? SEVERITY.indexOf(EXIT.failed) : at;
  };
  return codes.reduce((worst, code) => (rank(code) > rank(worst) ? code : worst), EXIT.done);
}
