//! What is granted, and what is said of the rest.

use std::net::{IpAddr, SocketAddr};

use super::Network;
use super::address::Reach;
use super::rule::{Host, HostRule, Target};
use super::trouble::{Code, Trouble};

impl Network {
    /// Checks where a request goes, as far as its URL tells.
    pub(super) fn check(&self, uri: &http::Uri) -> Result<Target, Trouble> {
        let Some(target) = Target::of(uri) else {
            return Err(Trouble::new(Code::Uri, "its URL names no host that can be sent to"));
        };
        // It would be a secret in a place where secrets are not expected, and
        // many a client drops it unseen.
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            let message = "its URL holds a user name: send an `authorization` header instead";
            return Err(Trouble::new(Code::Uri, message));
        }
        if self.rules.iter().any(|rule| rule.grants(&target)) {
            return Ok(target);
        }
        let offered = HostRule::granting(&target);
        Err(Trouble::new(
            Code::Denied,
            format!(
                "The task asked for `{target}`, which is not granted: --allow-host {offered} would \
                 grant it"
            ),
        ))
    }

    /// Of the addresses that a granted name resolves to, those that may be
    /// connected to: public ones, and those that are granted themselves. So a
    /// name that somebody else controls opens nothing within this network.
    pub(super) fn permitted(
        &self,
        target: &Target,
        addresses: &[SocketAddr],
    ) -> Result<Vec<SocketAddr>, Trouble> {
        let permitted: Vec<SocketAddr> = addresses
            .iter()
            .filter(|address| self.permits(target, address.ip()))
            .map(|address| {
                let mut address = *address;
                address.set_port(target.port);
                address
            })
            .collect();
        let Some(first) = addresses.first() else {
            return Err(Trouble::new(Code::Dns, format!("`{}` has no address", name(target))));
        };
        if !permitted.is_empty() {
            return Ok(permitted);
        }
        let address = first.ip().to_canonical();
        let offered = HostRule::granting(&Target {
            tls: target.tls,
            host: Host::Address(address),
            port: target.port,
        });
        Err(Trouble::new(
            Code::AddressDenied,
            format!(
                "The task asked for `{target}`, whose name resolves to {address}, {}: --allow-host \
                 {offered} would grant that as well",
                Reach::of(address).words()
            ),
        ))
    }

    fn permits(&self, target: &Target, address: IpAddr) -> bool {
        let reach = Reach::of(address);
        let granted =
            || self.rules.iter().any(|rule| rule.grants_address(address, target.tls, target.port));
        match &target.host {
            _ if reach == Reach::Public => true,
            Host::Name(name) if reach == Reach::Loopback && is_localhost(name) => true,
            _ => granted(),
        }
    }
}

/// Whether a name means this machine.
pub(super) fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

fn name(target: &Target) -> String {
    match &target.host {
        Host::Name(name) => name.clone(),
        Host::Address(address) => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::network::Limits;

    fn network(rules: &[&str]) -> Network {
        let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        Network::new(rules, Limits::default(), std::sync::Arc::default())
    }

    fn check(rules: &[&str], url: &str) -> Result<Target, Trouble> {
        network(rules).check(&url.parse().unwrap())
    }

    /// The addresses of `url` that are permitted, when it resolves to these.
    fn permitted(rules: &[&str], url: &str, addresses: &[&str]) -> Result<String, Trouble> {
        let network = network(rules);
        let target = network.check(&url.parse().unwrap())?;
        let addresses: Vec<SocketAddr> =
            addresses.iter().map(|a| SocketAddr::new(a.parse().unwrap(), 0)).collect();
        let permitted = network.permitted(&target, &addresses)?;
        Ok(permitted.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_is_not_granted_is_refused_with_the_option_that_grants_it() {
        let error = check(&[], "https://api.foo.com/v1?key=secret").unwrap_err();
        assert_eq!(
            error.message,
            "The task asked for `api.foo.com:443`, which is not granted: --allow-host api.foo.com \
             would grant it"
        );
        let error = check(&["api.foo.com"], "http://api.foo.com:8080/").unwrap_err();
        assert!(error.message.contains("--allow-host api.foo.com:8080 would"), "{error}");
        let error = check(&["localhost"], "http://[::1]:8080/").unwrap_err();
        assert!(error.message.contains("--allow-host [::1]:8080 would"), "{error}");
        assert!(check(&["*.foo.com"], "https://api.foo.com/").is_ok());
    }

    #[test]
    fn a_user_name_in_a_url_is_refused_and_not_repeated() {
        let error = check(&["a.org"], "https://me:secret@a.org/").unwrap_err();
        assert_eq!(error.code, Code::Uri);
        assert!(!error.message.contains("secret"));
    }

    #[test]
    fn a_granted_name_leads_to_public_addresses_only() {
        let a = "https://a.org/";
        assert_eq!(permitted(&["a.org"], a, &["1.1.1.1"]).unwrap(), "1.1.1.1:443");
        assert_eq!(permitted(&["a.org"], a, &["10.0.0.1", "1.1.1.1"]).unwrap(), "1.1.1.1:443");
        for inner in ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::1", "::"] {
            let error = permitted(&["a.org"], a, &[inner]).unwrap_err();
            assert_eq!(error.code, Code::AddressDenied);
            assert!(error.message.contains("`a.org:443`"), "{error}");
            assert!(error.message.contains(&format!("--allow-host {inner} would")), "{error}");
        }
        let error = permitted(&["a.org"], a, &["::ffff:10.1.2.3"]).unwrap_err();
        assert!(error.message.contains("--allow-host 10.1.2.3 would"), "{error}");
        assert_eq!(permitted(&["a.org"], a, &[]).unwrap_err().code, Code::Dns);
    }

    #[test]
    fn an_address_that_is_granted_itself_is_permitted() {
        let grants = ["a.org", "10.0.0.0/8"];
        assert!(permitted(&grants, "https://a.org/", &["10.1.2.3"]).is_ok());
        assert!(permitted(&grants, "https://a.org/", &["::ffff:10.1.2.3"]).is_ok());
        assert!(permitted(&grants, "https://a.org/", &["192.168.1.1"]).is_err());
        let grants = ["a.org:8443", "10.1.2.3"];
        assert!(permitted(&grants, "https://a.org:8443/", &["10.1.2.3"]).is_err());
    }

    #[test]
    fn localhost_is_this_machine() {
        for name in ["localhost", "model.localhost"] {
            let grants = [&*format!("{name}:8080")];
            let url = format!("http://{name}:8080/");
            assert!(permitted(&grants, &url, &["::1", "127.0.0.1"]).is_ok());
            assert!(permitted(&grants, &url, &["10.0.0.1"]).is_err());
        }
        assert!(permitted(&["notlocalhost"], "http://notlocalhost/", &["127.0.0.1"]).is_err());
    }
}
