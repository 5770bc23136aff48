//! What `--allow-host` opens, and that nothing else is open.

use std::fs;
use std::path::Path;
use std::process::Command;

use tigerflow_test_server::TestServer;
use tigerflow_tests::{Bench, finish, guest};

use super::{Asked, both, plain, run, secure, serve};

/// What the host says of a request that is not granted.
fn told(target: &str, offered: &str) -> String {
    format!(
        "The task asked for `{target}`, which is not granted: --allow-host {offered} would grant it"
    )
}

/// Fails unless a request is refused, with what would grant it.
#[track_caller]
fn assert_denied(server: &TestServer, url: &str, granted: &[&str], target: &str, offered: &str) {
    for component in both() {
        let grants: Vec<&str> = granted.iter().flat_map(|rule| ["--allow-host", rule]).collect();
        let asked = Asked::new(server, &component, &format!("GET {url}"), &grants);
        let end = format!(": the host does not grant it: `--allow-host {offered}`");
        asked.fails("RequestDenied", &end).tells_once(&told(target, offered));
    }
}

#[test]
fn nothing_is_reached_without_a_grant() {
    let server = TestServer::start();
    for (url, target) in
        [(server.http_url(), plain(&server)), (server.https_url(), secure(&server))]
    {
        assert_denied(&server, &format!("{url}/ok"), &[], &target, &target);
    }
    assert_eq!(server.connections(), 0, "it was connected to");
}

#[test]
fn a_granted_host_is_reached_and_the_option_that_was_offered_does() {
    let server = TestServer::start();
    for component in both() {
        for (url, target) in
            [(server.http_url(), plain(&server)), (server.https_url(), secure(&server))]
        {
            let request = format!("GET {url}/ok");
            let first = Asked::new(&server, &component, &request, &[]).error().1;
            let option = first.rsplit_once('`').and_then(|(rest, _)| rest.rsplit_once('`'));
            let (_, option) = option.expect("an option in quotes");
            assert_eq!(option, format!("--allow-host {target}"));
            let option: Vec<&str> = option.split(' ').collect();
            let asked = Asked::new(&server, &component, &request, &option);
            assert_eq!(asked.answer(), (200, "ok\n".into()));
        }
    }
    let secure: Vec<bool> = server.requests().iter().map(|request| request.secure).collect();
    assert_eq!(secure, [false, true, false, true]);
}

#[test]
fn another_port_is_not_granted() {
    let server = TestServer::start();
    let (http, https) = (plain(&server), secure(&server));
    let (url, other) = (server.http_url(), &*https);
    for granted in [other, "127.0.0.1", "127.0.0.1:80", "127.0.0.1:443", "127.0.0.0/8"] {
        assert_denied(&server, &format!("{url}/ok"), &[granted], &http, &http);
    }
    // A port that the scheme does not have needs to be named, and the other way round.
    assert_denied(
        &server,
        "http://127.0.0.1:443/",
        &["127.0.0.1"],
        "127.0.0.1:443",
        "127.0.0.1:443",
    );
    assert_denied(&server, "https://127.0.0.1:80/", &["127.0.0.1"], "127.0.0.1:80", "127.0.0.1:80");
    assert_denied(&server, "http://127.0.0.1/", &["127.0.0.1:443"], "127.0.0.1:80", "127.0.0.1");
    assert_denied(&server, "https://127.0.0.1/", &["127.0.0.1:80"], "127.0.0.1:443", "127.0.0.1");
    assert_eq!(server.connections(), 0, "it was connected to");
}

#[test]
fn a_port_is_granted_for_both_schemes() {
    let server = TestServer::start();
    // Plain HTTP where the server speaks TLS: granted, and so it is the server that objects.
    let request = format!("GET http://{}/ok", secure(&server));
    let grant = secure(&server);
    for component in both() {
        let asked = Asked::new(&server, &component, &request, &["--allow-host", &grant]);
        assert_ne!(asked.error().0, "RequestDenied", "{}", asked.done.stderr);
    }
}

