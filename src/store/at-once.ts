/** Calls that run side by side, where an error must not leave any of them behind: whoever hears of it closes files next. */

/** A promise that somebody awaits later: should it reject before, that is not unheard. */
export function awaitedLater<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** Waits for all, then rejects with the first error there was. */
export async function allOf(calls: readonly Promise<unknown>[]): Promise<void> {
  for (const result of await Promise.allSettled(calls)) if (result.status === "rejected") throw result.reason;
}

/** Calls `act` for every item, in order, `countMax` at a time; after an error for no further one. */
export async function eachOf<T>(items: Iterable<T>, countMax: number, act: (item: T) => Promise<void>): Promise<void> {
  const iterator = items[Symbol.iterator]();
  let failed = false;
  const lane = async (): Promise<void> => {
    for (let next = iterator.next(); next.done !== true && !failed; next = iterator.next()) {
      try {
        await act(next.value);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  await allOf(Array.from({ length: countMax }, lane));
}
