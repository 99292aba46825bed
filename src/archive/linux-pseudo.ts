/** Filesystems that are windows into the kernel: they hold nothing to back up, and some of their files block or never end. */

/** f_type of statfs. Neither tmpfs (which also is /dev) nor network or FUSE filesystems count: they hold files of people. */
const PSEUDO_MAGICS: ReadonlySet<number> = new Set([
  0x9fa0, // proc
  0x62656572, // sysfs
  0x27e0eb, // cgroup
  0x63677270, // cgroup2
  0x7655821, // resctrl
  0x1cd1, // devpts
  0x64626720, // debugfs
  0x74726163, // tracefs
  0x73636673, // securityfs
  0x6165676c, // pstore
  0xcafe4a11, // bpf
  0x62656570, // configfs
  0x19800202, // mqueue
  0x958458f6, // hugetlbfs
  0x42494e4d, // binfmt_misc
  0xde5e81e4, // efivarfs
  0xf97cff8c, // selinuxfs
  0x43415d53, // smackfs
  0x5a3c69f0, // apparmorfs
  0x65735543, // fusectl
  0x6e736673, // nsfs
  0x67596969, // rpc_pipefs
  0x6e667364, // nfsd
]);

/** True for the `f_type` (32 bits, unsigned) of a pseudo-filesystem. */
export function isPseudoMagic(magic: number): boolean {
  return PSEUDO_MAGICS.has(magic);
}