#[test]
fn an_address_and_a_name_are_not_the_same() {
    let server = TestServer::start();
    let port = server.http_port();
    let (name, address) = (format!("localhost:{port}"), format!("127.0.0.1:{port}"));
    let v6 = format!("[::1]:{port}");
    assert_denied(&server, &format!("http://{name}/ok"), &[&address, "*.localhost"], &name, &name);
    assert_denied(&server, &format!("http://{address}/ok"), &[&name], &address, &address);
    assert_denied(&server, &format!("http://{v6}/ok"), &[&address, &name], &v6, &v6);
    assert_eq!(server.connections(), 0, "it was connected to");
    for component in both() {
        let request = format!("GET http://{name}/ok");
        let asked = Asked::new(&server, &component, &request, &["--allow-host", &name]);
        assert_eq!(asked.answer(), (200, "ok\n".into()), "a name of this machine as such");
        let network = format!("127.0.0.0/8:{port}");
        let request = format!("GET http://{address}/ok");
        let asked = Asked::new(&server, &component, &request, &["--allow-host", &network]);
        assert_eq!(asked.answer(), (200, "ok\n".into()), "a network");
    }
}

#[test]
fn an_address_written_in_an_odd_way_is_none() {
    let server = TestServer::start();
    let port = server.http_port();
    let grant = plain(&server);
    for host in ["127.1", "0x7f.1", "2130706433", "0177.0.0.1", "127.0.0.1.", "0"] {
        for component in both() {
            let request = format!("GET http://{host}:{port}/ok");
            let asked = Asked::new(&server, &component, &request, &["--allow-host", &grant]);
            let (kind, message) = asked.error();
            assert!(kind.starts_with("Invalid"), "{host}: {kind}: {message}");
        }
    }
    assert_eq!(server.connections(), 0, "it was connected to");
}

#[test]
fn addresses_of_a_cloud_and_of_this_network_are_not_reached_unasked() {
    let server = TestServer::start();
    let grants = ["example.org", "*.internal", "127.0.0.1"];
    for (url, target, offered) in [
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254:80", "169.254.169.254"),
        ("http://10.0.0.1/", "10.0.0.1:80", "10.0.0.1"),
        ("http://[fd00::1]:8080/", "[fd00::1]:8080", "[fd00::1]:8080"),
    ] {
        assert_denied(&server, url, &grants, target, offered);
    }
    // IPv4 in IPv6 form is what it stands for.
    for component in both() {
        let asked = Asked::new(&server, &component, "GET http://[::ffff:10.0.0.1]/", &[]);
        asked.tells_once(&told("10.0.0.1:80", "10.0.0.1"));
        let request = format!("GET http://[::ffff:127.0.0.1]:{}/ok", server.http_port());
        let grant = plain(&server);
        let asked = Asked::new(&server, &component, &request, &["--allow-host", &grant]);
        assert_eq!(asked.answer(), (200, "ok\n".into()));
    }
}

#[test]
fn every_hop_of_a_redirect_is_checked() {
    let (first, second) = (TestServer::start(), TestServer::start());
    let target = plain(&second);
    for component in both() {
        let request = format!("GET {}/redirect?to={}/ok", first.http_url(), second.http_url());
        let grant = ["--allow-host", &plain(&first)];
        let asked = Asked::new(&first, &component, &request, &grant);
        let end = format!("GET {target}/ok: the host does not grant it: `--allow-host {target}`");
        asked.fails("RequestDenied", &end).tells_once(&told(&target, &target));

        // Granted as well, it is followed.
        let grants = [&grant[..], &["--allow-host", &target]].concat();
        let asked = Asked::new(&first, &component, &request, &grants);
        assert_eq!(asked.answer(), (200, "ok\n".into()));
    }
    assert_eq!((first.count("/redirect"), second.count("/ok")), (4, 2));
}

#[test]
fn a_redirect_does_not_lead_within_this_machine() {
    let server = TestServer::builder().names(&["api.test"]).start();
    for to in ["http://127.0.0.1:1/", "http://localhost:1/", "http://169.254.169.254/"] {
        for component in both() {
            let bench = Bench::new();
            bench.add("a.txt", format!("GET https://api.test/redirect?to={to}"));
            let more = ["--allow-host", "api.test", "--retries", "0", "--once"];
            let mut command = serve(&bench, &server, &component, &more);
            finish(command.env("HTTPS_PROXY", server.proxy_url())).expect(3);
            assert_eq!(bench.err("a.err")["exception_type"], "RequestDenied", "{to}");
        }
    }
}

#[test]
fn what_is_missing_is_said_once_over_many_files() {
    let server = TestServer::start();
    let (http, https) = (plain(&server), secure(&server));
    for component in both() {
        let bench = Bench::new();
        for number in 0..60 {
            let url = if number % 2 == 0 { server.http_url() } else { server.https_url() };
            bench.add(format!("{number}.txt"), format!("GET {url}/ok?n={number}"));
        }
        let done = run(&bench, &server, &component, &[]).expect(3).says("0 succeeded, 60 failed");
        for target in [&http, &https] {
            assert_eq!(done.stderr.matches(&told(target, target)).count(), 1, "{}", done.stderr);
        }
        // Not granted is final: more tries would not help.
        assert!(!done.stderr.contains("Retrying"), "{}", done.stderr);
        assert_eq!(bench.err("7.err")["attempts"], 1);
    }
    assert_eq!(server.connections(), 0, "it was connected to");
}

