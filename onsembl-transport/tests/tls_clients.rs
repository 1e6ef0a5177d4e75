//! Whom a client trusts and who it is, however it is told: files, texts, a configuration of rustls; and servers that
//! demand a certificate of it (mutual TLS).
// Clippy's leave for tests ends at their helper functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use onsembl_protocol::session::{DialFailure, DialFault};
use onsembl_transport::tls::rustls::server::WebPkiClientVerifier;
use onsembl_transport::tls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use onsembl_transport::tls::{TlsConfig, TlsError};
use onsembl_transport::websocket::{WebSocketDialer, accept_websocket};
use onsembl_transport::{Dialer as _, DialerError, LinkLimits, ProxyRule};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::error::Error as _;
use std::sync::Arc;
use support::{soon, tcp_port};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn issuer(name: &str) -> Issuer {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Issuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key, as PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    fn of(name: &str, usage: ExtendedKeyUsagePurpose, issuer: &Issuer) -> Self {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap().pem();
        Self { certificate, key: key.serialize_pem() }
    }

    fn client(issuer: &Issuer) -> Self {
        Self::of("agent.test", ExtendedKeyUsagePurpose::ClientAuth, issuer)
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()]
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

fn store(issuer: &Issuer) -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add(CertificateDer::from_pem_slice(issuer.pem().as_bytes()).unwrap()).unwrap();
    store
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A WebSocket server for requires a client certificate of this issuer, and its URL. For each caller it says
/// whether it got
/// in.
async fn demanding(ca: &Issuer, version: &'static rustls::SupportedProtocolVersion) -> Server {
    let own = Pair::of("localhost", ExtendedKeyUsagePurpose::ServerAuth, ca);
    let clients = WebPkiClientVerifier::builder_with_provider(store(ca).into(), provider());
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(own.chain(), own.private_key())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (tcp, address) = tcp_port().await;
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = tcp.accept().await.unwrap();
            match acceptor.accept(stream).into_fallible().await {
                Ok(stream) => {
                    let _link = accept_websocket(stream, "a client", LinkLimits::DEFAULT).await;
                }
                // An alert that is followed by a reset would be lost.
                Err((_, mut stream)) => {
                    let _ = stream.shutdown().await;
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                }
            }
        }
    });
    Server { url: format!("wss://localhost:{}", address.port()), task }
}

struct Server {
    url: String,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    fn dialer(&self, tls: &TlsConfig) -> WebSocketDialer {
        let dialer = WebSocketDialer::new(&self.url, "/ws/agent", tls).unwrap();
        dialer.with_proxy(&ProxyRule::direct()).unwrap()
    }
}

#[tokio::test]
async fn a_server_that_demands_a_certificate_gets_it_from_texts_files_and_rustls() {
    let ca = issuer("Fleet CA");
    let server = demanding(&ca, &rustls::version::TLS13).await;
    let client = Pair::client(&ca);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    };
    let (root, certificate, key) = (
        file("ca.pem", &ca.pem()),
        file("agent.pem", &client.certificate),
        file("agent.key", &client.key),
    );
    let theirs = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store(&ca))
        .with_client_auth_cert(client.chain(), client.private_key())
        .unwrap();
    let told = [
        TlsConfig::pem(ca.pem())
            .with_client_certificate(client.certificate.clone(), client.key.clone()),
        TlsConfig::pem_file(root).with_client_certificate_files(certificate, key),
        TlsConfig::from_rustls(theirs),
    ];
    for tls in &told {
        let dialer = server.dialer(tls);
        let _ = soon(dialer.dial()).await.unwrap_or_else(|e| panic!("{tls:?}: {e}"));
        assert!(dialer.certificate_ends().is_some(), "{tls:?}");
    }
}

#[tokio::test]
async fn without_a_certificate_or_with_one_of_a_stranger_it_is_told_so() {
    let ca = issuer("Fleet CA");
    let strange = Pair::client(&issuer("Somebody else"));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = demanding(&ca, version).await;
        let refused = soon(server.dialer(&TlsConfig::pem(ca.pem())).dial()).await.unwrap_err();
        assert_eq!((refused.failure, refused.fault), (DialFailure::Tls, DialFault::TlsFailed));
        // TLS 1.2 has no alert of its own for it.
        let is_named = refused.detail.contains("requires a client certificate");
        assert!(is_named || version.version == rustls::ProtocolVersion::TLSv1_2, "{refused}");
        let tls = TlsConfig::pem(ca.pem())
            .with_client_certificate(strange.certificate.clone(), strange.key.clone());
        let refused = soon(server.dialer(&tls).dial()).await.unwrap_err();
        assert_eq!(refused.failure, DialFailure::Tls, "{refused}");
    }
}

#[tokio::test]
async fn a_client_certificate_that_was_renewed_on_disk_is_shown_at_the_next_dial() {
    let ca = issuer("Fleet CA");
    let server = demanding(&ca, &rustls::version::TLS13).await;
    let (old, new) = (Pair::client(&issuer("The CA before")), Pair::client(&ca));
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = ["agent.pem", "agent.key"].map(|name| folder.path().join(name));
    let write = |pair: &Pair| {
        std::fs::write(&certificate, &pair.certificate).unwrap();
        std::fs::write(&key, &pair.key).unwrap();
    };
    write(&old);
    let tls = TlsConfig::pem(ca.pem()).with_client_certificate_files(&certificate, &key);
    let dialer = server.dialer(&tls);
    assert_eq!(soon(dialer.dial()).await.unwrap_err().failure, DialFailure::Tls);
    write(&new);
    let _ = soon(dialer.dial()).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_used_is_named_when_the_dialer_is_made() {
    let ca = issuer("Fleet CA");
    let (one, other) = (Pair::client(&ca), Pair::client(&ca));
    let made = |tls: TlsConfig| match WebSocketDialer::new("wss://localhost", "/ws/agent", tls) {
        Err(DialerError::Tls(error)) => error,
        made => panic!("{made:?}"),
    };
    assert!(matches!(made(TlsConfig::pem("nothing")), TlsError::Given { .. }));
    let trusting = || TlsConfig::pem(ca.pem());
    let mixed = trusting().with_client_certificate(one.certificate.clone(), other.key.clone());
    assert!(matches!(made(mixed), TlsError::Identity { .. }));
    let keyless = trusting().with_client_certificate(one.certificate.clone(), "nothing");
    let error = made(keyless);
    assert!(matches!(&error, TlsError::Given { what: "private key", .. }), "{error}");
    let missing = made(TlsConfig::pem_file("/nowhere/ca.pem"));
    let cause = missing.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    assert_eq!(cause.map(std::io::Error::kind), Some(std::io::ErrorKind::NotFound), "{missing}");
}
