//! Where a server listens, as people write it.

use std::net::{SocketAddr, ToSocketAddrs as _};

/// Reads `address:port` or `name:port`. A name is looked up now; of its addresses the first of IPv4 is
/// taken, if there is one, as most clients on the same machine try that.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let Ok(port) = port.parse::<u16>() else {
        return Err("write an address and a port, like 127.0.0.1:8080 or localhost:8080".to_owned());
    };
    if host.is_empty() {
        return Err(format!(
            "give the address to listen on: 127.0.0.1:{port} for this machine only, 0.0.0.0:{port} or [::]:{port} for \
             every network"
        ));
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if bare.contains(':') && bare == host {
        return Err(format!("write an IPv6 address in brackets: [{host}]:{port}"));
    }
    let found: Vec<SocketAddr> = (bare, port)
        .to_socket_addrs()
        .map_err(|e| format!("cannot resolve {bare}: {e}; give an address of this machine"))?
        .collect();
    let first = found.iter().find(|a| a.is_ipv4()).or_else(|| found.first()).copied();
    first.ok_or_else(|| format!("{bare} has no address; give an address of this machine"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_with_a_port() {
        let at = |text: &str| listen_address(text).unwrap().to_string();
        assert_eq!(at("127.0.0.1:8080"), "127.0.0.1:8080");
        assert_eq!(at(" [::1]:0 "), "[::1]:0");
        let local = listen_address("localhost:8080").unwrap();
        assert!(local.ip().is_loopback() && local.port() == 8080, "{local}");
    }

    #[test]
    fn what_is_no_place_to_listen_says_what_is() {
        for (text, remedy) in [
            ("8080", "127.0.0.1:8080"),
            (":8080", "0.0.0.0:8080"),
            ("localhost", "localhost:8080"),
            ("::1:8080", "in brackets"),
            ("host.invalid:1", "cannot resolve host.invalid"),
            ("", "127.0.0.1:8080"),
        ] {
            let refused = listen_address(text).unwrap_err();
            assert!(refused.contains(remedy), "{text}: {refused}");
        }
    }
}
