/**
 * The part of the torture tree that holds extended attributes, access control lists, capabilities and labels, made with the system's own
 * tools. What only root may set is left out for others.
 */
import fs from "node:fs";
import path from "node:path";
import { KiB } from "#base/units.ts";
import { isRoot, patternBytes, run } from "#test/support/tree.ts";

/** Tools without which the part cannot be made or looked at. */
const TOOLS = ["setfattr", "getfattr", "setfacl", "getfacl"];

/** Why the part cannot be made in `directory`; undefined when it can. */
export function attributesProblem(directory: string): string | undefined {
  const missing = TOOLS.filter((tool) => Bun.which(tool) === null);
  if (missing.length > 0) return `not installed: ${missing.join(", ")}`;
  const file = path.join(directory, ".attributes-probe");
  fs.writeFileSync(file, "");
  try {
    run("setfattr", ["-n", "user.probe", "-v", "1", file]);
    run("setfacl", ["-m", "u:4242:r", file]);
    return undefined;
  } catch (error) {
    return `the filesystem of ${directory} takes none: ${String(error).trim()}`;
  } finally {
    fs.rmSync(file);
  }
}

/** `name` and `value` as latin1 text, one character per byte. */
export function setXattr(file: string, name: string, value: string): void {
  run("setfattr", ["-h", "-n", name, "-v", `0x${Buffer.from(value, "latin1").toString("hex")}`, file]);
}

const binary = Buffer.from(Uint8Array.from({ length: 256 }, (_, i) => i)).toString("latin1");

/** Names that need care in a pax record. */
const NAMES = [
  "user.plain",
  "user.with=equals",
  "user.per%cent",
  "user.%3D%25",
  "user.\u00e9",
  "user.new\nline",
  "user. ",
];

/** Makes the directory `attributes` in `directory`. */
export function makeAttributes(directory: string): void {
  const at = (name: string): string => path.join(directory, "attributes", name);
  fs.mkdirSync(at("sub"), { recursive: true });
  for (const name of ["many", "values", "empty file", "acl", "acl big", "linked"]) fs.writeFileSync(at(name), name);
  fs.writeFileSync(at("empty file"), "");
  fs.writeFileSync(at("large"), patternBytes(700_000));
  for (const [i, name] of NAMES.entries()) setXattr(at("many"), name, `value ${i}`);
  setXattr(at("values"), "user.binary", binary);
  setXattr(at("values"), "user.empty", "");
  setXattr(at("values"), "user.long", "x".repeat(3 * KiB));
  for (const name of ["empty file", "large", "sub", "linked"]) setXattr(at(name), "user.of", name);
  fs.linkSync(at("linked"), at("sub/hard link"));

  run("setfacl", ["-m", "u:4242:rwx,u:0:r,g:4243:r-x,m:rw", at("acl")]);
  const many = Array.from({ length: 20 }, (_, i) => `u:${5000 + i}:r`).join(",");
  run("setfacl", ["-m", many, at("acl big")]);
  run("setfacl", ["-m", "g:4243:wx", at("sub")]);
  run("setfacl", ["-d", "-m", "u:4242:rwx,g:4294967294:x", at("sub")]);
  fs.chmodSync(at("acl"), 0o640);
  if (isRoot) makeRootAttributes(at);
}

function makeRootAttributes(at: (name: string) => string): void {
  fs.symlinkSync("nowhere", at("link"));
  run("mkfifo", [at("fifo")]);
  run("mknod", [at("device"), "c", "1", "3"]);
  for (const name of ["link", "fifo", "device", "large", "sub"]) setXattr(at(name), "trusted.of", `${name}\0`);
  setXattr(at("values"), "security.selinux", "system_u:object_r:etc_t:s0\0");
  fs.writeFileSync(at("ping"), "a program");
  fs.chmodSync(at("ping"), 0o755);
  // Owned by somebody else: giving a file away takes its capabilities, so they must be set after that.
  run("chown", ["1:1", at("ping")]);
  // cap_net_raw, permitted and effective, in the kernel's second version.
  setXattr(at("ping"), "security.capability", "\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
}
