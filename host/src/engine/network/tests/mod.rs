//! The client against real servers, as the hook uses it.

mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Frame;
use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use self::server::{Authority, Server, answer, parts, speak};
use super::{Limits, Network, client};

/// A network with these rules, and limits that a test can wait for.
fn network(rules: &[String]) -> Network {
    let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    let limits = Limits {
        connect: Duration::from_secs(5),
        request_timeout: Duration::from_secs(5),
        response_limit: 1 << 20,
    };
    let network = Network::new(rules, limits, Arc::default());
    // Not those of whoever runs the tests.
    let _ = network.proxies.set(Ok(Matcher::builder().build()));
    network
}

fn granted(server: &Server) -> Network {
    network(&[server.address.to_string()])
}

fn empty() -> WasiBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

async fn send(network: &Arc<Network>, request: Request<WasiBody>) -> Result<Reply, Error> {
    client::send(network, request, None).await
}

type Reply = Response<WasiBody>;

async fn get(network: &Arc<Network>, url: &str) -> Result<Reply, Error> {
    send(network, Request::get(url).body(empty()).unwrap()).await
}

async fn get_with(
    network: &Arc<Network>,
    url: &str,
    options: RequestOptions,
) -> Result<Reply, Error> {
    client::send(network, Request::get(url).body(empty()).unwrap(), Some(options)).await
}

async fn text(reply: Reply) -> Result<String, Error> {
    let bytes = reply.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn url(server: &Server) -> String {
    format!("http://{}/", server.address)
}

/// What was told so far: as many lines.
fn told(network: &Network) -> usize {
    network.notices.count()
}

#[tokio::test]
async fn what_is_not_granted_is_not_connected_to_and_told_once() {
    let server = Server::http(|_| async { answer("hello") });
    let network = Arc::new(network(&[]));
    for _ in 0..3 {
        let error = get(&network, &url(&server)).await.unwrap_err();
        assert!(matches!(error, Error::HttpRequestDenied), "{error}");
    }
    assert_eq!((server.connections(), told(&network)), (0, 1));
}

#[tokio::test]
async fn a_granted_host_answers_and_its_connection_is_kept() {
    let server = Server::http(|request| async move {
        let header = |name| request.headers()[name].to_str().unwrap().to_owned();
        answer(format!("{} {} {}", request.uri(), header("host"), header("user-agent")))
    });
    let network = Arc::new(granted(&server));
    for _ in 0..20 {
        let reply = get(&network, &format!("http://{}/a?b=c", server.address)).await.unwrap();
        let agent = concat!("tigerflow-host/", env!("CARGO_PKG_VERSION"));
        assert_eq!(text(reply).await.unwrap(), format!("/a?b=c {} {agent}", server.address));
    }
    assert_eq!((server.connections(), told(&network)), (1, 0));
}

#[tokio::test]
async fn headers_are_the_guests_own() {
    let server = Server::http(|request| async move {
        let mut names: Vec<_> = request.headers().keys().map(|n| n.as_str().to_owned()).collect();
        names.sort();
        let agent = request.headers()["user-agent"].to_str().unwrap();
        answer(format!("{} {agent}", names.join(" ")))
    });
    let network = Arc::new(granted(&server));
    let request = Request::get(url(&server)).header("user-agent", "me").body(empty()).unwrap();
    let reply = send(&network, request).await.unwrap();
    assert_eq!(text(reply).await.unwrap(), "host user-agent me");
}

#[tokio::test]
async fn redirects_are_the_guests_own_business() {
    let server = Server::http(|_| async {
        let mut answer = answer("");
        *answer.status_mut() = StatusCode::FOUND;
        answer.headers_mut().insert("location", "http://169.254.169.254/".parse().unwrap());
        answer
    });
    let reply = get(&Arc::new(granted(&server)), &url(&server)).await.unwrap();
    assert_eq!(reply.status(), StatusCode::FOUND);
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused() {
    let server = Server::http(|_| async { answer("secret") });
    let port = server.address.port();
    let with = |rules: &[String]| {
        let mut network = network(rules);
        network.names.insert("rebind.test".into(), vec!["127.0.0.1".parse().unwrap()]);
        Arc::new(network)
    };
    let name = format!("rebind.test:{port}");
    let refusing = with(std::slice::from_ref(&name));
    let error = get(&refusing, &format!("http://{name}/")).await.unwrap_err();
    assert!(matches!(error, Error::DestinationIpProhibited), "{error}");
    assert_eq!((server.connections(), told(&refusing)), (0, 1));

    let granting = with(&[name.clone(), server.address.to_string()]);
    let reply = get(&granting, &format!("http://{name}/")).await.unwrap();
    assert_eq!(text(reply).await.unwrap(), "secret");
}

#[tokio::test]
async fn localhost_resolves() {
    let server = Server::http(|_| async { answer("here") });
    let name = format!("localhost:{}", server.address.port());
    let network = Arc::new(network(std::slice::from_ref(&name)));
    let reply = get(&network, &format!("http://{name}/")).await.unwrap();
    assert_eq!(text(reply).await.unwrap(), "here");
}

#[tokio::test]
async fn a_name_that_is_none_does_not_resolve() {
    let network = Arc::new(network(&["no-such-host.invalid".into()]));
    let error = get(&network, "http://no-such-host.invalid/").await.unwrap_err();
    let Error::DnsError { rcode: Some(text), .. } = &error else { panic!("{error}") };
    assert!(text.contains("`no-such-host.invalid` does not resolve"), "{text}");
}

#[tokio::test]
async fn nobody_listens() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let network = Arc::new(network(&[free.to_string()]));
    let error = get(&network, &format!("http://{free}/")).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionRefused), "{error}");
}

