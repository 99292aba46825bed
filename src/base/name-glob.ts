/** Globs of names: `*` is any run of characters, `?` one; everything else is itself. Names have no slashes, so there is nothing more to it. Pure. */

/** Linear in name × number of stars: on a mismatch only the last star takes one character more. */
export function globMatches(glob: string, name: string): boolean {
  let g = 0;
  let n = 0;
  let starAt = -1;
  let starTakes = 0;
  while (n < name.length) {
    if (glob[g] === "*") {
      starAt = g;
      starTakes = n;
      g += 1;
    } else if (g < glob.length && (glob[g] === "?" || glob[g] === name[n])) {
      g += 1;
      n += 1;
    } else if (starAt >= 0) {
      starTakes += 1;
      g = starAt + 1;
      n = starTakes;
    } else {
      return false;
    }
  }
  while (glob[g] === "*") g += 1;
  return g === glob.length;
}
