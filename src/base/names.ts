/** Names of agents (= certificate CN), backup entries and storages. They become directories on the server. */

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export const NAME_RULE = "1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit";

/** True for a name of 1 to 64 of `[A-Za-z0-9._-]`, the first a letter or digit. */
export function isName(text: string): boolean {
  return NAME.test(text);
}