#[tokio::test]
async fn a_response_may_be_so_large_and_no_larger() {
    let sized = Server::http(|request| async move {
        answer(vec![b'x'; request.uri().path()[1..].parse().unwrap()])
    });
    let endless = Server::http(|_| async {
        parts(futures_util::stream::repeat_with(|| Bytes::from(vec![b'x'; 10_000])))
    });
    let network = Arc::new(network(&[sized.address.to_string(), endless.address.to_string()]));
    let limit = 1 << 20;
    let reply = get(&network, &format!("{}{limit}", url(&sized))).await.unwrap();
    assert_eq!(text(reply).await.unwrap().len(), limit);
    for url in [format!("{}{}", url(&sized), limit + 1), url(&endless)] {
        let reply = get(&network, &url).await.unwrap();
        let error = text(reply).await.unwrap_err();
        assert!(matches!(error, Error::HttpResponseBodySize(Some(1_048_576))), "{error}");
    }
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_given_up() {
    let silent = Server::http(|_| std::future::pending());
    let stuck = Server::http(|_| async {
        let first = futures_util::stream::once(async { Bytes::from("begin") });
        parts(first.chain(futures_util::stream::pending()))
    });
    let mut network = network(&[silent.address.to_string(), stuck.address.to_string()]);
    network.limits.request_timeout = Duration::from_millis(300);
    let network = Arc::new(network);
    // The guest's own limits hold where they are smaller.
    for (asked, least, most) in
        [(None, 300, 2_000), (Some(100), 100, 290), (Some(60_000), 300, 2_000)]
    {
        let asked = asked.map(Duration::from_millis);
        let options = RequestOptions {
            connect_timeout: None,
            first_byte_timeout: asked,
            between_bytes_timeout: asked,
        };
        let in_time = |since: Instant| {
            let took = since.elapsed().as_millis();
            assert!((least..most).contains(&took), "{asked:?}: {took} ms");
        };
        let since = Instant::now();
        let error = get_with(&network, &url(&silent), options).await.unwrap_err();
        assert!(matches!(error, Error::ConnectionReadTimeout), "{error}");
        in_time(since);

        let since = Instant::now();
        let reply = get_with(&network, &url(&stuck), options).await.unwrap();
        let error = text(reply).await.unwrap_err();
        assert!(matches!(error, Error::ConnectionReadTimeout), "{error}");
        in_time(since);
    }
}

#[tokio::test]
async fn a_connection_that_takes_too_long_is_given_up() {
    // It accepts, and then says nothing of TLS.
    let server = Server::raw(|stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    });
    let mut network = granted(&server);
    network.tls.set(Ok(Authority::new().client())).unwrap();
    network.limits.connect = Duration::from_millis(200);
    let network = Arc::new(network);
    let url = format!("https://{}/", server.address);
    let error = get(&network, &url).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionTimeout), "{error}");
}

