//! `NO_PROXY`: which servers are reached without a proxy, in the forms in which people write it.
//!
//! Entries stand between commas or white space. Each is a name, with all that is below it and with `.` or `*.`
//! in front or not; an address, an IPv6 one in brackets or not; a network; or `*`. A port behind it restricts it
//! to that port. What an entry matches is for the library to say; here it is brought into the library's form.

use super::url::ServerUrl;
use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// Whether a list excepts this server.
pub(super) fn except(list: &str, server: &ServerUrl) -> bool {
    let entries: Vec<String> = list
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter_map(|entry| plain(entry, server.port()))
        .collect();
    if entries.is_empty() {
        return false;
    }
    // The library takes it for names only.
    if entries.iter().any(|entry| entry == "*") {
        return true;
    }
    let any = Matcher::builder().all("http://any.invalid").no(entries.join(",")).build();
    let host = server.certified_host().to_ascii_lowercase();
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    match format!("http://{host}/").parse::<Uri>() {
        Ok(uri) => any.intercept(&uri).is_none(),
        Err(_) => false,
    }
}

/// An entry without its port and its decoration; `None` if it is about another port, or empty.
fn plain(entry: &str, port: u16) -> Option<String> {
    let (host, of_port) = match entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, behind)) => (address, behind.strip_prefix(':')),
        // More than one colon is in no name, and not in an address with a port.
        None => match entry.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            Some(_) | None => (entry, None),
        },
    };
    if of_port.is_some_and(|of_port| of_port.parse() != Ok(port)) {
        return None;
    }
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    let host = host.strip_prefix("*.").unwrap_or(host);
    (!host.is_empty()).then(|| network(host).unwrap_or_else(|| host.to_owned()))
}

/// `10.1.*` as a network.
fn network(host: &str) -> Option<String> {
    let mut octets: Vec<u8> = Vec::new();
    for part in host.strip_suffix(".*")?.split('.') {
        octets.push(part.parse().ok()?);
    }
    let bits = octets.len() * 8;
    octets.resize(4, 0);
    let [a, b, c, d] = octets.try_into().ok()?;
    Some(format!("{a}.{b}.{c}.{d}/{bits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_excepted(list: &str, server: &str) -> bool {
        except(list, &server.parse().unwrap())
    }

    #[test]
    fn every_form_of_an_entry_excepts_what_it_means() {
        for (list, server) in [
            ("example.com", "wss://example.com"),
            ("example.com", "wss://a.b.example.com:8443/x"),
            (".example.com", "ws://example.com"),
            ("*.example.com", "ws://a.example.com"),
            ("EXAMPLE.com.", "ws://a.Example.COM"),
            ("example.com", "ws://example.com.:80"),
            ("example.com:8443", "wss://example.com:8443"),
            ("example.com:443", "wss://example.com"),
            ("*:8080", "ws://example.org:8080"),
            ("*", "ws://example.org"),
            ("*", "ws://192.0.2.7"),
            ("a.test, *", "ws://[fd00::1]"),
            ("a.test b.test\tc.test", "ws://b.test"),
            ("a.test , b.test", "ws://b.test"),
            ("192.0.2.7", "ws://192.0.2.7:8080"),
            ("192.0.2.7:8080", "ws://192.0.2.7:8080"),
            ("10.0.0.0/8", "ws://10.1.2.3"),
            ("10.*", "ws://10.1.2.3"),
            ("10.1.2.*", "ws://10.1.2.3"),
            ("fd00::/8", "ws://[fd00::1]:80"),
            ("fd00::1", "ws://[fd00::1]:80"),
            ("[fd00::1]", "ws://[fd00::1]"),
            ("[fd00::1]:80", "ws://[fd00::1]"),
            ("fe80::/10", "ws://[fe80::1%25eth0]"),
        ] {
            assert!(is_excepted(list, server), "{list} of {server}");
        }
    }

    #[test]
    fn nothing_else_is_excepted() {
        for (list, server) in [
            ("", "ws://example.com"),
            (" , ,", "ws://example.com"),
            ("example.com", "ws://notexample.com"),
            ("a.example.com", "ws://example.com"),
            ("example.com:8443", "ws://example.com:8444"),
            ("example.com:", "ws://example.com"),
            ("example.com:http", "ws://example.com"),
            ("10.1.*", "ws://10.2.1.1"),
            ("10.0.0.0/8", "ws://11.0.0.1"),
            ("[fd00::1]:81", "ws://[fd00::1]"),
            ("fd00::1", "ws://[fd00::2]"),
            ("[fd00::1", "ws://[fd00::1]"),
        ] {
            assert!(!is_excepted(list, server), "{list} of {server}");
        }
    }
}
