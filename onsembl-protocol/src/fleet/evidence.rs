//! What a presence was decided from, as a store keeps it beside the event, and how a later version reads it back.

use super::row::PresenceRecord;
use crate::diagnosis::{BeatVerdict, Transition};
use crate::id::InstanceId;
use crate::session::Presence;
use crate::time::WallTime;
use alloc::borrow::ToOwned;
use alloc::string::{String, ToString as _};
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

/// Under these names it is read again, also by people.
#[derive(Serialize)]
struct Evidence<'a> {
    presence: Presence,
    since: i64,
    last_heard: Option<i64>,
    impairment: Option<String>,
    store: Option<String>,
    link: Option<u64>,
    instance: &'a Option<InstanceId>,
    beats: &'a Option<BeatVerdict>,
}

impl PresenceRecord {
    /// What it was decided from, as JSON.
    pub fn evidence(&self) -> String {
        let evidence = Evidence {
            presence: self.presence,
            since: self.presence.since.unix_millis(),
            last_heard: self.last_heard.map(WallTime::unix_millis),
            impairment: self.presence.because.impairment.map(|impairment| impairment.to_string()),
            store: self.presence.because.trouble.map(|trouble| trouble.to_string()),
            link: self.link.map(|link| link.0),
            instance: &self.instance,
            beats: &self.beats,
        };
        // Of numbers and words, it cannot fail to be written.
        serde_json::to_string(&evidence).unwrap_or_else(|_| "null".to_owned())
    }
}

impl Transition {
    /// The event of this time that was stored with this evidence; `None` of one that an earlier version wrote.
    pub fn of_evidence(at: WallTime, evidence: &Value) -> Option<Self> {
        let presence = Presence::deserialize(evidence.get("presence")?).ok()?;
        let heard = evidence.get("last_heard").and_then(Value::as_i64);
        let instance = evidence.get("instance").and_then(Value::as_str);
        // Earlier versions wrote none.
        let beats = evidence.get("beats").and_then(|beats| BeatVerdict::deserialize(beats).ok());
        let heard = heard.map(WallTime::from_unix_millis);
        Some(Self { at, presence, heard, instance: instance.map(InstanceId::new), beats })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AgentId, Epoch, LinkId, PresenceVersion};
    use crate::session::{PresenceCause, PresenceStatus, StatusCause};
    use serde_json::json;

    #[test]
    fn what_is_stored_of_a_presence_is_read_back_and_an_earlier_versions_is_not() {
        let at = WallTime::from_unix_millis(9);
        let cause = PresenceCause::ServerRestarted;
        let presence = Presence {
            status: PresenceStatus::Offline,
            since: WallTime::from_unix_millis(7),
            because: StatusCause { cause, impairment: None, trouble: None },
            version: PresenceVersion(3),
            epoch: Epoch(2),
        };
        let record = PresenceRecord {
            agent: AgentId::new("a"),
            presence,
            last_heard: Some(WallTime::from_unix_millis(5)),
            link: Some(LinkId(4)),
            instance: Some(InstanceId::new("i")),
            at,
            beats: None,
        };
        let stored: Value = serde_json::from_str(&record.evidence()).unwrap();
        let shown = ["since", "last_heard", "link", "instance", "impairment", "store", "beats"];
        let shown = shown.map(|name| stored.get(name).unwrap().to_string());
        assert_eq!(shown, ["7", "5", "4", "\"i\"", "null", "null", "null"]);
        let read = Transition::of_evidence(at, &stored).unwrap();
        assert_eq!((read.at, read.presence, read.heard), (at, presence, record.last_heard));
        assert_eq!((read.instance, read.beats), (record.instance, None));
        assert_eq!(Transition::of_evidence(at, &json!({ "since": 7 })), None);
    }
}