#[tokio::test]
async fn there_are_so_many_connections_and_no_more() {
    let server = Server::http(|_| std::future::pending());
    let mut network = granted(&server);
    network.connections.set(Arc::new(tokio::sync::Semaphore::new(2))).unwrap();
    network.limits.connect = Duration::from_millis(200);
    network.limits.request_timeout = Duration::from_secs(1);
    let network = Arc::new(network);
    let url = url(&server);
    let requests = (0..3).map(|_| get(&network, &url));
    let errors: Vec<_> = futures_util::future::join_all(requests)
        .await
        .into_iter()
        .map(Result::unwrap_err)
        .collect();
    let full = |error: &&Error| matches!(error, Error::ConnectionLimitReached);
    assert_eq!(errors.iter().filter(full).count(), 1, "{errors:?}");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_guest_that_keeps_its_thread_busy_loses_no_response() {
    let server = Server::http(|request| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer(request.uri().path().to_owned())
    });
    let mut network = granted(&server);
    network.limits.request_timeout = Duration::from_millis(200);
    let network = Arc::new(network);
    let url = url(&server);
    let asked = tokio::spawn({
        let network = Arc::clone(&network);
        async move { text(get(&network, &url).await?).await }
    });
    // Long enough for the request to go out, and then longer than the limit.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(asked.await.unwrap().unwrap(), "/");
}

