/** From a header block, and what stood in front of it, to an entry. Knows nothing of the stream. */
import { type AclEntry, parseAclValue } from "./acl.ts";
import { SLASH } from "./bytes.ts";
import { FIELD, NAME_BYTES } from "./tar-format.ts";
import type { ReadEntry, ReadType, ReadXattr, TarLimits } from "./tar-reader-entry.ts";
import type { Extensions } from "./tar-reader-extensions.ts";
import { dialectOf, idNameField, nameField, numberField, textField } from "./tar-reader-fields.ts";
import type { PaxFields, PaxSparse } from "./tar-reader-pax.ts";
import { addOldHeader, ExtentList, oldRealSize } from "./tar-reader-sparse.ts";

/** `map`: it stands in front of the data. `old-map`: blocks with more of it follow. `known`: all of it was in the headers. */
export type SparseForm = "map" | "old-map" | "known";

type FromHeader = Omit<ReadEntry, "xattrs" | "aclAccess" | "aclDefault" | "aclUnreadable" | keyof Place>;

export interface Header extends FromHeader {
  /** Bytes in the stream behind the headers, a map in front of the data included. */
  readonly memberBytes: number;
  readonly sparseForm: SparseForm | undefined;
  /** Of a sparse file, as far as the headers told them. */
  readonly extents: ExtentList | undefined;
}

/** What the reader knows once all headers have been read. */
export interface Place {
  readonly headersAt: number;
  readonly dataAt: number;
  readonly headersMayBeLost: boolean;
  readonly storedBytes: number;
}

const TYPES: ReadonlyMap<number, ReadType> = new Map([
  [0x00, "file"],
  [0x30, "file"],
  [0x31, "hardlink"],
  [0x32, "symlink"],
  [0x33, "char"],
  [0x34, "block"],
  [0x35, "directory"],
  [0x36, "fifo"],
  // "Contiguous" files are files today.
  [0x37, "file"],
  // GNU's directory with a list of names as its data, of incremental archives.
  [0x44, "directory"],
  [0x53, "file"],
]);
const OLD_SPARSE = 0x53;
const DUMP_DIRECTORY = 0x44;
/** Ids that a program wrote as negative numbers are those of 32 bits. */
const ID_WRAP = 2 ** 32;

export interface HeaderContext {
  readonly extensions: Extensions;
  readonly pax: PaxFields;
  readonly limits: TarLimits;
}

/** What the block says; a phrase when it cannot be. Throws SparseProblem for a map that cannot be. */
export function readHeader(bytes: Uint8Array, at: number, context: HeaderContext): Header | string {
  const { extensions, pax, limits } = context;
  const dialect = dialectOf(bytes, at);
  const flag = bytes[at + FIELD.type] ?? 0;
  const path = pax.sparse?.name ?? pax.path ?? extensions.longName ?? nameField(bytes, at, dialect);
  const type = typeOf(flag, path);
  const isLink = type === "hardlink" || type === "symlink";
  const linkTarget = isLink
    ? (pax.linkPath ?? extensions.longLink ?? textField(bytes, at + FIELD.linkName, NAME_BYTES))
    : undefined;
  const problem = nameProblem(path, linkTarget, limits);
  if (problem !== undefined) return problem;
  const numbers = readNumbers(bytes, at, type, pax);
  if (typeof numbers === "string") return numbers;
  const memberBytes = carriesData(type, flag) ? numbers.memberBytes : 0;
  const sparse = type === "file" ? sparseOf(bytes, at, flag, context) : undefined;
  if (typeof sparse === "string") return sparse;
  const { mode, uid, gid, mtimeSeconds, mtimeNanos, deviceMajor, deviceMinor } = numbers;
  return {
    mode,
    uid,
    gid,
    mtimeSeconds,
    mtimeNanos,
    deviceMajor,
    deviceMinor,
    path,
    type: sparse?.form === "unknown" ? "unsupported" : type,
    linkTarget,
    userName: pax.userName ?? idNameField(bytes, at + FIELD.userName, dialect),
    groupName: pax.groupName ?? idNameField(bytes, at + FIELD.groupName, dialect),
    size: type === "file" ? (sparse?.realSize ?? memberBytes) : 0,
    sparse: sparse !== undefined,
    memberBytes,
    sparseForm: sparse === undefined || sparse.form === "unknown" ? undefined : sparse.form,
    extents: sparse?.form === "unknown" ? undefined : sparse?.extents,
  };
}

function nameProblem(path: Uint8Array, linkTarget: Uint8Array | undefined, limits: TarLimits): string | undefined {
  const { nameBytesMax } = limits;
  if (path.length === 0) return "an entry without a name";
  if (path.length > nameBytesMax) return `a name of more than ${nameBytesMax} bytes`;
  if (linkTarget?.length === 0) return "a link without a target";
  if (linkTarget !== undefined && linkTarget.length > nameBytesMax) {
    return `a link's target of more than ${nameBytesMax} bytes`;
  }
  return undefined;
}

type Numbers = Pick<
  Header,
  "memberBytes" | "mode" | "uid" | "gid" | "mtimeSeconds" | "mtimeNanos" | "deviceMajor" | "deviceMinor"
>;

