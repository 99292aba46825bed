/** Text as a value or key of a YAML file that this program writes. */

const PLAIN = /^[A-Za-z/](?:[A-Za-z0-9/._:-]*[A-Za-z0-9/])?$/;
/** Words that YAML takes for something else. */
const OTHER = /^(?:true|false|null|yes|no|on|off|y|n)$/i;

/** As it stands where YAML takes it for nothing else; else in quotes, as JSON, which YAML reads alike. */
export function text(value: string): string {
  return PLAIN.test(value) && !OTHER.test(value) ? value : JSON.stringify(value);
}