#[tokio::test]
async fn a_connection_that_is_cut_is_told_as_such() {
    for (said, began) in [
        ("", false),
        ("HTTP/1.1 200 OK\r\ncontent-le", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", true),
    ] {
        let server = Server::raw(move |mut stream| async move {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(said.as_bytes()).await;
        });
        let network = Arc::new(granted(&server));
        let reply = get(&network, &url(&server)).await;
        if began {
            let error = text(reply.unwrap()).await.unwrap_err();
            assert!(matches!(error, Error::HttpResponseIncomplete), "{said}: {error}");
        } else {
            let error = reply.unwrap_err();
            assert!(matches!(error, Error::ConnectionTerminated), "{said}: {error}");
        }
        assert_eq!(server.connections(), 1, "{said}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_told_as_such() {
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    for (said, code) in [("SSH-2.0-OpenSSH\r\n\r\n".to_owned(), "protocol"), (large, "header")] {
        let server = Server::raw(move |mut stream| {
            let said = said.clone();
            async move {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(said.as_bytes()).await;
                let _ = stream.read(&mut request).await;
            }
        });
        let error = get(&Arc::new(granted(&server)), &url(&server)).await.unwrap_err();
        match code {
            "protocol" => assert!(matches!(error, Error::HttpProtocolError), "{error}"),
            _ => assert!(matches!(error, Error::HttpResponseHeaderSectionSize(_)), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_pooled_connection_that_was_closed_is_replaced() {
    // One answer a connection, and then it is closed without a word.
    let server = Server::raw(|mut stream| async move {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    });
    let network = Arc::new(granted(&server));
    for _ in 0..10 {
        let request = Request::post(url(&server)).body(empty()).unwrap();
        let reply = send(&network, request).await.unwrap();
        assert_eq!(text(reply).await.unwrap(), "ok");
        // A guest computes: the runtime does not see how the server hangs up.
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.connections(), 10);
}

#[tokio::test]
async fn a_request_is_never_sent_twice() {
    // Each request is read in full, then the connection is cut; the first is
    // answered, so that the second finds a pooled connection.
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let server = Server::raw(move |mut stream| {
        let counted = Arc::clone(&counted);
        async move {
            let mut request = [0; 1024];
            while stream.read(&mut request).await.is_ok_and(|n| n > 0) {
                if counted.fetch_add(1, Ordering::SeqCst) > 0 {
                    return;
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        }
    });
    let network = Arc::new(granted(&server));
    let post = || Request::post(url(&server)).body(empty()).unwrap();
    text(send(&network, post()).await.unwrap()).await.unwrap();
    let error = send(&network, post()).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionTerminated), "{error}");
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn request_bodies_stream() {
    let (saw, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::http(move |request| {
        let saw = saw.clone();
        async move {
            let mut body = request.into_body();
            let mut length = 0;
            while let Some(Ok(frame)) = body.frame().await {
                let part = frame.into_data().unwrap_or_default();
                length += part.len();
                saw.send(part).unwrap();
            }
            answer(length.to_string())
        }
    });
    let mut network = granted(&server);
    // The guest takes longer than this: its own matter.
    network.limits.request_timeout = Duration::from_millis(200);
    let network = Arc::new(network);
    let (write, parts) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
    let parts = futures_util::stream::unfold(parts, |mut parts| async {
        parts.recv().await.map(|part| (Ok(Frame::data(part)), parts))
    });
    let body = StreamBody::new(parts).boxed_unsync();
    let request = Request::post(url(&server)).body(body).unwrap();
    let sent = tokio::spawn(async move { text(send(&network, request).await?).await });
    for part in ["first", "second"] {
        write.send(part.into()).unwrap();
        assert_eq!(seen.recv().await.unwrap(), part);
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    drop(write);
    assert_eq!(sent.await.unwrap().unwrap(), "11");
}

#[tokio::test]
async fn a_body_that_breaks_is_the_guests_error() {
    let server = Server::http(|request| async move {
        let _ = request.into_body().collect().await;
        answer("")
    });
    let network = Arc::new(granted(&server));
    let parts = futures_util::stream::iter([
        Ok(Frame::data(Bytes::from("abc"))),
        Err(Error::HttpRequestBodySize(Some(3))),
    ]);
    let body = StreamBody::new(parts).boxed_unsync();
    let request = Request::post(url(&server)).header("content-length", "10").body(body).unwrap();
    let error = send(&network, request).await.unwrap_err();
    assert!(matches!(error, Error::HttpRequestBodySize(Some(3))), "{error}");
}

#[tokio::test]
async fn a_response_that_nobody_reads_on_is_cut() {
    let (ended, mut end) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::raw(move |mut stream| {
        let ended = ended.clone();
        async move {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            let mut sent = 0;
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {
                sent += 4096;
            }
            ended.send(sent).unwrap();
        }
    });
    let network = Arc::new(granted(&server));
    let mut reply = get(&network, &url(&server)).await.unwrap().into_body();
    reply.frame().await.unwrap().unwrap();
    // Unread, it stays at the server but for what buffers hold.
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(reply);
    let sent = tokio::time::timeout(Duration::from_secs(5), end.recv()).await.unwrap().unwrap();
    assert!(sent < 64 << 20, "{sent}");
}

#[tokio::test]
async fn http2_shares_a_connection_from_the_first() {
    let authority = Authority::new();
    let server = Server::https(&authority, |request| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        assert!(request.headers().get("host").is_none());
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer(request.uri().authority().unwrap().to_string())
    });
    let name = format!("model.test:{}", server.address.port());
    let mut network = network(&[name.clone(), server.address.to_string()]);
    network.names.insert("model.test".into(), vec!["127.0.0.1".parse().unwrap()]);
    network.tls.set(Ok(authority.client())).unwrap();
    let network = Arc::new(network);
    let url = format!("https://{name}/");
    let since = Instant::now();
    let replies = (0..100).map(|_| async { text(get(&network, &url).await.unwrap()).await });
    for reply in futures_util::future::join_all(replies).await {
        assert_eq!(reply.unwrap(), name);
    }
    assert_eq!(server.connections(), 1);
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
}

#[tokio::test]
async fn certificates_are_checked() {
    let server = Server::https(&Authority::new(), |_| async { answer("hello") });
    let mut network = granted(&server);
    network.tls.set(Ok(Authority::new().client())).unwrap();
    network.names.insert("other.test".into(), vec!["127.0.0.1".parse().unwrap()]);
    let network = Arc::new(network);
    let url = format!("https://{}/", server.address);
    // Many at once, too: none waits for another to fail.
    let requests = (0..20).map(|_| get(&network, &url));
    for reply in futures_util::future::join_all(requests).await {
        let error = reply.unwrap_err();
        assert!(matches!(error, Error::TlsCertificateError), "{error}");
    }
    assert_eq!(told(&network), 1);
}

#[tokio::test]
async fn a_certificate_of_another_name_is_refused() {
    let authority = Authority::new();
    let server = Server::https(&authority, |_| async { answer("hello") });
    let name = format!("other.test:{}", server.address.port());
    let mut network = network(&[name.clone(), server.address.to_string()]);
    network.tls.set(Ok(authority.client())).unwrap();
    network.names.insert("other.test".into(), vec!["127.0.0.1".parse().unwrap()]);
    let error = get(&Arc::new(network), &format!("https://{name}/")).await.unwrap_err();
    assert!(matches!(error, Error::TlsCertificateError), "{error}");
}

/// What `system_certificates_are_trusted` runs in a process of its own, as the
/// environment is of the whole process.
#[tokio::test]
async fn system_certificates_in_a_process_of_its_own() {
    let Ok(url) = std::env::var("TIGERFLOW_TEST_URL") else { return };
    let network = network(&[url.trim_start_matches("https://").trim_end_matches('/').into()]);
    let reply = get(&Arc::new(network), &url).await;
    match std::env::var("TIGERFLOW_TEST_TRUST").as_deref() {
        Ok("yes") => assert_eq!(text(reply.unwrap()).await.unwrap(), "hello"),
        _ => assert!(matches!(reply.unwrap_err(), Error::TlsCertificateError)),
    }
}

#[test]
fn system_certificates_are_trusted() {
    let authority = Authority::new();
    let server = Server::https(&authority, |_| async { answer("hello") });
    let directory = tempfile::tempdir().unwrap();
    for (trust, pem) in [("yes", &authority.pem), ("no", &Authority::new().pem)] {
        let file = directory.path().join(trust);
        std::fs::write(&file, pem).unwrap();
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("engine::network::tests::system_certificates_in_a_process_of_its_own")
            .env("TIGERFLOW_TEST_URL", format!("https://{}/", server.address))
            .env("TIGERFLOW_TEST_TRUST", trust)
            .env("SSL_CERT_FILE", &file)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{trust}: {said}");
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn plain_requests_are_handed_to_a_proxy() {
    let proxy = Server::http(|request| async move {
        let auth = request.headers().get("proxy-authorization").cloned();
        answer(format!("{} {auth:?}", request.uri()))
    });
    let network = network(&["model.test".into(), "10.0.0.1".into()]);
    let matcher = Matcher::builder()
        .http(format!("http://me:secret@{}", proxy.address))
        .no("10.0.0.1")
        .build();
    let network = with_proxy(network, matcher);
    // Its name does not resolve here.
    let reply = get(&network, "http://model.test/path").await.unwrap();
    let said = text(reply).await.unwrap();
    assert_eq!(said, "http://model.test/path Some(\"Basic bWU6c2VjcmV0\")");
    // What is not granted does not get to the proxy.
    assert!(get(&network, "http://other.test/").await.is_err());
    assert!(get(&network, "http://10.0.0.2/").await.is_err());
    assert_eq!(proxy.connections(), 1);
}

fn with_proxy(mut network: Network, matcher: Matcher) -> Arc<Network> {
    network.proxies = Ok(matcher).into();
    Arc::new(network)
}

/// Reads until an empty line.
async fn read_head(stream: &mut tokio::net::TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn tls_goes_through_a_proxys_tunnel() {
    let authority = Authority::new();
    let target = Server::https(&authority, |_| async { answer("hello") });
    let at = target.address;
    let (saw, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let proxy = Server::raw(move |mut stream| {
        let saw = saw.clone();
        async move {
            saw.send(read_head(&mut stream).await).unwrap();
            let mut target = tokio::net::TcpStream::connect(at).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut target).await;
        }
    });
    let network = network(&["model.test".into()]);
    network.tls.set(Ok(authority.client())).unwrap();
    let matcher = Matcher::builder().https(format!("http://me:secret@{}", proxy.address)).build();
    let network = with_proxy(network, matcher);
    let reply = get(&network, "https://model.test/").await.unwrap();
    assert_eq!(text(reply).await.unwrap(), "hello");
    let head = seen.recv().await.unwrap();
    assert!(head.starts_with("CONNECT model.test:443 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Basic bWU6c2VjcmV0"), "{head}");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    let proxy = Server::raw(move |mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 407 No\r\n\r\n").await;
    });
    let network = network(&["model.test".into()]);
    let matcher = Matcher::builder().https(format!("http://me:secret@{}", proxy.address)).build();
    let network = with_proxy(network, matcher);
    let error = get(&network, "https://model.test/").await.unwrap_err();
    let Error::InternalError(Some(text)) = error else { panic!("{error}") };
    assert!(text.contains(&format!("the proxy http://{}: ", proxy.address)), "{text}");
    assert!(text.contains("authorization required") && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn socks_proxies_are_spoken_to() {
    let (saw, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let proxy = Server::raw(move |mut stream| {
        let saw = saw.clone();
        async move {
            let mut greeting = [0; 3];
            stream.read_exact(&mut greeting).await.unwrap();
            stream.write_all(&[5, 0]).await.unwrap();
            let mut head = [0; 4];
            stream.read_exact(&mut head).await.unwrap();
            let rest = match head[3] {
                1 => 4,
                _ => stream.read_u8().await.unwrap().into(),
            };
            let mut host = vec![0; rest];
            stream.read_exact(&mut host).await.unwrap();
            let port = stream.read_u16().await.unwrap();
            saw.send((host, port)).unwrap();
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            speak(stream, false, |_| async { answer("hello") }).await;
        }
    });
    for (scheme, host) in [("socks5h", &b"model.test"[..]), ("socks5", &[1, 1, 1, 1])] {
        let mut network = network(&["model.test".into()]);
        network.names.insert("model.test".into(), vec!["1.1.1.1".parse().unwrap()]);
        let matcher = Matcher::builder().all(format!("{scheme}://{}", proxy.address)).build();
        let network = with_proxy(network, matcher);
        let reply = get(&network, "http://model.test/").await.unwrap();
        assert_eq!(text(reply).await.unwrap(), "hello");
        assert_eq!(seen.recv().await.unwrap(), (host.to_vec(), 80));
    }
}

#[tokio::test]
async fn this_machine_is_not_reached_through_a_proxy() {
    let server = Server::http(|_| async { answer("here") });
    let matcher = Matcher::builder().all("http://127.0.0.1:9").build();
    let network = with_proxy(granted(&server), matcher);
    let reply = get(&network, &url(&server)).await.unwrap();
    assert_eq!(text(reply).await.unwrap(), "here");
}
