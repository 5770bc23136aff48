//! The program `tigerflow-host`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tigerflow_host::cli::main()
}
