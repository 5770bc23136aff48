/** What the author of a task can mend: it is shown without a stack. */
export class BuildError extends Error {}
