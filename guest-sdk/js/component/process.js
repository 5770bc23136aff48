/** `node:process` in a component. */
const { process } = globalThis;

export const { argv, cwd, exit, nextTick, platform, stderr, stdout, versions } = process;
export default process;
