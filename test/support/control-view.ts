/** A control channel as `status` shows it when there is none, for tests of what surrounds it. */
import type { ControlView } from "#observe/views.ts";

export const CHANNEL_DOWN: ControlView = {
  ...{ enabled: true, connectedSinceWallMs: null, rttMs: null, rttDeviationMs: null },
  ...{ serverLoad: null, serverCpus: null, serverSessions: null, storages: [], maintenance: false, lastFailure: null },
};
