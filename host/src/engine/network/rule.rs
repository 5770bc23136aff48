//! What `--allow-host` grants: a name, all names under a domain, an address or a
//! network, each with a port or without.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::uri::Scheme;
use ipnet::IpNet;

/// Longest name of a host, in bytes, as DNS has it.
const NAME_LIMIT: usize = 253;
/// Longest part of a name between dots, in bytes.
const LABEL_LIMIT: usize = 63;

/// One value of `--allow-host`. Without a port it grants port 443 over https and
/// port 80 over http; with a port, that port over both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostRule {
    hosts: Hosts,
    port: Option<u16>,
}

/// Which hosts a rule grants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Hosts {
    /// The host of this name, in lower case.
    Name(String),
    /// Every name that ends in a dot and this, in lower case; not this itself.
    Under(String),
    /// This address.
    Address(IpAddr),
    /// Every address of this network.
    Network(IpNet),
}

/// A host as a URL names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name, in lower case and without a trailing dot.
    Name(String),
    /// An address. An IPv4 address in IPv6 form is an IPv4 address.
    Address(IpAddr),
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Whether it goes over TLS.
    pub tls: bool,
    /// The host.
    pub host: Host,
    /// The port, also where the URL leaves it to the scheme.
    pub port: u16,
}

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostRuleError {
    /// It is a URL, or has parts of one.
    #[error("leave {surplus} out: `--allow-host {rest}`")]
    Surplus {
        /// What does not belong there.
        surplus: String,
        /// What would do.
        rest: String,
    },
    /// Something else is wrong.
    #[error("{0}")]
    Malformed(String),
}

fn malformed<T>(problem: impl Into<String>) -> Result<T, HostRuleError> {
    Err(HostRuleError::Malformed(problem.into()))
}

impl FromStr for HostRule {
    type Err = HostRuleError;

    fn from_str(text: &str) -> Result<Self, HostRuleError> {
        refuse_url(text)?;
        if text.contains([',', ' ']) {
            return malformed("it names one host: repeat `--allow-host` for each");
        }
        let (host, port) = split_port(text)?;
        let hosts = if let Some(domain) = host.strip_prefix("*.") {
            if domain.parse::<IpAddr>().is_ok() {
                return malformed("addresses have no subdomains: write a network as `10.0.0.0/8`");
            }
            Hosts::Under(check_name(domain)?)
        } else if let Some((address, length)) = host.split_once('/') {
            Hosts::Network(parse_network(address, length)?)
        } else if let Ok(address) = host.parse::<IpAddr>() {
            Hosts::Address(address.to_canonical())
        } else {
            Hosts::Name(check_name(host)?)
        };
        Ok(HostRule { hosts, port })
    }
}

/// Refuses a URL, and what only a URL has, and says what to write instead.
fn refuse_url(text: &str) -> Result<(), HostRuleError> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    let is_network = scheme.is_none()
        && rest
            .split_once('/')
            .is_some_and(|(address, _)| address.trim_start_matches('[').parse::<IpAddr>().is_ok());
    let end = rest.find(if is_network { &['?', '#'][..] } else { &['/', '?', '#', '\\'][..] });
    let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    // What is left out is not repeated where it may be secret.
    let surplus = match (scheme, user) {
        (Some(scheme), _) => format!("`{scheme}://`"),
        (None, Some(_)) => "the user name".into(),
        (None, None) if !path.is_empty() => format!("`{path}`"),
        _ => return Ok(()),
    };
    if host.is_empty() {
        return malformed("a host is missing: write it as `api.example.org`");
    }
    Err(HostRuleError::Surplus { surplus, rest: host.to_owned() })
}

