//! `cargo xtask`: everything that is done with this repository besides editing it.
//!
//! One module a command. All of them run other programs; none of them needs anything on the machine
//! that `cargo xtask setup` does not install or name.

mod bench;
mod build;
mod ci;
mod demo;
mod instructions;
mod process;
mod projects;
mod repo;
mod setup;
mod test;
mod toolchain;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
Set-up, builds, tests, demo and benchmark of tigerflow-host

Usage: cargo xtask COMMAND

Start here:
  demo                  Build everything, run a task on real texts, show the results
  test [FILTER]...      Set up, build, and run every test whose name contains a FILTER (all by default)

Commands:
  setup [WHAT]...       Install what tasks are built with: rust (default), python, go, js, c, all.
                        Goes to .tools/ in this checkout; a second time it only checks.
                        slurm: the Slurm that tests start clusters of, by apt-get if we are root;
                        valgrind: what counts instructions, likewise
  build [NAME]...       The host to target/release/tigerflow-host, each plugin (or just the plugins
                        NAME) to target/components/NAME.wasm
        --guests          the components that tests use, too: target/components/guests/NAME.wasm,
                          and one for each language: target/components/conformance/LANGUAGE.wasm
  ci                    What CI runs: format, clippy with warnings denied, `instructions`, then `test`
  instructions          Count what a file costs, in instructions and system calls, and compare that with
                        xtask/bench/instructions.json; more than 3 % more is an error
        --update          write the counts there instead
  bench [--quick]       Measure the host beside native code, TigerFlow and others: half an hour; the report goes to
                        xtask/bench/report/. --quick: two minutes, less of it, to target/bench/report/
        --only SECTION    one section of: native, small, stream, cpu, disk, tigerflow, pipeline, shell, start,
                          memory, scan, python, languages, waiting, in-flight, embed, slurm, simulate
                          (repeatable)
  env                   Shell lines for building guests by hand: eval \"$(cargo xtask env)\"
  help                  This text

Environment:
  TIGERFLOW_WASM_TOOLCHAIN=debian   Do not ask rustup for the wasm targets: make a toolchain from
                                    Debian's packages in .tools/rust (about 2 minutes, 0.6 GB)
  TIGERFLOW_REQUIRE_SLURM=1         Tests on real Slurm clusters fail where there is no Slurm, instead of
                                    being skipped
";

fn main() -> ExitCode {
    // The words of this command line are all ours, so text that is not UTF-8 is a usage error.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            process::end_line();
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode> {
    let Some((command, rest)) = arguments.split_first() else {
        print!("{HELP}");
        return Ok(ExitCode::from(2));
    };
    if rest.iter().any(|word| word == "--help" || word == "-h") {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    match command.as_str() {
        "setup" => setup::command(rest)?,
        "build" => build::command(rest)?,
        "demo" => demo::command(rest)?,
        "test" => return test::command(rest),
        "ci" => return ci::command(rest),
        "instructions" => return instructions::command(rest),
        "bench" => bench::command(rest)?,
        "env" => toolchain::print_environment()?,
        // Hidden: `bench` starts these in processes of their own, to measure them.
        "__native-upper" => bench::native::child(rest)?,
        "__native-words" => bench::languages::child(rest)?,
        "help" | "--help" | "-h" => print!("{HELP}"),
        other => {
            bail!("`{other}` is not a command of `cargo xtask`; `cargo xtask help` lists them")
        }
    }
    Ok(ExitCode::SUCCESS)
}
