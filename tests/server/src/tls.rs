//! Certificates made on the spot, and TLS with them.

use std::error::Error;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Names that every good certificate has.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What the server shows to its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Certificate {
    /// One that is right: of the CA, valid, with all names.
    #[default]
    Good,
    /// One whose time is over.
    Expired,
    /// One for another name, `elsewhere.test`.
    WrongName,
    /// One that signed itself: the CA did not.
    SelfSigned,
}

/// TLS of a server, and the CA to be trusted for it.
pub struct Tls {
    /// What takes connections.
    pub acceptor: TlsAcceptor,
    /// The CA's certificate, as PEM.
    pub ca: String,
}

impl Tls {
    /// With a new CA, and a certificate of it for these names besides the local ones.
    pub fn new(kind: Certificate, more: &[String], http2: bool) -> Result<Self, Box<dyn Error>> {
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, "tigerflow test CA");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_key = KeyPair::generate()?;
        let ca_pem = ca.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(ca, ca_key);

        let names = match kind {
            Certificate::WrongName => vec!["elsewhere.test".to_owned()],
            _ => NAMES.into_iter().map(str::to_owned).chain(more.iter().cloned()).collect(),
        };
        let mut leaf = CertificateParams::new(names)?;
        leaf.distinguished_name.push(DnType::CommonName, "tigerflow test server");
        if kind == Certificate::Expired {
            leaf.not_after = rcgen::date_time_ymd(2001, 1, 1);
        }
        let key = KeyPair::generate()?;
        let leaf = match kind {
            Certificate::SelfSigned => leaf.self_signed(&key)?,
            _ => leaf.signed_by(&key, &issuer)?,
        };

        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )?;
        config.alpn_protocols = match http2 {
            true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), ca: ca_pem })
    }
}
