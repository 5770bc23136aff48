//! Loads a running server over plain HTTP, and tells how many answers a second it gives:
//! `load ADDRESS CONNECTIONS SECONDS KEY TEXT_BYTES`.

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

type Fails<T> = Result<T, Box<dyn Error>>;

fn main() -> Fails<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or(default.to_owned());
    let address = next("127.0.0.1:80");
    let connections: usize = next("64").parse()?;
    let time = Duration::from_secs(next("5").parse()?);
    let (key, size) = (next("test-key"), next("200").parse()?);
    let body = format!(r#"{{"input":"{}","model":"m"}}"#, "t".repeat(size));
    let length = body.len();
    let request: Rc<str> = format!(
        "POST /v1/embeddings HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into();

    let answers = Rc::new(Cell::new(0u64));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let begun = Instant::now();
    LocalSet::new().block_on(&runtime, async {
        for _ in 0..connections {
            let client = client(address.clone(), request.clone(), answers.clone());
            tokio::task::spawn_local(async {
                if let Err(error) = client.await {
                    eprintln!("{error}");
                }
            });
        }
        tokio::time::sleep(time).await;
    });
    let rate = answers.get() as f64 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} answers/s on {connections} connections");
    Ok(())
}

/// Asks one thing again and again.
async fn client(address: String, request: Rc<str>, answers: Rc<Cell<u64>>) -> Fails<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 1 << 20];
    // All answers are equally long: the first one tells how long.
    let mut whole = usize::MAX;
    loop {
        stream.write_all(request.as_bytes()).await?;
        let mut have = 0;
        while have < whole {
            match stream.read(&mut buffer[have..]).await? {
                0 => return Err("the server hung up".into()),
                more => have += more,
            }
            if whole == usize::MAX {
                whole = length(&buffer[..have])?.unwrap_or(whole);
            }
        }
        answers.set(answers.get() + 1);
    }
}

/// The length of an answer, once its head is there.
fn length(bytes: &[u8]) -> Fails<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end])?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(head.into());
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    Ok(Some(end + 4 + length.ok_or("no content-length")?.parse::<usize>()?))
}
