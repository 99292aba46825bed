/** The order in which bytes go out: control frames before data, never inside a data frame, one piece at a time. */
import { describe, expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { type DataPiece, type DataSource, WriteQueue } from "#net/write-queue.ts";

/** Takes as many bytes as the test allows, and keeps them. */
class Sink {
  room = 0;
  ended = 0;
  text = "";
  readonly offered: number[] = [];

  write(bytes: Uint8Array): number {
    this.offered.push(bytes.length);
    const taken = Math.min(bytes.length, this.room);
    this.room -= taken;
    this.text += Buffer.from(bytes.subarray(0, taken)).toString();
    return taken;
  }

  end(): void {
    this.ended += 1;
  }
}

function source(...pieces: readonly (string | undefined)[]): DataSource & { asked: number } {
  const left = [...pieces];
  return {
    asked: 0,
    next(): DataPiece | undefined {
      this.asked += 1;
      const piece = left.shift();
      return piece === undefined ? undefined : { bytes: Buffer.from(piece), endsFrame: piece.endsWith(")") };
    },
  };
}

function setup(controlBytesMax = 100): { sink: Sink; queue: WriteQueue } {
  const sink = new Sink();
  return { sink, queue: new WriteQueue(sink, { controlBytesMax }) };
}

const frame = (text: string): Uint8Array => Buffer.from(text);

describe("the write queue", () => {
  test("sends control frames before a data frame and after it, never inside", () => {
    const { sink, queue } = setup();
    const data = source("(a", "b", "c)", "(d)");
    queue.carry(data);
    sink.room = 1;
    queue.drain();
    expect(sink.text).toBe("(");
    queue.control(frame("P"));
    queue.control(frame("Q"));
    sink.room = 100;
    queue.drain();
    expect(sink.text).toBe("(abc)PQ(d)");
  });

  test("asks for the next piece only when the last one was wholly taken", () => {
    const { sink, queue } = setup();
    const data = source("(a", "b)");
    queue.carry(data);
    expect(data.asked).toBe(1);
    queue.run();
    expect(data.asked).toBe(1);
    sink.room = 1;
    queue.drain();
    expect(data.asked).toBe(1);
    sink.room = 100;
    queue.drain();
    expect([sink.text, data.asked]).toEqual(["(ab)", 3]);
  });

  test("does not write again before drain, and then goes on with the very bytes that were not taken", () => {
    const { sink, queue } = setup();
    queue.control(frame("abcdef"));
    queue.control(frame("ghi"));
    expect(sink.offered).toEqual([6]);
    sink.room = 2;
    queue.run();
    expect(sink.offered).toEqual([6]);
    queue.drain();
    expect(sink.offered).toEqual([6, 6]);
    sink.room = 100;
    queue.drain();
    expect(sink.text).toBe("abcdefghi");
  });

  test("goes on where it was when a source that had nothing has something again", () => {
    const { sink, queue } = setup();
    sink.room = 100;
    queue.carry(source("(a", undefined, "b)"));
    queue.control(frame("P"));
    expect(sink.text).toBe("(ab)P");
  });

  test("a source that queues a control frame while it is asked does not disturb its own frame", () => {
    const { sink, queue } = setup();
    sink.room = 100;
    const left = ["(a", "b)"];
    queue.carry({
      next: () => {
        const piece = left.shift();
        if (piece === undefined) return undefined;
        queue.control(frame("P"));
        return { bytes: Buffer.from(piece), endsFrame: piece.endsWith(")") };
      },
    });
    expect(sink.text).toBe("(ab)PP");
  });

  test("end sends what waits and the data frame that has begun, and ends once", () => {
    const { sink, queue } = setup();
    queue.carry(source("(a", "b)", "(c)"));
    queue.control(frame("P"));
    queue.end();
    queue.control(frame("never"));
    expect(sink.ended).toBe(0);
    sink.room = 100;
    queue.drain();
    queue.drain();
    queue.end();
    expect([sink.text, sink.ended]).toEqual(["(ab)P", 1]);
  });

  test("end does not wait for a source that cannot go on with its frame", () => {
    const { sink, queue } = setup();
    sink.room = 100;
    queue.carry(source("(a", undefined));
    queue.end();
    expect([sink.text, sink.ended]).toEqual(["(a", 1]);
  });

  test("more control bytes than the limit are refused", () => {
    const { queue } = setup(10);
    queue.control(frame("in hand"));
    queue.control(frame("1234567"));
    expect(queue.controlBytes).toBe(7);
    expect(() => queue.control(frame("8901"))).toThrow(Failure);
    expect(queue.blocked).toBe(true);
  });
});