#[test]
fn a_guest_does_not_speak_for_the_client() {
    let server = TestServer::start();
    for component in both() {
        for header in [
            "host: elsewhere.test",
            "connection: close",
            "transfer-encoding: chunked",
            "upgrade: websocket",
            "proxy-authorization: Basic eA==",
        ] {
            let request = format!("GET {}/ok\n{header}", server.http_url());
            let grant = ["--allow-host", &plain(&server)];
            let name = header.split(':').next().expect("a name");
            Asked::new(&server, &component, &request, &grant)
                .fails("InvalidRequest", &format!("the header `{name}` cannot be sent"));
        }
    }
    assert_eq!(server.connections(), 0, "it was connected to");
}

#[test]
fn a_bad_value_is_refused_with_what_would_do() {
    let bench = Bench::new();
    bench.add("a.txt", "GET http://127.0.0.1/");
    for (value, help) in [
        ("https://api.example.org", "leave `https://` out: `--allow-host api.example.org`"),
        ("http://127.0.0.1:8080/v1", "`--allow-host 127.0.0.1:8080`"),
        ("me:hush@example.org", "leave the user name out: `--allow-host example.org`"),
        ("example.org/v1", "leave `/v1` out: `--allow-host example.org`"),
        ("*", "`*` would grant every host"),
        ("*:443", "`*` would grant every host"),
        ("api.*.org", "only in front: `*.example.org`"),
        ("a.org,b.org", "repeat `--allow-host` for each"),
        ("", "a host is missing"),
        ("example.org:0", "port 0 does not exist"),
        ("example.org:https", "a port is a number from 1 to 65535"),
        ("::1:8080:", "is no port"),
        ("bücher.example", "xn--"),
        ("127.1", "is no host"),
        ("10.0.0.0/40", "write a network as `10.0.0.0/8`"),
    ] {
        let done = bench.run(&guest("http"), &[&format!("--allow-host={value}")]).expect(2);
        let done = done.says(help).says("--allow-host");
        assert!(!done.stderr.contains("hush"), "{}", done.stderr);
        assert_eq!(bench.names(), [""; 0], "{value}");
    }
}

/// The same command in a place where names have these addresses. `None`, and a
/// line that says so, where there can be no such place.
fn with_names(bench: &Bench, command: &Command, names: &str) -> Option<Command> {
    let file = bench.path().join("hosts");
    fs::write(&file, names).expect("a list of names");
    let inside = |script: &str| {
        let mut command = Command::new("unshare");
        let root = rustix::process::geteuid().is_root();
        command.args(if root { &["-m"][..] } else { &["-m", "-r"] });
        command.args([
            "sh",
            "-c",
            &format!("mount --bind \"$NAMES\" /etc/hosts && {script}"),
            "sh",
        ]);
        command.env("NAMES", &file);
        command
    };
    if !inside("true").output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: names cannot be given addresses here (no mount namespace)");
        return None;
    }
    let mut inside = inside("exec \"$@\"");
    inside.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => inside.env(name, value),
            None => inside.env_remove(name),
        };
    }
    Some(inside)
}

const NAMES: &str = "127.0.0.1 localhost loop.test api.loop.test a.localhost b.a.localhost\n\
                     10.1.2.3 private.test\n\
                     169.254.169.254 metadata.test\n\
                     ::1 six.test\n";

/// Asks for a URL where [`NAMES`] hold; `None` where that cannot be.
fn ask_named(server: &TestServer, component: &Path, url: &str, grants: &[&str]) -> Option<Asked> {
    let bench = Bench::new();
    bench.add("a.txt", format!("GET {url}"));
    let mut command = serve(&bench, server, component, &["--once", "--retries", "0"]);
    command.args(grants.iter().flat_map(|rule| ["--allow-host", rule]));
    let done = finish(&mut with_names(&bench, &command, NAMES)?);
    Some(Asked { bench, done })
}

