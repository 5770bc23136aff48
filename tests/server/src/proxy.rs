//! A forward proxy: tunnels by CONNECT, and plain requests for whole URLs.
//!
//! It needs no resolver: the server's names, whatever their port, lead to the
//! server itself, and local addresses to their port. All else is a 502.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::PROXY_AUTHORIZATION;
use hyper::{Request, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;

use crate::serve::{self, Shared};

/// The longest head of a CONNECT.
const LONGEST_HEAD: usize = 16 << 10;

/// Where a tunnel leads.
enum Way {
    /// To this server, with TLS.
    Secure,
    /// To this server, without.
    Plain,
    /// To this port of this machine.
    Port(u16),
    /// Nowhere.
    Unknown,
}

/// One connection to the proxy, to its end.
pub async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let mut first = [0];
    match stream.peek(&mut first).await {
        // No other method of those that clients use begins so.
        Ok(1..) if first == *b"C" => drop(tunnel(stream, shared).await),
        Ok(1..) => serve::plain(stream, true, shared).await,
        _ => {}
    }
}

/// Whether a request on the proxy's port is for this server. Notes a use of the
/// proxy, if it is not one of those in a tunnel, which are noted already.
pub fn leads_here(request: &Request<Bytes>, shared: &Shared) -> bool {
    let uri = request.uri();
    if uri.host().is_none() || request.version() > Version::HTTP_11 {
        return true;
    }
    let authorization = request.headers().get(PROXY_AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok()).map(str::to_owned);
    shared.log.proxied(uri.to_string(), authorization);
    let host = uri.host().unwrap_or_default();
    match way(host, uri.port_u16().unwrap_or(80), shared) {
        Way::Plain => true,
        Way::Secure => named(host, shared),
        Way::Port(_) | Way::Unknown => false,
    }
}

async fn tunnel(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // A client says nothing after its head until it is answered.
        if head.len() > LONGEST_HEAD || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.lines();
    let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let authorization = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization"))
        .map(|(_, value)| value.trim().to_owned());
    shared.log.proxied(target.to_owned(), authorization);

    let (host, port) = target.rsplit_once(':').unwrap_or((target, ""));
    let way = way(host.trim_matches(['[', ']']), port.parse().unwrap_or(0), &shared);
    let far = match way {
        Way::Port(port) => TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.map(Some),
        Way::Secure | Way::Plain => Ok(None),
        Way::Unknown => Err(io::ErrorKind::HostUnreachable.into()),
    };
    let Ok(far) = far else {
        let refusal = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return stream.write_all(refusal).await;
    };
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    match (way, far) {
        (_, Some(mut far)) => drop(copy_bidirectional(&mut stream, &mut far).await),
        (Way::Plain, None) => serve::plain(stream, true, shared).await,
        (_, None) => serve::secure(stream, true, shared).await,
    }
    Ok(())
}

fn way(host: &str, port: u16, shared: &Shared) -> Way {
    let ports = &shared.ports;
    if named(host, shared) {
        return if port == ports.http.port() { Way::Plain } else { Way::Secure };
    }
    let local = host.eq_ignore_ascii_case("localhost")
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match port {
        0 => Way::Unknown,
        _ if !local => Way::Unknown,
        port if port == ports.https.port() => Way::Secure,
        port if port == ports.http.port() => Way::Plain,
        port => Way::Port(port),
    }
}

fn named(host: &str, shared: &Shared) -> bool {
    shared.names.iter().any(|name| name.eq_ignore_ascii_case(host))
}
