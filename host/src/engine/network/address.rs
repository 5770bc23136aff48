//! What an address reaches: everyone, or only some.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which machines an address may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// A machine of the public Internet.
    Public,
    /// This machine.
    Loopback,
    /// A machine of this network, or none; in words, with an article.
    Inner(&'static str),
}

impl Reach {
    /// What an address reaches. One that carries an IPv4 address within reaches
    /// what that reaches.
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => of_v4(v4),
            IpAddr::V6(v6) => of_v6(v6),
        }
    }

    /// In words, with an article.
    pub(super) fn words(self) -> &'static str {
        match self {
            Reach::Public => "a public address",
            Reach::Loopback => "an address of this machine",
            Reach::Inner(words) => words,
        }
    }
}

fn of_v4(address: Ipv4Addr) -> Reach {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (127, ..) => Reach::Loopback,
        // 0.0.0.0 is this machine, too, on many systems.
        (0, ..) => Reach::Inner("an unspecified address"),
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => Reach::Inner("a private address"),
        (169, 254, _) => Reach::Inner("a link-local address"),
        (100, 64..=127, _) => Reach::Inner("a provider's private address"),
        (192, 0, 0) | (192, 88, 99) | (198, 18..=19, _) | (240.., ..) => {
            Reach::Inner("a reserved address")
        }
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => {
            Reach::Inner("an address for documentation")
        }
        (224..=239, ..) => Reach::Inner("a multicast address"),
        _ => Reach::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Reach {
    let s = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        of_v4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => Reach::Inner("an unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Loopback,
        // IPv4 in IPv6 form: mapped, translated, compatible (out of use), NAT64,
        // 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] => Reach::Inner("a private address"),
        [0xfc00..=0xfdff, ..] => Reach::Inner("a private address"),
        [0xfe80..=0xfebf, ..] => Reach::Inner("a link-local address"),
        [0xff00..=0xffff, ..] => Reach::Inner("a multicast address"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => {
            Reach::Inner("an address for documentation")
        }
        // Of 2001::/23 the protocols' own (Teredo among them). What lies outside
        // of 2000::/3 is given to nobody.
        [0x2001, 0..=0x1ff, ..] => Reach::Inner("a reserved address"),
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Inner("a reserved address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(address: &str) -> Reach {
        Reach::of(address.parse().unwrap())
    }

    #[test]
    fn public_addresses() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "172.15.255.255",
            "172.32.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "2001:4860:4860::8888",
            "64:ff9b::8.8.8.8",
            "::ffff:8.8.8.8",
        ] {
            assert_eq!(reach(address), Reach::Public, "{address}");
        }
    }

    #[test]
    fn this_machine() {
        for address in [
            "127.0.0.1",
            "127.255.0.3",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::127.0.0.1",
            "2002:7f00:1::",
        ] {
            assert_eq!(reach(address), Reach::Loopback, "{address}");
        }
    }

    #[test]
    fn addresses_within() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "100::1",
            "64:ff9b:1::1",
            "64:ff9b::10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:10.0.0.1",
            "2002:a00:1::",
        ] {
            assert!(matches!(reach(address), Reach::Inner(_)), "{address}");
        }
    }
}
