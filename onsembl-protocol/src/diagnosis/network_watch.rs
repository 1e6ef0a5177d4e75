//! Notices that an agent's machine is in another network: its next link is at another address. Decides nothing; what it
//! notices is a finding.

use crate::model::{Cause, Confidence, Evidence, Finding};
use crate::time::Timestamp;
use alloc::string::ToString;
use core::net::IpAddr;
use core::time::Duration;

/// The own address of the latest link, and when that ended. Times are of the clock that runs through sleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetworkWatch {
    local: Option<IpAddr>,
    ended: Option<Timestamp>,
}

impl NetworkWatch {
    /// Knows of no link.
    #[must_use]
    pub(crate) const fn new() -> Self {
        Self { local: None, ended: None }
    }

    /// The link ended.
    pub(crate) fn link_ended(&mut self, now: Timestamp) {
        self.ended = Some(now);
    }

    /// A link was opened, at this address of the own machine if it is over a network. What is found by that, and for
    /// how long it may have been so: since the link before ended.
    pub(crate) fn link_opened(
        &mut self,
        local: Option<IpAddr>,
        now: Timestamp,
    ) -> Option<(Finding, Duration)> {
        let (before, ended) = (self.local, self.ended.take());
        let local = local?;
        self.local = Some(local);
        let before = before.filter(|before| *before != local)?;
        // A server that has addresses of both kinds is dialled at either.
        if before.is_ipv4() != local.is_ipv4() {
            return None;
        }
        let evidence = Evidence::NONE
            .with("address_before", before.to_string())
            .with("address_now", local.to_string());
        let finding = Finding::new(Cause::NetworkChanged, Confidence::High).on(evidence);
        let lasted = ended.map_or(Duration::ZERO, |ended| now.saturating_since(ended));
        Some((finding, lasted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn another_address_of_the_same_kind_is_another_network() {
        let mut watch = NetworkWatch::new();
        let ip = |text: &str| Some(text.parse().unwrap());
        assert_eq!(watch.link_opened(ip("192.168.1.7"), at(0)), None);
        watch.link_ended(at(100));
        assert_eq!(watch.link_opened(ip("192.168.1.7"), at(105)), None);
        watch.link_ended(at(200));
        let (finding, lasted) = watch.link_opened(ip("10.0.0.3"), at(230)).unwrap();
        assert_eq!((finding.cause, lasted), (Cause::NetworkChanged, Duration::from_secs(30)));
        assert_eq!(finding.evidence.text("address_before"), Some("192.168.1.7"));
        assert_eq!(finding.evidence.text("address_now"), Some("10.0.0.3"));
        watch.link_ended(at(300));
        assert_eq!(watch.link_opened(ip("2001:db8::1"), at(301)), None);
        watch.link_ended(at(400));
        assert_eq!(watch.link_opened(None, at(401)), None, "not over a network");
    }
}
