//! Details of links and dials that decide nothing: evidence for later verdicts on an absence.

use onsembl_protocol::model::{Cause, Confidence, Evidence, Finding};
use onsembl_protocol::session::DialFault;
use onsembl_protocol::time::{Now, Timestamp};
use onsembl_transport::{DialError, LinkEnd};
use std::net::IpAddr;
use std::time::Duration;

/// Of the end of a link or of a dial.
#[derive(Debug, Default)]
pub(super) struct Particulars {
    pub(super) fault: Option<DialFault>,
    pub(super) evidence: Evidence,
}

impl Particulars {
    pub(super) fn of_dial(error: &DialError) -> Self {
        Self { fault: Some(error.fault), evidence: error.evidence() }
    }

    pub(super) fn of_link(end: &LinkEnd) -> Self {
        Self { fault: None, evidence: end.evidence() }
    }
}

/// Notices that this machine is in another network: its next link is at another address.
#[derive(Debug, Default)]
pub(super) struct NetworkWatch {
    local: Option<IpAddr>,
    ended: Option<Timestamp>,
}

impl NetworkWatch {
    pub(super) fn on_link_ended(&mut self, now: Now) {
        self.ended = Some(now.boot);
    }

    /// What is found, and since when it may be: since the link before ended.
    pub(super) fn on_link_opened(
        &mut self,
        local: Option<IpAddr>,
        now: Now,
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
        let lasted = ended.map_or(Duration::ZERO, |ended| now.boot.saturating_since(ended));
        Some((finding, lasted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn another_address_of_the_same_kind_is_another_network() {
        let mut watch = NetworkWatch::default();
        let ip = |text: &str| Some(text.parse().unwrap());
        assert_eq!(watch.on_link_opened(ip("192.168.1.7"), at(0)), None);
        watch.on_link_ended(at(100));
        assert_eq!(watch.on_link_opened(ip("192.168.1.7"), at(105)), None);
        watch.on_link_ended(at(200));
        let (finding, lasted) = watch.on_link_opened(ip("10.0.0.3"), at(230)).unwrap();
        assert_eq!((finding.cause, lasted), (Cause::NetworkChanged, Duration::from_secs(30)));
        assert_eq!(finding.evidence.text("address_before"), Some("192.168.1.7"));
        watch.on_link_ended(at(300));
        assert_eq!(watch.on_link_opened(ip("2001:db8::1"), at(301)), None);
        watch.on_link_ended(at(400));
        assert_eq!(watch.on_link_opened(None, at(401)), None, "not over a network");
    }
}
