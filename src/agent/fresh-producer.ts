/** A producer that begins when a look has found the sources as they are to be: a run may have waited for hours to be admitted. */
import { toFailure } from "#base/errors.ts";
import type { Producer, ProducerSink, ReadProgress } from "./producer.ts";

export class FreshProducer implements Producer {
  readonly #inner: Producer;
  readonly #look: () => Promise<void>;
  #state: "waiting" | "started" | "stopped" = "waiting";

  /** `look` rejects with why nothing is to be read. */
  constructor(inner: Producer, look: () => Promise<void>) {
    this.#inner = inner;
    this.#look = look;
  }

  start(sink: ProducerSink): void {
    this.#look()
      .then(() => {
        if (this.#state === "stopped") return;
        this.#state = "started";
        this.#inner.start(sink);
      })
      .catch((error: unknown) => {
        if (this.#state !== "stopped") sink.failed(toFailure(error));
      });
  }

  poke(): void {
    if (this.#state === "started") this.#inner.poke();
  }

  progress(): ReadProgress {
    return this.#inner.progress();
  }

  stop(): Promise<void> {
    this.#state = "stopped";
    return this.#inner.stop();
  }
}
