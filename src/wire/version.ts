/** Which version of the protocol two sides speak. PROTOCOL.md "Versions". */
import { Failure } from "#base/errors.ts";
import { PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN } from "./limits.ts";

export interface VersionRange {
  readonly versionMin: number;
  readonly versionMax: number;
}

const OWN_VERSIONS: VersionRange = { versionMin: PROTOCOL_VERSION_MIN, versionMax: PROTOCOL_VERSION_MAX };

/** The highest common version; throws Failure E_VERSION that names both ranges when there is none. */
export function chooseVersion(peer: VersionRange, own: VersionRange = OWN_VERSIONS): number {
  const version = Math.min(peer.versionMax, own.versionMax);
  if (version < Math.max(peer.versionMin, own.versionMin) || peer.versionMin > peer.versionMax) {
    throw new Failure(
      "E_VERSION",
      `agent speaks protocol versions ${text(peer)} and server ${text(own)}: none in common`,
    );
  }
  return version;
}

/** What the server chose, checked by the agent. */
export function checkVersion(version: number, own: VersionRange = OWN_VERSIONS): void {
  if (version >= own.versionMin && version <= own.versionMax) return;
  throw new Failure("E_VERSION", `server chose protocol version ${version}, this agent speaks ${text(own)}`);
}

function text(range: VersionRange): string {
  return range.versionMin === range.versionMax ? `${range.versionMin}` : `${range.versionMin}-${range.versionMax}`;
}