/// Splits `HOST[:PORT]`, where an IPv6 address with a port stands in brackets.
fn split_port(text: &str) -> Result<(&str, Option<u16>), HostRuleError> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) if port.starts_with(':') => (host, Some(&port[1..])),
            _ => return malformed("write an IPv6 address with its port as `[::1]:8080`"),
        }
    } else if text.split('/').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()) {
        (text, None)
    } else {
        match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = port.map(|port| match port.parse::<u16>() {
        Ok(0) => malformed("port 0 does not exist"),
        Ok(number) if port.bytes().all(|b| b.is_ascii_digit()) => Ok(number),
        _ => malformed(format!("`{port}` is no port: a port is a number from 1 to 65535")),
    });
    Ok((host, port.transpose()?))
}

fn parse_network(address: &str, length: &str) -> Result<IpNet, HostRuleError> {
    let help = "write a network as `10.0.0.0/8` or `fd00::/8`, with a port as `10.0.0.0/8:8080` or \
                `[fd00::/8]:8080`";
    let Ok(network) = format!("{address}/{length}").parse::<IpNet>() else {
        return malformed(help);
    };
    if matches!(network, IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some()) {
        return malformed("write a network of IPv4 addresses as `10.0.0.0/8`");
    }
    Ok(network.trunc())
}

/// A host's name in lower case, without the dot at its end.
fn check_name(name: &str) -> Result<String, HostRuleError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return malformed("a host is missing: write it as `api.example.org`");
    }
    if name == "*" {
        return malformed(
            "`*` would grant every host: name the hosts, or a domain as `*.example.org`",
        );
    }
    if name.contains('*') {
        return malformed("`*` stands for subdomains, and only in front: `*.example.org`");
    }
    if !name.is_ascii() {
        return malformed(format!("write `{name}` in its ASCII form, which begins with `xn--`"));
    }
    parse_name(name).map_or_else(
        || {
            malformed(format!(
                "`{name}` is no host: write a name as `api.example.org`, or an address as \
                 `127.0.0.1` or `[::1]:8080`"
            ))
        },
        Ok,
    )
}

/// A name as it is compared; `None` if it can be none. A name whose last part is
/// a number is none: some systems read `127.1` as an address.
fn parse_name(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !label.is_empty()
            && label.len() <= LABEL_LIMIT
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next()?;
    let numeric = last.bytes().all(|b| b.is_ascii_digit())
        || last.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x"))
            && last[2..].bytes().all(|b| b.is_ascii_hexdigit());
    let sound = name.len() <= NAME_LIMIT && name.split('.').all(is_label) && !numeric;
    sound.then(|| name.to_ascii_lowercase())
}

impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, is_v6) = match &self.hosts {
            Hosts::Name(name) => (name.clone(), false),
            Hosts::Under(domain) => (format!("*.{domain}"), false),
            Hosts::Address(address) => (address.to_string(), address.is_ipv6()),
            Hosts::Network(network) => (network.to_string(), matches!(network, IpNet::V6(_))),
        };
        match self.port {
            Some(port) if is_v6 => write!(f, "[{host}]:{port}"),
            Some(port) => write!(f, "{host}:{port}"),
            None => f.write_str(&host),
        }
    }
}

impl HostRule {
    /// The narrowest rule that grants a target.
    pub fn granting(target: &Target) -> Self {
        let hosts = match &target.host {
            Host::Name(name) => Hosts::Name(name.clone()),
            Host::Address(address) => Hosts::Address(*address),
        };
        let port = (target.port != default_port(target.tls)).then_some(target.port);
        HostRule { hosts, port }
    }

    /// Whether a request may be sent there, as far as its URL tells.
    pub fn grants(&self, target: &Target) -> bool {
        let host = match (&self.hosts, &target.host) {
            (Hosts::Name(name), Host::Name(host)) => name == host,
            (Hosts::Under(domain), Host::Name(host)) => is_under(host, domain),
            (Hosts::Address(_) | Hosts::Network(_), Host::Address(address)) => self.holds(*address),
            _ => false,
        };
        host && self.grants_port(target.tls, target.port)
    }

    /// Whether the rule names this very address, by itself or by its network.
    pub fn grants_address(&self, address: IpAddr, tls: bool, port: u16) -> bool {
        self.holds(address.to_canonical()) && self.grants_port(tls, port)
    }

