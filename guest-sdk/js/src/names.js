/** Names as the command line writes them. */

const KEBAB = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/;

/** `minLength` and `min_length` as `min-length`. */
export function kebab(name) {
  return name
    .replace(/_/g, "-")
    .replace(/([a-z0-9])([A-Z])/g, "$1-$2")
    .toLowerCase();
}

export function isKebab(name) {
  return KEBAB.test(name);
}
