//! Names and addresses of this machine, which are never reached through a proxy.

use std::net::{IpAddr, Ipv4Addr};

/// Names and their addresses as the administrator of this machine wrote them down.
const HOSTS: &str = "/etc/hosts";
/// Most of that file that is read: lists that block advertisements have megabytes.
const MOST_OF_HOSTS: u64 = 4 * 1024 * 1024;

/// Whether this is an address or a name of the machine itself. Blocks for one small file of the system.
pub(super) fn is_meant(host: &str) -> bool {
    match address(host) {
        Some(address) => is_here(address),
        None => is_localhost(host) || hosts().is_some_and(|hosts| is_listed_here(&hosts, host)),
    }
}

/// `localhost`, or a name below it: always this machine (RFC 6761). With or without a dot at its end.
pub(super) fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

fn is_here(address: IpAddr) -> bool {
    // One that is not specified is dialled as this machine: people copy it from where a server listens.
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified()
}

/// An address in any form that the resolver of the system takes: `127.1` and `2130706433` too.
fn address(host: &str) -> Option<IpAddr> {
    host.parse().ok().or_else(|| older_form(host).map(IpAddr::V4))
}

/// One to four numbers, decimal, octal or hexadecimal; the last one fills the rest.
fn older_form(host: &str) -> Option<Ipv4Addr> {
    let number = |part: &str| match part {
        "0" => Some(0),
        _ => match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => match part.strip_prefix('0') {
                Some(digits) => u32::from_str_radix(digits, 8).ok(),
                None => part.parse().ok(),
            },
        },
    };
    let parts: Vec<u32> = host.split('.').map(number).collect::<Option<_>>()?;
    let (last, before) = parts.split_last()?;
    let mut value = 0_u32;
    for (part, shift) in before.iter().zip([24, 16, 8]) {
        value |= u32::from(u8::try_from(*part).ok()?) << shift;
    }
    let rest = match before.len() {
        0 => u32::MAX,
        1 => 0x00ff_ffff,
        2 => 0xffff,
        3 => 0xff,
        _ => return None,
    };
    (*last <= rest).then(|| Ipv4Addr::from(value | last))
}

fn hosts() -> Option<String> {
    use std::io::Read as _;
    let mut text = Vec::new();
    let file = std::fs::File::open(HOSTS).ok()?;
    file.take(MOST_OF_HOSTS).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// Whether the first line that has this name gives it an address of this machine.
fn is_listed_here(hosts: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let addresses = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next()?;
        words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
    });
    let mut addresses = addresses.filter_map(|address| address.parse::<IpAddr>().ok());
    addresses.next().is_some_and(is_here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_here_if_the_list_of_hosts_says_so_first() {
        let hosts = "# 127.0.0.1 commented\n127.0.1.1\tbox.test box # own\n10.0.0.1 far box\n\
                     ::1 six\n10.0.0.2 both\n127.0.0.1 both\nrubbish six\n";
        for here in ["box", "BOX.test", "box.test.", "six"] {
            assert!(is_listed_here(hosts, here), "{here}");
        }
        for not in ["commented", "far", "both", "own", "unknown", ""] {
            assert!(!is_listed_here(hosts, not), "{not}");
        }
    }

    #[test]
    fn older_forms_of_an_address_are_read_as_the_system_does() {
        for (text, address) in [
            ("127.1", [127, 0, 0, 1]),
            ("127.0.1", [127, 0, 0, 1]),
            ("2130706433", [127, 0, 0, 1]),
            ("0x7f000001", [127, 0, 0, 1]),
            ("0177.0.0.1", [127, 0, 0, 1]),
            ("10.65535", [10, 0, 255, 255]),
            ("0", [0, 0, 0, 0]),
        ] {
            assert_eq!(older_form(text), Some(Ipv4Addr::from(address)), "{text}");
        }
        for text in ["", "a", "1.2.3.4.5", "256.1", "1.2.3.256", "08", "127.", "4294967296", "-1"] {
            assert_eq!(older_form(text), None, "{text}");
        }
    }
}