    fn holds(&self, address: IpAddr) -> bool {
        match &self.hosts {
            Hosts::Address(granted) => *granted == address,
            Hosts::Network(network) => network.contains(&address),
            Hosts::Name(_) | Hosts::Under(_) => false,
        }
    }

    fn grants_port(&self, tls: bool, port: u16) -> bool {
        port == self.port.unwrap_or(default_port(tls))
    }

    /// Whether this rule gives a task what it asks for with `asked`. A task that
    /// asks for a host without a port is content with https on port 443.
    fn covers(&self, asked: &HostRule) -> bool {
        let hosts = match (&self.hosts, &asked.hosts) {
            (Hosts::Under(domain), Hosts::Name(host)) => is_under(host, domain),
            (Hosts::Under(domain), Hosts::Under(host)) => host == domain || is_under(host, domain),
            (Hosts::Network(network), Hosts::Address(address)) => network.contains(address),
            (Hosts::Network(network), Hosts::Network(asked)) => network.contains(asked),
            (mine, asked) => mine == asked,
        };
        let ports = match (self.port, asked.port) {
            (None, port) => port.is_none_or(|port| port == 80 || port == 443),
            (Some(mine), None) => mine == 443,
            (Some(mine), Some(port)) => mine == port,
        };
        hosts && ports
    }
}

/// Whether one of the rules gives a task what it asks for.
pub fn covers(rules: &[HostRule], asked: &HostRule) -> bool {
    rules.iter().any(|rule| rule.covers(asked))
}

/// The port that a URL without one means.
fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// Whether a name lies under a domain, at any depth.
fn is_under(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

impl Target {
    /// Where a request with this URL goes. `None` if the URL is none of http, or
    /// names no host that could be granted.
    pub fn of(uri: &http::Uri) -> Option<Self> {
        let tls = match uri.scheme()? {
            scheme if *scheme == Scheme::HTTPS => true,
            scheme if *scheme == Scheme::HTTP => false,
            _ => return None,
        };
        // An empty or overflowing port is dropped by `port_u16`, not refused.
        let authority = uri.authority()?;
        let after_host = authority.as_str().rsplit(']').next()?;
        let port = match (after_host.rsplit_once(':'), authority.port_u16()) {
            (None, _) => default_port(tls),
            (Some(_), Some(port)) if port > 0 => port,
            (Some(_), _) => return None,
        };
        let host = uri.host()?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => Host::Address(IpAddr::V6(address.parse().ok()?).to_canonical()),
            None => match host.parse() {
                Ok(address) => Host::Address(IpAddr::V4(address)),
                Err(_) => Host::Name(parse_name(host)?),
            },
        };
        Some(Target { tls, host, port })
    }
}