#[test]
fn a_granted_name_opens_nothing_within_this_network() {
    let server = TestServer::builder().names(&["loop.test"]).start();
    let port = server.http_port();
    for component in both() {
        for (host, grant, address, words) in [
            ("loop.test", "loop.test", "127.0.0.1", "an address of this machine"),
            ("loop.test", "*.test", "127.0.0.1", "an address of this machine"),
            ("api.loop.test", "*.loop.test", "127.0.0.1", "an address of this machine"),
            ("private.test", "private.test", "10.1.2.3", "a private address"),
            ("metadata.test", "metadata.test", "169.254.169.254", "a link-local address"),
            ("six.test", "six.test", "[::1]", "an address of this machine"),
        ] {
            let grant = format!("{grant}:{port}");
            let url = format!("http://{host}:{port}/ok");
            let Some(asked) = ask_named(&server, &component, &url, &[&grant]) else { return };
            asked.fails("RequestDenied", "the host prohibits its IP address");
            asked.tells_once(&format!(
                "The task asked for `{host}:{port}`, whose name resolves to {}, {words}: \
                 --allow-host {address}:{port} would grant that as well",
                address.trim_matches(['[', ']'])
            ));
        }
        assert_eq!(server.count("/ok"), 0);
    }
    // Granted as an address as well, it is reached: by both schemes.
    for component in both() {
        for (scheme, port) in [("http", port), ("https", server.https_port())] {
            let url = format!("{scheme}://loop.test:{port}/ok");
            let grants = [format!("loop.test:{port}"), format!("127.0.0.1:{port}")];
            let grants = grants.each_ref().map(|rule| &**rule);
            let Some(asked) = ask_named(&server, &component, &url, &grants) else { return };
            assert_eq!(asked.answer(), (200, "ok\n".into()));
            // The address alone does not open the name.
            let Some(asked) = ask_named(&server, &component, &url, &grants[1..]) else { return };
            let offered = format!("`--allow-host loop.test:{port}`");
            asked.fails("RequestDenied", &offered);
        }
    }
}

#[test]
fn names_under_localhost_are_this_machine() {
    let server = TestServer::start();
    let port = server.http_port();
    let url = |host: &str| format!("http://{host}:{port}/ok");
    let grant = format!("*.localhost:{port}");
    for component in both() {
        for host in ["a.localhost", "b.a.localhost", "A.LocalHost"] {
            let Some(asked) = ask_named(&server, &component, &url(host), &[&grant]) else { return };
            assert_eq!(asked.answer(), (200, "ok\n".into()), "{host}");
        }
        for host in ["localhost", "loop.test"] {
            let Some(asked) = ask_named(&server, &component, &url(host), &[&grant]) else { return };
            asked.fails("RequestDenied", &format!("`--allow-host {host}:{port}`"));
        }
        let other = format!("a.localhost:{port}");
        let asked = ask_named(&server, &component, &url("b.a.localhost"), &[&other]);
        let Some(asked) = asked else { return };
        asked.fails("RequestDenied", &format!("`--allow-host b.a.localhost:{port}`"));
    }
}

#[test]
fn a_host_that_the_task_needs_is_asked_for_before_anything_is_begun() {
    let bench = Bench::new();
    bench.add("a.txt", "one");
    for granted in [
        &[][..],
        &["other.test"],
        &["example.test"],
        &["api.example.test:80"],
        &["api.example.test:8443"],
        &["*.api.example.test"],
        &["*.cdn.example.test", "127.0.0.0/8"],
    ] {
        let more: Vec<&str> = granted.iter().flat_map(|rule| ["--allow-host", rule]).collect();
        let done = bench.run(&guest("needy"), &more).expect(2);
        let done = done.says("\n  --allow-host api.example.test   Asks there what words mean\n");
        let given = granted.contains(&"*.cdn.example.test");
        let useful = done.stderr.split_once("\nIt may also use").map(|(_, useful)| useful);
        assert_eq!(useful.is_some_and(|u| u.contains("Loads pictures")), !given, "{}", done.stderr);
        assert_eq!(bench.names(), [""; 0], "{granted:?}");
        // The whole command line, as a shell takes it.
        let (_, line) = done.stderr.split_once("grants it:\n").expect("a command line");
        let line = line.lines().next().expect("a line");
        assert!(line.ends_with(" --once --allow-host api.example.test"), "{line}");
        let mut shell = Command::new("sh");
        shell.env("TIGERFLOW_CACHE_DIR", bench.path().join("cache"));
        finish(shell.args(["-c", line])).expect(0).says("1 succeeded");
        fs::remove_dir_all(bench.output()).expect("outputs");
        fs::create_dir(bench.output()).expect("out");
    }
    for granted in [
        "api.example.test",
        "api.example.test:443",
        "*.example.test",
        "*.test:443",
        "API.example.test.",
    ] {
        bench.run(&guest("needy"), &["--allow-host", granted]).expect(0);
    }
}
