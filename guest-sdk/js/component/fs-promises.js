/** `node:fs/promises` in a component. */
import { promises } from "./fs.js";

export const {
  access, appendFile, copyFile, lstat, mkdir, readFile, readdir, rename, rm, rmdir, stat, truncate, unlink, writeFile,
} = promises;
export default promises;