/// `HOST:PORT`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address(address) => std::net::SocketAddr::new(*address, self.port).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(text: &str) -> HostRule {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn target(url: &str) -> Option<Target> {
        Target::of(&url.parse().unwrap())
    }

    fn grants(text: &str, url: &str) -> bool {
        rule(text).grants(&target(url).unwrap())
    }

    #[test]
    fn rules_are_shown_as_they_are_written() {
        for text in [
            "api.voyageai.com",
            "api.voyageai.com:443",
            "*.example.org",
            "*.example.org:8443",
            "127.0.0.1",
            "127.0.0.1:8080",
            "::1",
            "[::1]:8080",
            "10.0.0.0/8",
            "10.0.0.0/8:8080",
            "fd00::/8",
            "[fd00::/8]:8080",
            "localhost:8080",
            "xn--bcher-kva.example",
            "my_service",
        ] {
            assert_eq!(rule(text).to_string(), text);
        }
        assert_eq!(rule("API.Example.ORG.").to_string(), "api.example.org");
        assert_eq!(rule("[::1]").to_string(), "::1");
        assert_eq!(rule("::ffff:10.0.0.1").to_string(), "10.0.0.1");
        assert_eq!(rule("10.1.2.3/8").to_string(), "10.0.0.0/8");
    }

    #[test]
    fn nonsense_is_refused_with_what_would_do() {
        for (text, help) in [
            ("https://api.example.org", "leave `https://` out: `--allow-host api.example.org`"),
            ("http://u:p@a.org:81/x?k=v", "leave `http://` out: `--allow-host a.org:81`"),
            ("me:secret@a.org", "leave the user name out: `--allow-host a.org`"),
            ("a.org/path", "leave `/path` out: `--allow-host a.org`"),
            ("a.org?key=1", "leave `?key=1` out"),
            ("https://", "a host is missing"),
            ("", "a host is missing"),
            (":80", "a host is missing"),
            ("*", "`*` would grant every host"),
            ("*:443", "`*` would grant every host"),
            ("*.", "a host is missing"),
            ("a.*.org", "only in front"),
            ("*.*.org", "only in front"),
            ("*a.org", "only in front"),
            ("*.10.0.0.1", "no subdomains"),
            ("a.org:0", "port 0"),
            ("a.org:", "is no port"),
            ("a.org:+80", "is no port"),
            ("a.org:65536", "is no port"),
            ("a.org:https", "is no port"),
            ("a.org,b.org", "repeat `--allow-host`"),
            ("a org", "repeat `--allow-host`"),
            ("bücher.example", "xn--"),
            ("127.1", "is no host"),
            ("0x7f000001", "is no host"),
            ("2130706433", "is no host"),
            ("a..org", "is no host"),
            ("-a.org", "is no host"),
            ("a%41.org", "is no host"),
            ("[::1", "[::1]:8080"),
            ("[::1]8080", "[::1]:8080"),
            ("10.0.0.0/33", "write a network"),
            ("10.0.0.0/8/9", "write a network"),
            ("::ffff:10.0.0.0/104", "IPv4"),
        ] {
            let error = text.parse::<HostRule>().expect_err(text).to_string();
            assert!(error.contains(help), "{text}: {error}");
            assert!(!error.contains("secret") && !error.contains("k=v"), "{error}");
        }
    }

    #[test]
    fn a_rule_without_a_port_grants_those_of_the_schemes() {
        assert!(grants("a.org", "https://a.org/x"));
        assert!(grants("a.org", "https://A.org.:443/x"));
        assert!(grants("a.org", "http://a.org"));
        assert!(!grants("a.org", "http://a.org:443/"));
        assert!(!grants("a.org", "https://a.org:80/"));
        assert!(!grants("a.org", "https://a.org:8443/"));
        assert!(grants("a.org:8443", "https://a.org:8443/"));
        assert!(grants("a.org:8443", "http://a.org:8443/"));
        assert!(!grants("a.org:8443", "https://a.org/"));
        assert!(!grants("a.org", "https://b.a.org/"));
        assert!(!grants("a.org", "https://a.org.evil.com/"));
        assert!(!grants("a.org", "https://a.org@evil.com/"));
    }

    #[test]
    fn a_wildcard_grants_subdomains_at_any_depth() {
        assert!(grants("*.a.org", "https://b.a.org"));
        assert!(grants("*.a.org", "https://c.b.a.org"));
        for other in ["a.org", "ba.org", "b.a.org.evil.com", "evil.com", "10.0.0.1"] {
            assert!(!grants("*.a.org", &format!("https://{other}")), "{other}");
        }
    }

    #[test]
    fn addresses_are_granted_as_such() {
        assert!(grants("127.0.0.1:8080", "http://127.0.0.1:8080/"));
        assert!(grants("127.0.0.1", "http://[::ffff:127.0.0.1]/"));
        assert!(grants("10.0.0.0/8", "https://10.200.3.4/"));
        assert!(!grants("10.0.0.0/8", "https://11.0.0.1/"));
        assert!(!grants("10.0.0.0/8", "https://[::1]/"));
        assert!(grants("[::1]:8080", "http://[::1]:8080/"));
        assert!(!grants("localhost", "http://127.0.0.1/"));
        assert!(!grants("127.0.0.1", "http://localhost/"));
        let address = "10.1.2.3".parse().unwrap();
        assert!(rule("10.0.0.0/8").grants_address(address, true, 443));
        assert!(!rule("10.0.0.0/8:80").grants_address(address, true, 443));
    }

    #[test]
    fn urls_without_a_plain_host_have_no_target() {
        for url in [
            "ftp://a.org/",
            "/path",
            "a.org:80",
            "http://a.org:0/",
            "http://a.org:99999/",
            "http://a.org:/",
            "http://127.1/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://a%2eb/",
            "http://a..b/",
            "http://[fe80::1%25eth0]/",
        ] {
            let Ok(uri) = url.parse() else { continue };
            assert_eq!(Target::of(&uri), None, "{url}");
        }
    }

    #[test]
    fn what_a_task_asks_for_is_compared_with_what_is_granted() {
        let covers = |rules: &str, asked: &str| {
            let rules: Vec<HostRule> = rules.split(' ').map(rule).collect();
            covers(&rules, &rule(asked))
        };
        for rules in ["a.b.org", "a.b.org:443", "*.b.org", "*.org", "x.org a.b.org"] {
            assert!(covers(rules, "a.b.org"), "{rules}");
        }
        for rules in ["b.org", "a.b.org:8443", "*.a.b.org", "c.b.org", "10.0.0.0/8"] {
            assert!(!covers(rules, "a.b.org"), "{rules}");
        }
        assert!(covers("a.b.org", "a.b.org:443"));
        assert!(!covers("a.b.org", "a.b.org:8443"));
        assert!(covers("a.b.org:8443", "a.b.org:8443"));
        assert!(covers("*.b.org:8443", "a.b.org:8443"));
        assert!(!covers("*.b.org", "a.b.org:8443"));
        assert!(covers("*.b.org", "*.b.org"));
        assert!(covers("*.org", "*.b.org"));
        assert!(!covers("*.b.org", "*.org"));
        assert!(!covers("a.b.org", "*.b.org"));
        assert!(covers("10.0.0.0/8", "10.1.0.0/16"));
        assert!(covers("10.0.0.0/8", "10.1.2.3"));
        assert!(!covers("10.1.0.0/16", "10.0.0.0/8"));
    }

    fn name() -> impl Strategy<Value = String> {
        "([a-zA-Z0-9_]([a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?\\.){0,3}[a-zA-Z]{1,6}"
    }

    fn written() -> impl Strategy<Value = String> {
        let host = prop_oneof![
            name(),
            name().prop_map(|name| format!("*.{name}")),
            any::<[u8; 4]>().prop_map(|a| std::net::Ipv4Addr::from(a).to_string()),
            any::<[u8; 16]>().prop_map(|a| format!("[{}]", Ipv6Addr::from(a))),
            (any::<[u8; 4]>(), 0u8..=32)
                .prop_map(|(a, l)| format!("{}/{l}", std::net::Ipv4Addr::from(a))),
        ];
        (host, proptest::option::of(1u16..)).prop_map(|(host, port)| match port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        })
    }

    proptest! {
        #[test]
        fn a_rule_survives_being_shown(text in written()) {
            let rule: HostRule = text.parse().unwrap();
            prop_assert_eq!(rule.to_string().parse::<HostRule>(), Ok(rule.clone()));
            prop_assert!(covers(std::slice::from_ref(&rule), &rule));
        }

        #[test]
        fn no_text_is_too_odd(text in ".{0,40}") {
            if let Ok(rule) = text.parse::<HostRule>() {
                prop_assert_eq!(rule.to_string().parse::<HostRule>(), Ok(rule));
            }
        }

        #[test]
        fn the_rule_that_is_offered_grants(name in name(), tls: bool, port in 1u16..) {
            let scheme = if tls { "https" } else { "http" };
            let target = target(&format!("{scheme}://{name}:{port}/")).unwrap();
            let offered = HostRule::granting(&target);
            prop_assert!(offered.grants(&target));
            prop_assert_eq!(offered.to_string().parse::<HostRule>().unwrap(), offered);
        }
    }
}
