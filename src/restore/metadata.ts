/**
 * Owner, mode, extended attributes, access control lists and time of what was restored, in the order in which the later ones survive
 * the earlier: a change of owner takes capabilities and setuid away, a change of mode spoils an access control list, and all of them
 * touch no time. setuid and setgid come back only together with the owner they speak for.
 */
import { type AclEntry, aclValue } from "#archive/acl.ts";
import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, errnoText, Scratch } from "#archive/linux-libc.ts";
import type { ReadEntry } from "#archive/tar-reader-entry.ts";
import type { Wanted } from "./overwrite.ts";
import type { WriteCalls } from "./write-calls.ts";

export interface MetadataOptions {
  /** Root: may give files away, and set every attribute. */
  readonly privileged: boolean;
  /** `--no-owner` is false. */
  readonly owners: boolean;
  /** Of this process. */
  readonly uid: number;
  /** All groups of this process: an ordinary user may give files to these. */
  readonly gids: ReadonlySet<number>;
  /** Of this machine, for access control lists that name somebody. */
  readonly userId: (name: string) => number | undefined;
  readonly groupId: (name: string) => number | undefined;
}

export type MetadataReport = (reason: "owner" | "mode" | "attributes" | "acl" | "time", errno: string) => void;

const SETUID = 0o4000;
const SETGID = 0o2000;
const ID_MAX = 0xffff_fffe;
const UNCHANGED = 0xffff_ffff;
/** tv_nsec that leaves a time as it is. */
const UTIME_OMIT = 0x3fff_fffe;
const XATTR_NAME_BYTES_MAX = 255;
const PROC_DIRECTORY = "/proc/self/fd";
const PRIVILEGED_XATTRS = ["security.", "trusted.", "system."];

/** What is written to: an open file, or by O_PATH something that may not be read or is no file; or a symbolic link by its name. */
export type Place =
  | { readonly kind: "open"; readonly fd: number }
  | { readonly kind: "path"; readonly fd: number }
  | { readonly kind: "link"; readonly directory: number; readonly name: Scratch };

function scratchOf(text: string): Scratch {
  const scratch = new Scratch(text.length + 1);
  new TextEncoder().encodeInto(text, scratch.bytes);
  return scratch;
}

const EMPTY = new Scratch(1);
const ACL_ACCESS = scratchOf("system.posix_acl_access");
const ACL_DEFAULT = scratchOf("system.posix_acl_default");

export class MetadataWriter {
  readonly #w: WriteCalls;
  readonly #options: MetadataOptions;
  readonly #time = new Scratch(32);
  readonly #timeView = new DataView(this.#time.bytes.buffer);
  readonly #xattrName = new Scratch(XATTR_NAME_BYTES_MAX + 1);
  readonly #path = new Scratch(PROC_DIRECTORY.length + 12 + 4096);

  constructor(w: WriteCalls, options: MetadataOptions) {
    this.#w = w;
    this.#options = options;
    this.#timeView.setUint32(8, UTIME_OMIT, true);
  }