function readNumbers(bytes: Uint8Array, at: number, type: ReadType, pax: PaxFields): Numbers | string {
  const memberBytes = pax.size ?? numberField(bytes, at + FIELD.size, 12);
  const mode = numberField(bytes, at + FIELD.mode, 8);
  const uid = pax.uid ?? numberField(bytes, at + FIELD.uid, 8);
  const gid = pax.gid ?? numberField(bytes, at + FIELD.gid, 8);
  const mtimeSeconds = pax.mtime?.seconds ?? numberField(bytes, at + FIELD.mtime, 12);
  const isDevice = type === "char" || type === "block";
  const deviceMajor = isDevice ? numberField(bytes, at + FIELD.deviceMajor, 8) : 0;
  const deviceMinor = isDevice ? numberField(bytes, at + FIELD.deviceMinor, 8) : 0;
  if (memberBytes === undefined || memberBytes < 0) return "an entry with an impossible size";
  if (mode === undefined || uid === undefined || gid === undefined) return "an entry with an impossible mode or owner";
  if (mtimeSeconds === undefined) return "an entry with an impossible time";
  if (deviceMajor === undefined || deviceMinor === undefined) return "a device with impossible numbers";
  return {
    memberBytes,
    mode: mode & 0o7777,
    uid: uid < 0 ? uid + ID_WRAP : uid,
    gid: gid < 0 ? gid + ID_WRAP : gid,
    mtimeSeconds,
    mtimeNanos: pax.mtime?.nanos ?? 0,
    deviceMajor,
    deviceMinor,
  };
}

/** V7 and BSD wrote directories as files with a slash at the end. */
function typeOf(flag: number, path: Uint8Array): ReadType {
  const type = TYPES.get(flag) ?? "unsupported";
  return type === "file" && flag !== OLD_SPARSE && path.at(-1) === SLASH ? "directory" : type;
}

/** Links, devices and directories have no data whatever size they claim: that is how GNU tar and Python read them. */
function carriesData(type: ReadType, flag: number): boolean {
  return type === "file" || type === "unsupported" || flag === DUMP_DIRECTORY;
}

interface FoundSparse {
  readonly form: SparseForm | "unknown";
  readonly realSize: number;
  readonly extents: ExtentList;
}

function sparseOf(
  bytes: Uint8Array,
  at: number,
  flag: number,
  { pax, limits }: HeaderContext,
): FoundSparse | string | undefined {
  if (flag === OLD_SPARSE) {
    const extents = new ExtentList(limits.extentsMax);
    const more = addOldHeader(extents, bytes, at);
    return { form: more ? "old-map" : "known", realSize: oldRealSize(bytes, at), extents };
  }
  if (pax.sparse === undefined) return undefined;
  return paxSparse(pax.sparse, new ExtentList(limits.extentsMax));
}

function paxSparse(sparse: PaxSparse, extents: ExtentList): FoundSparse | string | undefined {
  const { major, minor, realSize, numbers } = sparse;
  if (realSize === undefined) {
    const isSparse = major !== undefined || numbers.length > 0;
    return isSparse ? "a sparse file without its size" : undefined;
  }
  const version = `${major ?? 0}.${minor ?? 0}`;
  if (version === "1.0") return { form: "map", realSize, extents };
  if (version !== "0.0" && version !== "0.1") return { form: "unknown", realSize, extents };
  if (numbers.length % 2 !== 0) return "the map of a sparse file ends in the middle of a stretch";
  for (let i = 0; i < numbers.length; i += 2) extents.add(numbers[i] ?? 0, numbers[i + 1] ?? 0);
  return { form: "known", realSize, extents };
}

export function makeEntry(header: Header, pax: PaxFields, place: Place): ReadEntry {
  const aclAccess = pax.aclAccess ?? kernelAcl(pax.aclAccessValue);
  const aclDefault = pax.aclDefault ?? kernelAcl(pax.aclDefaultValue);
  const lost = (acl: unknown, value: unknown): boolean => acl === undefined && value !== undefined;
  const { path, type, linkTarget, mode, uid, gid, userName, groupName, size, sparse } = header;
  const { mtimeSeconds, mtimeNanos, deviceMajor, deviceMinor } = header;
  return {
    path,
    type,
    linkTarget,
    mode,
    uid,
    gid,
    userName,
    groupName,
    size,
    storedBytes: place.storedBytes,
    sparse,
    mtimeSeconds,
    mtimeNanos,
    deviceMajor,
    deviceMinor,
    xattrs: pax.xattrs === undefined ? NO_XATTRS : namedXattrs(pax.xattrs),
    aclAccess,
    aclDefault,
    aclUnreadable:
      pax.aclUnreadable === true || lost(aclAccess, pax.aclAccessValue) || lost(aclDefault, pax.aclDefaultValue),
    headersAt: place.headersAt,
    dataAt: place.dataAt,
    headersMayBeLost: place.headersMayBeLost,
  };
}

const NO_XATTRS: readonly ReadXattr[] = [];

function namedXattrs(xattrs: ReadonlyMap<string, Uint8Array>): readonly ReadXattr[] {
  return [...xattrs].map(([name, value]) => ({ name: Buffer.from(name, "latin1"), value }));
}

function kernelAcl(value: Uint8Array | undefined): readonly AclEntry[] | undefined {
  return value === undefined ? undefined : parseAclValue(value);
}
