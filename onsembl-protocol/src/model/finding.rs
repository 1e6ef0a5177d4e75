//! A statement of what happened: a cause, how sure it is, and on what evidence. And one that an agent made while it
//! was away, with its time.

use super::cause::{Cause, Confidence};
use super::evidence::Evidence;
use super::lenient;
use core::time::Duration;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What happened, how sure that is, and why it is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What happened.
    pub cause: Cause,
    /// How sure that is.
    pub confidence: Confidence,
    /// Its evidence.
    #[serde(default, skip_serializing_if = "Evidence::is_empty")]
    pub evidence: Evidence,
}

impl Finding {
    /// A statement without evidence.
    #[must_use]
    pub const fn new(cause: Cause, confidence: Confidence) -> Self {
        Self { cause, confidence, evidence: Evidence::NONE }
    }

    /// The same on this evidence.
    #[must_use]
    pub fn on(self, evidence: Evidence) -> Self {
        Self { evidence, ..self }
    }
}

/// What an agent tells of a time in which it was away. Ages, because its clock is not the server's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PastFinding {
    /// What it found.
    #[serde(flatten)]
    pub finding: Finding,
    /// How long ago it began.
    #[serde(rename = "agoMs", serialize_with = "write_millis", deserialize_with = "read_millis")]
    pub ago: Duration,
    /// How long it lasted, or from the first time to the last.
    #[serde(
        rename = "lastedMs",
        default,
        serialize_with = "write_millis",
        deserialize_with = "read_millis"
    )]
    pub lasted: Duration,
    /// How often it happened, one after the other.
    #[serde(default = "once", deserialize_with = "read_times")]
    pub times: u32,
}

const fn once() -> u32 {
    1
}

fn write_millis<S: Serializer>(time: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn read_millis<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    lenient::count(d).map(|millis| Duration::from_millis(millis.unwrap_or_default()))
}

fn read_times<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    lenient::count(d).map(|n| u32::try_from(n.unwrap_or(1)).unwrap_or(u32::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_tells_is_read_back_and_what_it_leaves_out_has_its_meaning() {
        let told = PastFinding {
            finding: Finding::new(Cause::NameResolution, Confidence::High)
                .on(Evidence::NONE.with("errno", "EAI_AGAIN")),
            ago: Duration::from_millis(61_000),
            lasted: Duration::from_millis(60_000),
            times: 7,
        };
        let text = serde_json::to_string(&told).unwrap();
        assert_eq!(
            text,
            r#"{"cause":"name-resolution","confidence":"high","evidence":{"errno":"EAI_AGAIN"},"agoMs":61000,"lastedMs":60000,"times":7}"#,
        );
        assert_eq!(serde_json::from_str::<PastFinding>(&text).unwrap(), told);
        let least = r#"{"cause":"of-a-later-version","confidence":"low","agoMs":5}"#;
        let read: PastFinding = serde_json::from_str(least).unwrap();
        assert_eq!((read.finding.cause, read.times), (Cause::Unknown, 1));
    }
}
