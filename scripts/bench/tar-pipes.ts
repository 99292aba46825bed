/**
 * `tar | compressor | socat over TLS 1.3 | file`: what an administrator's script does, without ssh. Both ends check
 * certificates as nbackup does, with large buffers in socat; the file is synced before the clock stops.
 */
import { fsyncSync, openSync, closeSync, statSync } from "node:fs";
import path from "node:path";
import { freePort } from "#scripts/lib/background.ts";
import { Sentence } from "#scripts/lib/run.ts";
import type { BenchContext, Contender, Outcome } from "./contender.ts";
import type { Corpus } from "./corpora.ts";
import { isListening, makePipe, type Measured, startMeasured } from "./measure.ts";

const SOCAT_BUFFER_BYTES = 1 << 20;
const LISTEN_TIMEOUT_MS = 5000;
const TLS13 = "openssl-min-proto-version=TLS1.3";

/** The receiving end, listening. */
async function startReceiver(context: BenchContext, port: number, file: string): Promise<Measured> {
  const { ca, serverCert, serverKey } = context.certificates;
  const listen = `OPENSSL-LISTEN:${port},bind=127.0.0.1,reuseaddr,cert=${serverCert},key=${serverKey},cafile=${ca},verify=1,${TLS13}`;
  const command = ["socat", "-u", "-b", String(SOCAT_BUFFER_BYTES), listen, `OPEN:${file},wronly,creat,trunc`];
  const receiver = await startMeasured("socat (receive)", command);
  const deadline = performance.now() + LISTEN_TIMEOUT_MS;
  while (!isListening(port)) {
    if (performance.now() > deadline) throw new Sentence(`socat does not listen on port ${port}.`);
    await Bun.sleep(5);
  }
  return receiver;
}

async function startSenders(
  corpus: Corpus,
  compressor: readonly string[],
  context: BenchContext,
  port: number,
): Promise<readonly Measured[]> {
  const { ca, agentCert, agentKey } = context.certificates;
  const connect = `OPENSSL:127.0.0.1:${port},cert=${agentCert},key=${agentKey},cafile=${ca},verify=1,commonname=localhost,${TLS13}`;
  const [first, second] = [makePipe(), makePipe()];
  return [
    await startMeasured("tar", ["tar", "-cf", "-", "-C", "/", corpus.directory.slice(1)], { stdout: first.write }),
    await startMeasured(compressor[0] ?? "", compressor, { stdin: first.read, stdout: second.write }),
    await startMeasured("socat (send)", ["socat", "-u", "-b", String(SOCAT_BUFFER_BYTES), "STDIN", connect], {
      stdin: second.read,
    }),
  ];
}

function sync(file: string): void {
  const fd = openSync(file, "r+");
  fsyncSync(fd);
  closeSync(fd);
}

async function runPipe(
  corpus: Corpus,
  context: BenchContext,
  compressor: readonly string[],
  extension: string,
): Promise<Outcome> {
  const archive = path.join(context.scratch, `archive.tar.${extension}`);
  const port = freePort();
  const receiver = await startReceiver(context, port, archive);
  const started = performance.now();
  const senders = await startSenders(corpus, compressor, context, port);
  const processes = await Promise.all([...senders, receiver].map(({ done }) => done));
  sync(archive);
  const wallSeconds = (performance.now() - started) / 1000;
  return { wallSeconds, processes, archiveBytes: statSync(archive).size, archive, commitSeconds: undefined };
}

function pipe(name: string, compressor: readonly string[], extension: string): Contender {
  return {
    name,
    description: `tar -cf - | ${compressor.join(" ")} | socat TLS 1.3 to a file, synced at the end`,
    baseline: undefined,
    run: (corpus, context) => runPipe(corpus, context, compressor, extension),
  };
}

export const TAR_PIPES: readonly Contender[] = [
  pipe("tar|pigz-1", ["pigz", "-1"], "gz"),
  pipe("tar|pigz-6", ["pigz", "-6"], "gz"),
  pipe("tar|zstd-1", ["zstd", "-q", "-T0", "-1"], "zst"),
  pipe("tar|zstd-3", ["zstd", "-q", "-T0", "-3"], "zst"),
];
