//! Proxies that are trusted to say for whom they connect: by the PROXY protocol in front of everything else,
//! or by `X-Forwarded-For` in each request.

use axum::http::HeaderMap;
use ipnet::IpNet;
use ppp::{HeaderResult, v1, v2};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// How every header of version 1 begins, and of version 2.
const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest header that is read: version 1 has 107 bytes at most, version 2 216 without extras.
const LONGEST: usize = 536;
/// From one look at a header that is not whole to the next: at first, and at most. What was peeked at stays readable, so
/// there is nothing to wait for but time; and a peer that says no more than `P` is not to cost more than one that says
/// nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const LOOK_AGAIN_AT_MOST: Duration = Duration::from_secs(1);

/// The pauses between looks at one connection, each twice the one before.
fn pauses() -> impl Iterator<Item = Duration> {
    let next = |pause: &Duration| Some((*pause * 2).min(LOOK_AGAIN_AT_MOST));
    std::iter::successors(Some(LOOK_AGAIN), next)
}

/// The networks of trusted proxies; none is trusted by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    pub(crate) fn new(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// For whom a request of a trusted proxy comes: the last address in `X-Forwarded-For` that is no trusted
    /// proxy itself. What stands before it anybody may have written.
    pub(crate) fn forwarded_for(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let values =
            headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let listed: Vec<_> = values.flat_map(|value| value.split(',')).collect();
        for entry in listed.into_iter().rev() {
            // Something that is no address ends what can be trusted.
            let address = address_of(entry.trim())?;
            if !self.trusts(address) {
                return Some(address);
            }
        }
        None
    }
}

/// With a port or without, IPv6 in brackets or not.
fn address_of(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    let with_port = || bare_socket(entry).map(|address| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

fn bare_socket(entry: &str) -> Option<SocketAddr> {
    entry.parse().ok()
}

/// Takes the PROXY header off a connection of a trusted proxy. `None`: it has none, or it is the proxy's own.
///
/// # Errors
/// The connection ended, or its header cannot be read.
pub(super) async fn take_header(stream: &mut TcpStream) -> io::Result<Option<IpAddr>> {
    let mut seen = [0; LONGEST];
    let (mut before, mut pauses) = (0, pauses());
    loop {
        let length = stream.peek(&mut seen).await?;
        let bytes = seen.get(..length).unwrap_or_default();
        let begins = |header: &[u8]| bytes.starts_with(header) || header.starts_with(bytes);
        if length == 0 || !begins(V1) && !begins(V2) {
            return Ok(None);
        }
        let header = HeaderResult::parse(bytes);
        if let Some((address, length)) = read(&header) {
            let _ = stream.read_exact(seen.get_mut(..length).unwrap_or_default()).await?;
            return Ok(address);
        }
        let is_whole_line = begins(V1) && bytes.windows(2).any(|two| two == b"\r\n");
        if !is_incomplete(&header) || is_whole_line || length == LONGEST {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "its PROXY header cannot be read",
            ));
        }
        if length == before {
            tokio::time::sleep(pauses.next().unwrap_or(LOOK_AGAIN_AT_MOST)).await;
        }
        before = length;
    }
}

/// Whether a connection of another peer begins with a PROXY header: a proxy that is not trusted. Waits for the
/// first bytes.
///
/// # Errors
/// The connection ended.
pub(super) async fn begins_with_header(stream: &TcpStream) -> io::Result<bool> {
    let mut seen = [0; 12];
    let (mut before, mut pauses) = (0, pauses());
    loop {
        let length = stream.peek(&mut seen).await?;
        let bytes = seen.get(..length).unwrap_or_default();
        if bytes.starts_with(V1) || bytes.starts_with(V2) {
            return Ok(true);
        }
        let may_become = |header: &[u8]| header.starts_with(bytes);
        if length == 0 || !may_become(V1) && !may_become(V2) {
            return Ok(false);
        }
        if length == before {
            tokio::time::sleep(pauses.next().unwrap_or(LOOK_AGAIN_AT_MOST)).await;
        }
        before = length;
    }
}

/// The address in a whole header, and how long the header is.
fn read(header: &HeaderResult<'_>) -> Option<(Option<IpAddr>, usize)> {
    match header {
        HeaderResult::V1(Ok(header)) => {
            let address = match header.addresses {
                v1::Addresses::Tcp4(four) => Some(IpAddr::V4(four.source_address)),
                v1::Addresses::Tcp6(six) => Some(IpAddr::V6(six.source_address)),
                v1::Addresses::Unknown => None,
            };
            Some((address, header.header.len()))
        }
        HeaderResult::V2(Ok(header)) => {
            let address = match header.addresses {
                v2::Addresses::IPv4(four) => Some(IpAddr::V4(four.source_address)),
                v2::Addresses::IPv6(six) => Some(IpAddr::V6(six.source_address)),
                v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
            };
            Some((address.filter(|_| header.command == v2::Command::Proxy), header.len()))
        }
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => None,
    }
}

