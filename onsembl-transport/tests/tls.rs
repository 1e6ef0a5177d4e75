//! TLS on real sockets: `wss` works, trusts only what it was told to, and never falls back.
// Clippy's leave for tests ends at their helper functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use onsembl_protocol::session::DialFailure;
use onsembl_transport::secret::Secret;
use onsembl_transport::tls::{Reloaded, ServerTls, TlsRoots};
use onsembl_transport::websocket::{WebSocketDialer, WebSocketListener};
use onsembl_transport::{Dialer, Frame, LinkLimits, Listener, ProxyRule};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use support::*;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

struct Files {
    dir: TempDir,
}

impl Files {
    /// A fresh certificate for `name`, and its key.
    fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        std::fs::write(dir.path().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn server(&self) -> ServerTls {
        ServerTls::from_pem_files(self.path("cert.pem"), self.path("key.pem")).unwrap()
    }

    fn dialer(&self, url: &str) -> WebSocketDialer {
        WebSocketDialer::new(url, "/ws/agent", TlsRoots::Pem(self.path("cert.pem")))
            .unwrap()
            .with_token(Secret::new("swordfish"))
    }
}

async fn listener(tls: ServerTls) -> (WebSocketListener, SocketAddr) {
    let (tcp, address) = tcp_port().await;
    (WebSocketListener::new(tcp, Some(tls), LinkLimits::DEFAULT), address)
}

#[tokio::test]
async fn wss_carries_large_messages_both_ways_and_closes_in_order() {
    for scheme in ["wss", "https"] {
        let files = Files::new("localhost");
        let (mut listener, address) = listener(files.server()).await;
        let dialer = files.dialer(&format!("{scheme}://localhost:{}", address.port()));
        let (client, server) = soon(async { tokio::join!(dialer.dial(), listener.accept()) }).await;
        let mut links = [client.unwrap(), server.unwrap()];
        let message = "x".repeat(1 << 20);
        for _ in 0..2 {
            let [from, to] = &mut links;
            let send = async {
                from.writer.send(Frame::Text(message.clone())).await.unwrap();
                from.writer.flush().await.unwrap();
            };
            let ((), received) = tokio::join!(soon(send), text(to));
            assert!(received == message);
            links.reverse();
        }
        use onsembl_protocol::close::{CloseCause, CloseReason};
        let [mut client, mut server] = links;
        server.writer.close(CloseCause::Replaced).await.unwrap();
        let (seen, own) = tokio::join!(end(&mut client), end(&mut server));
        assert_eq!(seen.reason, CloseReason::peer(Some(CloseCause::Replaced.code())));
        assert_eq!(own.reason, CloseReason::local(CloseCause::Replaced));
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_or_for_another_name_is_refused() {
    let (trusted, other) = (Files::new("localhost"), Files::new("localhost"));
    let misnamed = Files::new("elsewhere.example");
    for (server, roots) in [(&other, &trusted), (&misnamed, &misnamed)] {
        let (mut listener, address) = listener(server.server()).await;
        let accepting = tokio::spawn(async move { listener.accept().await });
        let dialer = roots.dialer(&format!("wss://localhost:{}", address.port()));
        let refused = soon(dialer.dial()).await.unwrap_err();
        assert_eq!(refused.failure, DialFailure::Tls, "{refused}");
        assert!(refused.to_string().contains("certificate"), "{refused}");
        accepting.abort();
    }
}

#[tokio::test]
async fn a_plaintext_server_gets_no_byte_of_a_token_meant_for_tls() {
    let files = Files::new("localhost");
    for greeting in ["", "HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1.1 101 Switching\r\n\r\n"] {
        let (tcp, address) = tcp_port().await;
        let dialer = files.dialer(&format!("wss://localhost:{}", address.port()));
        let server = async {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let mut got = vec![0; 64];
            stream.read_exact(&mut got).await.unwrap();
            stream.write_all(greeting.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            // The client may reset the connection; what came before that counts.
            let _ = stream.read_to_end(&mut got).await;
            got
        };
        let (got, refused) = soon(async { tokio::join!(server, dialer.dial()) }).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.failure, DialFailure::Tls, "{refused}");
        assert_eq!(got[0], 0x16, "not a TLS handshake");
        let got = String::from_utf8_lossy(&got);
        assert!(!got.contains("swordfish") && !got.contains("GET "), "{got}");
        // And it does not come back without TLS either.
        assert!(tokio::time::timeout(Duration::from_millis(50), tcp.accept()).await.is_err());
    }
}

#[tokio::test]
async fn a_plaintext_client_does_not_get_into_a_tls_server() {
    let files = Files::new("localhost");
    let (mut listener, address) = listener(files.server()).await;
    let accepting = tokio::spawn(async move { listener.accept().await });
    let refused = soon(dialer(&format!("ws://{address}")).dial()).await.unwrap_err();
    assert!(
        matches!(refused.failure, DialFailure::NotAServer(0) | DialFailure::Unreachable),
        "{refused}"
    );
    accepting.abort();
}

#[test]
fn unusable_files_are_named() {
    let (files, other) = (Files::new("localhost"), Files::new("localhost"));
    let (cert, key) = (files.path("cert.pem"), files.path("key.pem"));
    let server =
        |cert: PathBuf, key: PathBuf| ServerTls::from_pem_files(cert, key).unwrap_err().to_string();
    std::fs::write(files.path("empty.pem"), "nothing in here").unwrap();
    std::fs::write(
        files.path("garbled.pem"),
        "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    for (shown, name) in [
        (server(files.path("missing.pem"), key.clone()), "missing.pem"),
        (server(files.path("empty.pem"), key.clone()), "empty.pem holds no certificate"),
        (server(files.path("garbled.pem"), key.clone()), "garbled.pem"),
        (server(cert.clone(), files.path("empty.pem")), "empty.pem holds no private key"),
        (server(cert.clone(), cert.clone()), "cert.pem holds no private key"),
        (server(cert.clone(), other.path("key.pem")), "key.pem"),
    ] {
        assert!(shown.contains(name), "{shown:?} does not contain {name:?}");
    }
    for name in ["missing.pem", "empty.pem", "garbled.pem"] {
        let roots = TlsRoots::Pem(files.path(name));
        let shown = WebSocketDialer::new("wss://localhost", "/", &roots).unwrap_err().to_string();
        assert!(shown.contains(name), "{shown}");
        WebSocketDialer::new("ws://localhost", "/", &roots).expect("no TLS, no roots");
    }
}

#[test]
fn files_that_every_user_can_write_are_not_used() {
    let files = Files::new("localhost");
    let set = |name: &str, mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(files.path(name), mode).unwrap();
    };
    let tls = files.server();
    for name in ["cert.pem", "key.pem"] {
        set(name, 0o666);
        let refused = ServerTls::from_pem_files(files.path("cert.pem"), files.path("key.pem"));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(name) && refused.contains("chmod go-w"), "{refused}");
        assert!(tls.reload().is_err(), "the pair in use stays in use");
        // Volumes of containers belong to a group.
        set(name, 0o664);
        let _ = files.server();
        set(name, 0o600);
    }
    set("cert.pem", 0o646);
    let roots = TlsRoots::Pem(files.path("cert.pem"));
    let refused = WebSocketDialer::new("wss://localhost", "/", &roots).unwrap_err().to_string();
    assert!(refused.contains("cert.pem (mode 0646)"), "{refused}");
}

/// The serial of a certificate is not at hand; whom a client trusts tells two of them apart.
async fn shakes_hands(files: &Files, tls: &ServerTls) -> bool {
    let (mut listener, address) = listener(tls.clone()).await;
    let dialer = files.dialer(&format!("wss://localhost:{}", address.port()));
    let serving = tokio::spawn(async move { listener.accept().await });
    let dialled = soon(dialer.dial()).await;
    serving.abort();
    dialled.is_ok()
}

#[tokio::test]
async fn a_pair_that_was_renewed_on_disk_is_taken_and_one_that_is_unusable_is_not() {
    let (live, newer) = (Files::new("localhost"), Files::new("localhost"));
    let first = live.path("cert.pem");
    let old = Files::new("localhost");
    std::fs::copy(&first, old.path("cert.pem")).unwrap();
    let tls = live.server();
    assert_eq!(tls.reload_if_changed().unwrap(), Reloaded::Unchanged);
    assert!(shakes_hands(&old, &tls).await);

    // The certificate is there, its key is not yet.
    std::fs::copy(newer.path("cert.pem"), live.path("cert.pem")).unwrap();
    let refused = tls.reload_if_changed().unwrap_err().to_string();
    assert!(refused.contains("cert.pem") && refused.contains("key.pem"), "{refused}");
    assert!(shakes_hands(&old, &tls).await, "the old pair stays in use");
    assert_eq!(tls.reload_if_changed().unwrap(), Reloaded::Unchanged, "said once");

    std::fs::copy(newer.path("key.pem"), live.path("key.pem")).unwrap();
    assert_eq!(tls.reload_if_changed().unwrap(), Reloaded::Renewed);
    assert!(shakes_hands(&newer, &tls).await);
    assert!(!shakes_hands(&old, &tls).await);
    std::fs::write(live.path("key.pem"), "no key").unwrap();
    assert!(tls.reload().is_err());
    assert!(shakes_hands(&newer, &tls).await);
}

/// One that has the length and the time of the old one, as programs write it that keep times.
#[tokio::test]
async fn a_pair_is_taken_for_another_if_only_the_file_is() {
    let files = Files::new("localhost");
    let tls = files.server();
    let (path, copy) = (files.path("cert.pem"), files.path("copy.pem"));
    std::fs::copy(&path, &copy).unwrap();
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::File::options().write(true).open(&copy).unwrap().set_modified(time).unwrap();
    std::fs::rename(&copy, &path).unwrap();
    assert_eq!(tls.reload_if_changed().unwrap(), Reloaded::Renewed);
}

/// A front that speaks HTTP/2 and nothing else.
#[tokio::test]
async fn a_server_without_http_1_1_is_told_from_one_without_tls() {
    let files = Files::new("localhost");
    let chain = CertificateDer::pem_file_iter(files.path("cert.pem")).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(files.path("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (tcp, address) = tcp_port().await;
    let dialer = files.dialer(&format!("wss://localhost:{}", address.port()));
    let serving = async {
        let (stream, _) = tcp.accept().await.unwrap();
        assert!(TlsAcceptor::from(Arc::new(config)).accept(stream).await.is_err());
    };
    let (refused, ()) = tokio::join!(soon(dialer.dial()), serving);
    let refused = refused.unwrap_err();
    assert_eq!(refused.failure, DialFailure::Tls);
    assert!(refused.detail.contains("not offer HTTP/1.1 (ALPN)"), "{refused}");
}

#[tokio::test]
async fn a_ca_file_that_was_renewed_on_disk_is_taken_at_the_next_dial() {
    let (server, client) = (Files::new("localhost"), Files::new("localhost"));
    let (mut listener, address) = listener(server.server()).await;
    let dialer = client.dialer(&format!("wss://localhost:{}", address.port()));
    let serving = tokio::spawn(async move {
        loop {
            let _ = listener.accept().await;
        }
    });
    let refused = soon(dialer.dial()).await.unwrap_err();
    assert_eq!(refused.failure, DialFailure::Tls);
    std::fs::write(client.path("cert.pem"), "no certificate").unwrap();
    assert_eq!(soon(dialer.dial()).await.unwrap_err().failure, DialFailure::Tls);
    std::fs::copy(server.path("cert.pem"), client.path("cert.pem")).unwrap();
    let _ = soon(dialer.dial()).await.unwrap();
    serving.abort();
}

#[tokio::test]
async fn wss_goes_through_a_proxy_that_sees_nothing_of_it() {
    let files = Files::new("control.invalid");
    let (mut listener, server) = listener(files.server()).await;
    let (tcp, proxy) = tcp_port().await;
    let relay = async {
        let (mut stream, _) = tcp.accept().await.unwrap();
        let connect = read_head(&mut stream).await;
        assert!(connect.starts_with("CONNECT control.invalid:443 HTTP/1.1"), "{connect}");
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let mut onward = tokio::net::TcpStream::connect(server).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
    };
    let rule = ProxyRule::through(&format!("http://{proxy}")).unwrap();
    let dialer = files.dialer("https://control.invalid").with_proxy(&rule).unwrap();
    let links = async { tokio::join!(dialer.dial(), listener.accept()) };
    let (client, accepted) = tokio::select! {
        links = soon(links) => links,
        () = relay => panic!("the relay ended"),
    };
    let _ = (client.unwrap(), accepted.unwrap());
}
