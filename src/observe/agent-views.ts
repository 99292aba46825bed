/** Agents as the server knows them by their control channels, as plain values for commands and the page. Nothing is kept here. */

/** What an agent told of one backup entry on its control channel; the wire's entry facts (PROTOCOL.md "Control"). */
export interface AgentBackupView {
  readonly backup: string;
  readonly storage: string;
  readonly activity: "idle" | "waiting" | "running";
  readonly session?: string | undefined;
  readonly phase?: string | undefined;
  readonly entries?: number | undefined;
  readonly rawBytes?: number | undefined;
  readonly storedBytes?: number | undefined;
  readonly durableBytes?: number | undefined;
  readonly rttUs?: number | undefined;
  readonly streamsUp?: number | undefined;
  readonly slots?: number | undefined;
  readonly autoscaler?:
    | {
        readonly mode: string;
        readonly active: number;
        readonly max: number;
        readonly state?: string | undefined;
        /** Bytes per second that the streams could take, and those that there were to be sent. */
        readonly rate?: number | undefined;
        readonly producedRate?: number | undefined;
      }
    | undefined;
  readonly nextWallMs?: number | undefined;
  readonly lastResult?: string | undefined;
  readonly lastWallMs?: number | undefined;
  readonly lastSuccessWallMs?: number | undefined;
}

/** An agent, as the server knows it: connected now, or seen before. */
export interface AgentView {
  readonly agent: string;
  readonly connected: boolean;
  /** It was away for longer than control_lost_grace_period while a session of it ran. */
  readonly lost: boolean;
  /** When it was connected, or was last seen; null: never, it has only enrolled. */
  readonly sinceWallMs: number | null;
  readonly address: string | null;
  /** `nbackup-agent 0.1.0` */
  readonly software: string | null;
  readonly rttMs: number | null;
  readonly rttDeviationMs: number | null;
  readonly uptimeMs: number | null;
  /** Of one processor, percent. */
  readonly cpuPercent: number | null;
  readonly machineCpuPercent: number | null;
  readonly residentBytes: number | null;
  readonly load: number | null;
  readonly freeBytes: number | null;
  /**
   * Whether it trusts the newest of the new CAs that it was told of; `unknown` when it has not said, as agents of before this never do.
   * Missing where there are none, or it is not connected.
   */
  readonly newCa?: "trusted" | "missing" | "unknown" | undefined;
  readonly backupCount: number;
  readonly backups: readonly AgentBackupView[];
}
