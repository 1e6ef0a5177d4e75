//! From a host name to addresses, by the resolver of the system, and what its refusal means.

use super::this_machine;
use crate::link::DialError;
use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};
use onsembl_protocol::session::{DialFailure, DialFault};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Where the name servers of this machine are listed.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Most of them that are named: the resolver of the system asks no more.
const MOST_SERVERS: usize = 3;

/// The addresses of `host`. `whose` says whose name it is, as the end of the phrase "cannot look up HOST".
pub(super) async fn look_up(
    host: &str,
    port: u16,
    whose: &str,
) -> Result<Vec<SocketAddr>, DialError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    // The resolver of the system may know neither a name below it nor the dot.
    let name = if this_machine::is_localhost(host) { "localhost" } else { host }.to_owned();
    let asked = tokio::task::spawn_blocking(move || ask(&name, port)).await;
    let (fault, said) = match asked {
        Ok(Ok(found)) if !found.is_empty() => return Ok(found),
        Ok(Ok(_)) => (DialFault::NameWithoutAddress, String::new()),
        Ok(Err(error)) => meaning(error),
        Err(error) => (DialFault::NameFailed, error.to_string()),
    };
    let said = if said.is_empty() { said } else { format!(": {said}") };
    let text = format!("{host}{whose}{said}{}", asked_of());
    Err(DialError::new(DialFailure::Unreachable, text).with_fault(fault))
}

/// Blocks, for as long as the resolver likes.
fn ask(host: &str, port: u16) -> Result<Vec<SocketAddr>, LookupError> {
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let port = port.to_string();
    let found = getaddrinfo(Some(host), Some(&port), Some(hints))?;
    Ok(found.filter_map(Result::ok).map(|info| info.sockaddr).collect())
}

/// What a refusal of the resolver means, and its own words.
fn meaning(error: LookupError) -> (DialFault, String) {
    let fault = match error.kind() {
        LookupErrorKind::NoName => DialFault::NameUnknown,
        LookupErrorKind::NoData => DialFault::NameWithoutAddress,
        // What a name server answered that cannot answer (SERVFAIL, REFUSED) is the same to the resolver as no answer.
        LookupErrorKind::Again => DialFault::NameUnanswered,
        LookupErrorKind::Badflags
        | LookupErrorKind::Fail
        | LookupErrorKind::Family
        | LookupErrorKind::Socktype
        | LookupErrorKind::Service
        | LookupErrorKind::Memory
        | LookupErrorKind::System
        | LookupErrorKind::Unknown
        | LookupErrorKind::IO => DialFault::NameFailed,
    };
    let error = io::Error::from(error);
    let fault = if is_without_descriptors(&error) { DialFault::OutOfDescriptors } else { fault };
    let said = error.to_string();
    let said = said.strip_prefix("failed to lookup address information: ").unwrap_or(&said);
    (fault, said.to_owned())
}

/// Whether this process or this machine has no descriptor left.
pub(super) fn is_without_descriptors(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// The name servers that this machine asks, as the end of a sentence; empty if none are listed. Blocks for one
/// small file of the system.
pub(super) fn asked_of() -> String {
    let conf = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    let servers = name_servers(&conf);
    match servers.len() {
        0 => String::new(),
        1 => format!(" (name server {})", servers.join(", ")),
        _ => format!(" (name servers {})", servers.join(", ")),
    }
}

fn name_servers(conf: &str) -> Vec<&str> {
    // A text that is no address is not to stand in a log.
    let is_address =
        |text: &&str| text.split('%').next().is_some_and(|a| a.parse::<IpAddr>().is_ok());
    conf.lines().filter_map(name_server).filter(is_address).take(MOST_SERVERS).collect()
}

fn name_server(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    (words.next() == Some("nameserver")).then(|| words.next()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_resolver_says_is_told_apart() {
        // The numbers of getaddrinfo on this system.
        let fault = |number| meaning(LookupError::new(number)).0;
        assert_eq!(fault(-2), DialFault::NameUnknown);
        assert_eq!(fault(-3), DialFault::NameUnanswered);
        assert_eq!(fault(-4), DialFault::NameFailed);
        assert_eq!(fault(-5), DialFault::NameWithoutAddress);
        let (_, said) = meaning(LookupError::new(-2));
        assert_eq!(said, "Name or service not known");
        let full = io::Error::from_raw_os_error(24);
        assert_eq!(meaning(full.into()).0, DialFault::OutOfDescriptors);
    }

    #[test]
    fn name_servers_are_those_of_the_file() {
        let conf = "# nameserver 10.0.0.9\nsearch x\nnameserver 10.0.0.1\n nameserver\tfe80::1%eth0 \n\
                    nameserver evil\u{1b}\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n";
        assert_eq!(name_servers(conf), ["10.0.0.1", "fe80::1%eth0", "10.0.0.2"]);
        assert!(name_servers("").is_empty());
    }

    #[tokio::test]
    async fn an_address_needs_no_look_up() {
        let found = look_up("::1", 7, "").await.unwrap();
        assert_eq!(found, ["[::1]:7".parse().unwrap()]);
    }
}
