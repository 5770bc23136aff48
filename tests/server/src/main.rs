//! The server as a program, for the benchmark: counts requests, keeps none.

use std::error::Error;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use serde_json::json;
use tigerflow_test_server::{Builder, Faults, TestServer};

const USAGE: &str = "\
Usage: tigerflow-test-server [OPTIONS]

Serves until its stdin is closed. Prints a line of JSON with its URLs when it is
ready, and one with its counts at the end.

Options:
  --delay-ms N       Time that an answer of /v1/embeddings takes [default: 0]
  --dimension N      Numbers of an embedding [default: 8]
  --threads N        Threads [default: 1]
  --key KEY          The API key [default: test-key]
  --ca-file PATH     Where to write the CA's certificate [default: a temporary file]
  --name NAME        One more name for the certificate; may be repeated
  --http1            Does not offer HTTP/2
  --fail-share X     The share of requests for embeddings that fail [default: 0]
  --seed N           Which of them fail [default: 1]
  --retry-after N    Seconds that a 429 asks for [default: 1]
  --help             This text";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let builder = match builder(arguments) {
        Ok(builder) => builder,
        Err(message) => {
            eprintln!("{message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(builder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn builder(arguments: Vec<String>) -> Result<Builder, String> {
    let mut builder = TestServer::builder().keep_log(false);
    let mut faults = Faults::default();
    let mut arguments = arguments.into_iter();
    while let Some(option) = arguments.next() {
        if option == "--http1" {
            builder = builder.http2(false);
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("`{option}` needs a value"))?;
        builder = match option.as_str() {
            "--delay-ms" => builder.delay(Duration::from_millis(number(&option, &value)?)),
            "--dimension" => builder.dimension(number(&option, &value)?),
            "--threads" => builder.threads(number(&option, &value)?),
            "--key" => builder.key(value),
            "--ca-file" => builder.ca_file(value),
            "--name" => builder.names(&[&value]),
            "--fail-share" => {
                faults.share = number(&option, &value)?;
                builder
            }
            "--seed" => {
                faults.seed = number(&option, &value)?;
                builder
            }
            "--retry-after" => {
                faults.retry_after = Duration::from_secs(number(&option, &value)?);
                builder
            }
            _ => return Err(format!("`{option}` is not an option")),
        };
    }
    Ok(builder.faults(faults))
}

fn number<T: FromStr>(option: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("`{option} {value}`: not a number that it can be"))
}

fn run(builder: Builder) -> Result<(), Box<dyn Error>> {
    let server = builder.try_start()?;
    let ready = json!({
        "http": server.http_url(),
        "https": server.https_url(),
        "proxy": server.proxy_url(),
        "ca_file": server.ca_file(),
    });
    let mut stdout = io::stdout();
    writeln!(stdout, "{ready}")?;
    stdout.flush()?;

    io::stdin().lock().read_to_end(&mut Vec::new())?;
    let counts = server.counts();
    let counts = json!({
        "requests": counts.requests,
        "answered": counts.answered,
        "connections": counts.connections,
        "peak_in_flight": counts.peak_in_flight,
        "failed_handshakes": counts.failed_handshakes,
    });
    // Who closed stdin may not read any more.
    let _ = writeln!(stdout, "{counts}");
    Ok(())
}
