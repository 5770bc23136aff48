/** The host's side in a component. */
export { log, progress } from "tigerflow:task/report@0.1.0";