fn is_incomplete(header: &HeaderResult<'_>) -> bool {
    use ppp::PartialResult as _;
    header.is_incomplete()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    fn trusted() -> TrustedProxies {
        TrustedProxies::new(&["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
    }

    fn forwarded(values: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        trusted().forwarded_for(&headers).map(|address| address.to_string())
    }

    #[test]
    fn the_last_address_that_is_not_a_trusted_proxys_counts() {
        assert_eq!(forwarded(&["203.0.113.9"]).as_deref(), Some("203.0.113.9"));
        assert_eq!(forwarded(&["6.6.6.6, 203.0.113.9, 10.1.1.1"]).as_deref(), Some("203.0.113.9"));
        assert_eq!(forwarded(&["6.6.6.6", "203.0.113.9:443"]).as_deref(), Some("203.0.113.9"));
        assert_eq!(forwarded(&["[2001:db8::1]:80, fd00::1"]).as_deref(), Some("2001:db8::1"));
        assert_eq!(forwarded(&["6.6.6.6, unknown"]), None, "what is before it anybody wrote");
        assert_eq!(forwarded(&["10.1.1.1"]), None);
        assert_eq!(forwarded(&[]), None);
    }

    /// Until its head is late.
    #[test]
    fn a_connection_that_says_the_beginning_of_a_header_is_looked_at_a_few_times() {
        let mut waited = Duration::ZERO;
        let looks = pauses().take_while(|pause| {
            waited += *pause;
            waited < Duration::from_secs(10)
        });
        assert!((10..20).contains(&looks.count()));
    }

    async fn taken(parts: &[&[u8]]) -> (io::Result<Option<IpAddr>>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        peer.set_nodelay(true).unwrap();
        let say = async move {
            for part in parts {
                peer.write_all(part).await.unwrap();
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        };
        let ((), address) = tokio::join!(say, take_header(&mut stream));
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await.unwrap();
        (address, rest)
    }

    #[tokio::test]
    async fn a_header_is_taken_off_whole_or_in_pieces_and_nothing_else_is() {
        let whole = b"PROXY TCP4 203.0.113.9 10.0.0.1 5000 80\r\nGET / HTTP/1.1\r\n\r\n";
        let (address, rest) = taken(&[whole]).await;
        assert_eq!(address.unwrap().unwrap().to_string(), "203.0.113.9");
        assert_eq!(rest, b"GET / HTTP/1.1\r\n\r\n");
        let (address, rest) = taken(&[b"PRO", b"XY TCP4 203.0.113.9 10.0.0.1 5000 80\r\nX"]).await;
        assert_eq!(address.unwrap().unwrap().to_string(), "203.0.113.9");
        assert_eq!(rest, b"X");
        let (address, rest) = taken(&[b"GET /healthz HTTP/1.1\r\n\r\n"]).await;
        assert_eq!((address.unwrap(), rest.len()), (None, 25));
        assert!(taken(&[b"PROXY TCP4 nonsense\r\n"]).await.0.is_err());
        let mut second = V2.to_vec();
        second.extend([0x21, 0x11, 0, 12, 203, 0, 113, 9, 10, 0, 0, 1, 0x13, 0x88, 0, 80, b'Y']);
        let (address, rest) = taken(&[&second]).await;
        assert_eq!(address.unwrap().unwrap().to_string(), "203.0.113.9");
        assert_eq!(rest, b"Y");
    }

    #[tokio::test]
    async fn a_header_of_a_proxy_that_is_not_trusted_is_known_by_its_beginning() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cases: [(&[&[u8]], bool); 7] = [
            (&[b"PROXY TCP4 1.2.3.4"], true),
            (&[b"PRO", b"XY ", b"x"], true),
            (&[V2], true),
            (&[b"PUT / HTTP/1.1\r\n"], false),
            (&[b"P", b"OST / HTTP/1.1\r\n"], false),
            (&[b"\r\n", b"GET / HTTP/1.1\r\n"], false),
            (&[], false),
        ];
        for (parts, begins) in cases {
            let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let say = async move {
                for part in parts {
                    peer.write_all(part).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(30)).await;
                }
            };
            let ((), found) = tokio::join!(say, begins_with_header(&stream));
            assert_eq!(found.unwrap(), begins, "{parts:?}");
        }
    }
}
