/** What this machine and this process are at, by cheap calls; what the system does not tell is missing. */
import { readFileSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { availableParallelism, loadavg } from "node:os";
import type { MachineFacts } from "#agent/agent-facts.ts";
import { errnoName } from "#base/errors.ts";

/** Load and processors, for the server's side of a control channel. */
export function machineLoad(): { readonly loadHundredths: number; readonly cpus: number } {
  return { loadHundredths: Math.round((loadavg()[0] ?? 0) * 100), cpus: availableParallelism() };
}

interface Sample {
  readonly atMs: number;
  /** Microseconds of processor time of this process. */
  readonly usedUs: number;
  readonly machine: MachineTicks | undefined;
}

interface MachineTicks {
  readonly busy: number;
  readonly all: number;
}

/** Shares of processors are those since the call before. */
export class MachineWatch {
  #before: Sample = takeSample();

  async look(stateDir: string): Promise<MachineFacts> {
    const before = this.#before;
    const now = takeSample();
    const elapsedMs = now.atMs - before.atMs;
    // Too short a time tells nothing.
    if (elapsedMs >= 100) this.#before = now;
    const freeBytes = await freeBytesOf(stateDir);
    const machine = machineShare(before.machine, now.machine);
    return {
      ...(elapsedMs > 0 ? { cpuPermille: Math.max(0, Math.round((now.usedUs - before.usedUs) / elapsedMs)) } : {}),
      ...(machine === undefined ? {} : { machineCpuPermille: machine }),
      residentBytes: process.memoryUsage.rss(),
      loadHundredths: machineLoad().loadHundredths,
      ...(freeBytes === undefined ? {} : { freeBytes }),
    };
  }
}

function takeSample(): Sample {
  const { user, system } = process.cpuUsage();
  return { atMs: performance.now(), usedUs: user + system, machine: machineTicks() };
}

function machineShare(before: MachineTicks | undefined, now: MachineTicks | undefined): number | undefined {
  if (before === undefined || now === undefined || now.all <= before.all) return undefined;
  return Math.max(0, Math.round((1000 * (now.busy - before.busy)) / (now.all - before.all)));
}

function machineTicks(): MachineTicks | undefined {
  try {
    const line = readFileSync("/proc/stat", "utf8").split("\n", 1)[0] ?? "";
    const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, steal = 0] = line
      .split(/ +/)
      .slice(1)
      .map(Number);
    const busy = user + nice + system + irq + soft + steal;
    return { busy, all: busy + idle + wait };
  } catch (error) {
    if (errnoName(error) === undefined) throw error;
    return undefined; // No /proc here.
  }
}

async function freeBytesOf(directory: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize;
  } catch (error) {
    if (errnoName(error) === undefined) throw error;
    return undefined; // Its disk has trouble, which status tells.
  }
}