  /** What an entry comes to here, if every call succeeds. */
  wanted(entry: ReadEntry): Wanted {
    const uid = this.#options.owners && this.#options.privileged ? entry.uid : undefined;
    const gid = this.#mayGroup(entry.gid) ? entry.gid : undefined;
    return { mode: this.#mode(entry, uid, gid), uid, gid };
  }

  /** All of it. `inherited`: what was created may have an access control list of the directory it lies in. */
  apply(place: Place, entry: ReadEntry, inherited: boolean, report: MetadataReport): void {
    const owned = this.#owner(place, entry, report);
    if (inherited && place.kind === "open") this.removeAcls(place.fd, entry.type === "directory");
    if (place.kind !== "link") {
      const { uid, gid } = owned;
      if (this.#chmod(place, this.#mode(entry, uid, gid)) < 0) report("mode", this.#errno());
    }
    this.#attributes(place, entry, report);
    if (place.kind !== "link") this.#acls(place, entry, report);
    this.time(place, entry, report);
  }

  time(
    place: Place,
    { mtimeSeconds, mtimeNanos }: Pick<ReadEntry, "mtimeSeconds" | "mtimeNanos">,
    report: MetadataReport,
  ): void {
    const view = this.#timeView;
    view.setUint32(16, mtimeSeconds >>> 0, true);
    view.setInt32(20, Math.floor(mtimeSeconds / 2 ** 32), true);
    view.setUint32(24, mtimeNanos, true);
    const { pointer } = this.#time;
    const result =
      place.kind === "open"
        ? this.#w.futimens(place.fd, pointer)
        : place.kind === "path"
          ? this.#w.utimensat(AT_FDCWD, this.#procPath(place.fd).pointer, pointer, 0)
          : this.#w.utimensat(place.directory, place.name.pointer, pointer, AT_SYMLINK_NOFOLLOW);
    if (result < 0) report("time", this.#errno());
  }

  /** True when what is created in the directory takes access control lists from it. */
  inherits(fd: number): boolean {
    const probe = new Scratch(4096);
    return this.#w.c.fgetxattr(fd, ACL_DEFAULT.pointer, probe.pointer, probe.bytes.length) > 0;
  }

  /** Takes from what was just created the lists that it got from its directory. */
  removeAcls(fd: number, isDirectory: boolean): void {
    const names = isDirectory ? [ACL_ACCESS, ACL_DEFAULT] : [ACL_ACCESS];
    // What has none, or cannot have one, is what it should be.
    for (const name of names) this.#w.fremovexattr(fd, name.pointer);
  }

  /** Changes the mode of a directory or file, open by any means. Gives 0 or -1. */
  chmod(place: Exclude<Place, { kind: "link" }>, mode: number): number {
    return this.#chmod(place, mode);
  }

  #mayGroup(gid: number): boolean {
    const { owners, privileged, gids } = this.#options;
    return owners && (privileged || gids.has(gid));
  }

  /** `uid` and `gid` as far as they were given to the file; without, it belongs to this process. */
  #mode(entry: ReadEntry, uid: number | undefined, gid: number | undefined): number {
    const sameUser = (uid ?? this.#options.uid) === entry.uid;
    // A directory's setgid hands its group down and gives no rights.
    const sameGroup = gid === entry.gid || entry.type === "directory";
    return entry.mode & ~(sameUser ? 0 : SETUID) & ~(sameGroup ? 0 : SETGID);
  }

  /** What was given away. */
  #owner(place: Place, entry: ReadEntry, report: MetadataReport): { uid?: number; gid?: number } {
    const { owners, privileged } = this.#options;
    if (!owners || !this.#mayGroup(entry.gid)) return {};
    const uid = privileged ? entry.uid : UNCHANGED;
    if ((uid > ID_MAX && privileged) || entry.gid > ID_MAX) {
      report("owner", "EINVAL");
      return {};
    }
    const result =
      place.kind === "open"
        ? this.#w.fchown(place.fd, uid, entry.gid)
        : place.kind === "path"
          ? this.#w.fchownat(place.fd, EMPTY.pointer, uid, entry.gid, AT_EMPTY_PATH)
          : this.#w.fchownat(place.directory, place.name.pointer, uid, entry.gid, AT_SYMLINK_NOFOLLOW);
    if (result < 0) {
      report("owner", this.#errno());
      return {};
    }
    return privileged ? { uid, gid: entry.gid } : { gid: entry.gid };
  }

  #chmod(place: Exclude<Place, { kind: "link" }>, mode: number): number {
    if (place.kind === "open") return this.#w.fchmod(place.fd, mode);
    return this.#w.chmod(this.#procPath(place.fd).pointer, mode);
  }

  #attributes(place: Place, entry: ReadEntry, report: MetadataReport): void {
    let failed = false;
    for (const { name, value } of entry.xattrs) {
      const text = Buffer.from(name).toString("latin1");
      if (!this.#options.privileged && PRIVILEGED_XATTRS.some((prefix) => text.startsWith(prefix))) continue;
      if (name.length > XATTR_NAME_BYTES_MAX) {
        if (!failed) report("attributes", "ERANGE");
        failed = true;
        continue;
      }
      this.#xattrName.bytes.set(name);
      this.#xattrName.bytes[name.length] = 0;
      if (this.#setXattr(place, this.#xattrName, value) >= 0 || failed) continue;
      // One sentence for an entry is enough, however many of its attributes are refused.
      report("attributes", this.#errno());
      failed = true;
    }
  }

  #acls(place: Place, entry: ReadEntry, report: MetadataReport): void {
    let problem = entry.aclUnreadable ? "EINVAL" : undefined;
    const set = (name: Scratch, entries: readonly AclEntry[] | undefined): void => {
      if (entries === undefined || entries.length === 0) return;
      const known = this.#numbered(entries);
      if (known.length < entries.length) problem = "ENOENT";
      if (this.#setXattr(place, name, aclValue(known)) < 0) problem = this.#errno();
    };
    set(ACL_ACCESS, entry.aclAccess);
    if (entry.type === "directory") set(ACL_DEFAULT, entry.aclDefault);
    if (problem !== undefined) report("acl", problem);
  }

  /** With numbers for names; who is not known here is left out. The kernel wants the entries sorted. */
  #numbered(entries: readonly AclEntry[]): AclEntry[] {
    const known: AclEntry[] = [];
    for (const entry of entries) {
      const { tag, id } = entry;
      const number =
        typeof id !== "string" ? id : tag === "user" ? this.#options.userId(id) : this.#options.groupId(id);
      if (typeof id !== "string" || number !== undefined) known.push({ ...entry, id: number });
    }
    const order = ["user-owner", "user", "group-owner", "group", "mask", "other"];
    return known.sort((a, b) => order.indexOf(a.tag) - order.indexOf(b.tag) || Number(a.id ?? 0) - Number(b.id ?? 0));
  }

  #setXattr(place: Place, name: Scratch, value: Uint8Array): number {
    // An empty view has no address to pass.
    const bytes = value.length === 0 ? EMPTY.bytes : value;
    if (place.kind === "open") return this.#w.fsetxattr(place.fd, name.pointer, bytes, value.length, 0);
    if (place.kind === "path") {
      return this.#w.setxattr(this.#procPath(place.fd).pointer, name.pointer, bytes, value.length, 0);
    }
    const path = this.#procPath(place.directory, place.name);
    return this.#w.lsetxattr(path.pointer, name.pointer, bytes, value.length, 0);
  }

  /** Leads to exactly what is open, whatever its name is by now. */
  #procPath(fd: number, name?: Scratch): Scratch {
    const path = this.#path.bytes;
    let at = new TextEncoder().encodeInto(`${PROC_DIRECTORY}/${fd}${name === undefined ? "" : "/"}`, path).written;
    const end = name === undefined ? 0 : name.bytes.indexOf(0);
    for (let i = 0; i < end; i += 1) path[at++] = name?.bytes[i] ?? 0;
    path[at] = 0;
    return this.#path;
  }

  #errno(): string {
    return errnoText(this.#w.c.errno());
  }
}
