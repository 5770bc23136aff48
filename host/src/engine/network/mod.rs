//! The network, as far as the user grants it: a real HTTP client behind
//! `wasi:http`.
//!
//! Every request passes three places, and none of them trusts another:
//! - `policy` checks scheme, host and port against the rules of `--allow-host`;
//! - `connect` resolves the name, checks each address, and connects to permitted
//!   ones only. The addresses that were checked are those that are used;
//! - `client` sends, with limits on time and size.
//!
//! Redirects go to the guest, which may follow them with a request of its own:
//! each hop is checked. Raw sockets are refused (`sockets`).

mod address;
mod body;
mod client;
mod connect;
mod errors;
mod hooks;
mod origin;
mod policy;
mod rule;
mod sockets;
#[cfg(test)]
mod tests;
mod trouble;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use tokio::sync::Semaphore;

use super::Notices;

pub use self::rule::{HostRule, HostRuleError, covers};

pub(super) use self::hooks::link_concurrent;
pub(super) use self::hooks::{Http, link};

/// Fewest and most connections at once, in use or kept for the next request.
const LEAST_CONNECTIONS: usize = 16;
const MOST_CONNECTIONS: usize = 16_384;

/// How long requests may take, and how much they may bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most time until a connection is there, TLS included.
    pub connect: Duration,
    /// Most time without progress: until the response begins, once the request
    /// is sent, and between two parts of its body.
    pub request_timeout: Duration,
    /// Most bytes of a response's body.
    pub response_limit: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect: Duration::from_secs(30),
            request_timeout: Duration::from_secs(5 * 60),
            response_limit: 1 << 30,
        }
    }
}

/// What the instances of a run may reach over the network, and what they share
/// for it. It costs nothing until a request is permitted.
pub struct Network {
    rules: Vec<HostRule>,
    limits: Limits,
    /// What was told already.
    notices: Arc<Notices>,
    /// TLS with the system's certificates, or why there is none.
    tls: OnceLock<Result<Arc<rustls::ClientConfig>, String>>,
    /// The proxies that the environment names.
    proxies: OnceLock<Result<Matcher, String>>,
    /// A permit for each connection. Each takes one of the process's files.
    connections: OnceLock<Arc<Semaphore>>,
    /// What names resolve to, in place of the system's answer.
    #[cfg(test)]
    names: std::collections::HashMap<String, Vec<std::net::IpAddr>>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network")
            .field("rules", &self.rules)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Network {
    /// What these rules grant.
    /// `notices`: what was told of the task already.
    pub fn new(rules: Vec<HostRule>, limits: Limits, notices: Arc<Notices>) -> Self {
        Network {
            rules,
            limits,
            notices,
            tls: OnceLock::new(),
            proxies: OnceLock::new(),
            connections: OnceLock::new(),
            #[cfg(test)]
            names: std::collections::HashMap::new(),
        }
    }

    /// How long requests may take, and how much they may bring.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Nothing.
    pub fn none() -> Self {
        Network::new(Vec::new(), Limits::default(), Arc::default())
    }

    /// Whether anything is granted.
    pub fn is_granted(&self) -> bool {
        !self.rules.is_empty()
    }

    /// The proxies that the environment names, or what is wrong with them.
    fn proxies(&self) -> &Result<Matcher, String> {
        self.proxies.get_or_init(connect::proxies)
    }

    /// Permits for connections: for a quarter of the files that the process may
    /// open, as files need the rest.
    fn connections(&self) -> Arc<Semaphore> {
        let permits = || {
            let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
            let share = usize::try_from(files.unwrap_or(u64::MAX) / 4).unwrap_or(usize::MAX);
            Arc::new(Semaphore::new(share.clamp(LEAST_CONNECTIONS, MOST_CONNECTIONS)))
        };
        Arc::clone(self.connections.get_or_init(permits))
    }

    /// TLS with the system's certificates, read when they are first needed.
    fn tls(&self) -> Result<Arc<rustls::ClientConfig>, String> {
        self.tls.get_or_init(connect::system_tls).clone()
    }
}
