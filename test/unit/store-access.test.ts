import { expect, test } from "bun:test";
import { Failure, toFailure } from "#base/errors.ts";
import { dropInPath } from "#bin/setup-system.ts";
import { unusable } from "#store/storage-access.ts";

function hintOf(error: unknown): string {
  try {
    return unusable("storage main: /srv/nbackup cannot be used")(error);
  } catch (thrown) {
    const failure = toFailure(thrown);
    expect(failure.code).toBe("E_STORAGE_FAILED");
    return failure.hint;
  }
}

const errno = (code: string): Error => Object.assign(new Error(code), { code });

test("a storage that cannot be written says how the service is let write there", () => {
  expect(hintOf(errno("EROFS"))).toContain(dropInPath("/etc/systemd/system"));
  expect(hintOf(errno("EROFS"))).toContain("nbackup-server setup");
  expect(hintOf(errno("EACCES"))).toContain("own the directory");
  expect(hintOf(errno("EIO"))).toBe(new Failure("E_STORAGE_FAILED", "").hint);
});
