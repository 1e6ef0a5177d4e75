//! `AGENT_ACTIVITY`: the activity of an agent's program. The same, by the server's clock, stands in the status of the
//! agent for dashboards.

use crate::id::CommandId;
use crate::model::lenient;
use crate::model::{Activity, ActivityBasis, ActivityFact, ActivityLane, ActivityState, Question};
use crate::time::WallTime;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// `AGENT_ACTIVITY`, and `activity` of `AGENT_STATUS`. Extension, with `activity`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentActivity {
    /// Which of its commands does it: a terminal, or a run of a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_id: Option<CommandId>,
    /// What it does.
    pub state: ActivityState,
    /// Since when.
    #[serde(
        default,
        deserialize_with = "lenient::time",
        serialize_with = "lenient::write_rfc3339",
        skip_serializing_if = "Option::is_none"
    )]
    pub since: Option<WallTime>,
    /// The fact that shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fact: Option<ActivityFact>,
    /// By which way that came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<ActivityLane>,
    /// When.
    #[serde(
        default,
        deserialize_with = "lenient::time",
        serialize_with = "lenient::write_rfc3339",
        skip_serializing_if = "Option::is_none"
    )]
    pub fact_at: Option<WallTime>,
    /// While it asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Question>,
    /// When this is said, by the clock that the other times are of. Of agents.
    #[serde(
        default,
        deserialize_with = "lenient::time",
        serialize_with = "lenient::write_rfc3339",
        skip_serializing_if = "Option::is_none"
    )]
    pub at: Option<WallTime>,
}

impl AgentActivity {
    /// What an agent says at `at`, or what is said of it.
    pub(crate) fn of(activity: &Activity, at: Option<WallTime>) -> Self {
        let basis = activity.basis.as_ref();
        Self {
            command_id: activity.command.clone(),
            state: activity.state.clone(),
            since: Some(activity.since),
            fact: basis.map(|basis| basis.fact.clone()),
            lane: basis.map(|basis| basis.lane.clone()),
            fact_at: basis.map(|basis| basis.at),
            question: activity.question.clone(),
            at,
        }
    }

    /// The same by the clock of the one who reads it `now`, and within the bounds.
    pub(crate) fn read(self, now: WallTime) -> Activity {
        let said = self.at.unwrap_or(now);
        let here = |then: Option<WallTime>| {
            let then = then.unwrap_or(said);
            let ago = said.unix_millis().saturating_sub(then.unix_millis());
            now.before(Duration::from_millis(u64::try_from(ago).unwrap_or(0)))
        };
        let (since, at) = (here(self.since), here(self.fact_at));
        let lane = self.lane.unwrap_or(ActivityLane::Terminal);
        Activity {
            command: self.command_id,
            since,
            basis: self.fact.map(|fact| ActivityBasis { fact, lane, at }),
            question: match self.state {
                ActivityState::Asking => self.question.map(|question| question.bounded()),
                ActivityState::Working
                | ActivityState::Waiting
                | ActivityState::Writing
                | ActivityState::Quiet
                | ActivityState::Gone
                | ActivityState::Unknown(_) => None,
            },
            state: self.state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::QuestionKind;
    use alloc::string::String;

    fn at(ms: i64) -> WallTime {
        WallTime::from_unix_millis(1_762_041_600_000 + ms)
    }

    fn asks() -> Activity {
        Activity {
            command: Some(CommandId::of_terminal("1")),
            state: ActivityState::Asking,
            since: at(50_000),
            basis: Some(ActivityBasis {
                fact: ActivityFact::Permission,
                lane: ActivityLane::Hook,
                at: at(50_000),
            }),
            question: Some(Question::new(QuestionKind::Permission, "Allow Bash?", ["yes"])),
        }
    }

    #[test]
    fn a_clock_that_is_off_moves_nothing() {
        let said = AgentActivity::of(&asks(), Some(at(60_000)));
        let text = serde_json::to_string(&said).unwrap();
        let read = serde_json::from_str::<AgentActivity>(&text).unwrap();
        assert_eq!(read, said);
        let here = read.read(at(9_000_000));
        assert_eq!(here.since, at(8_990_000));
        assert_eq!(here.basis.map(|basis| basis.at), Some(at(8_990_000)));
        assert_eq!(here.question, asks().question);
    }

    #[test]
    fn what_is_too_long_is_cut_and_what_is_odd_is_read_as_far_as_it_goes() {
        let title: String = core::iter::repeat_n('x', 9999).collect();
        let text = alloc::format!(
            r#"{{"state":"asking","since":"never","question":{{"kind":"riddle","title":"{title}"}},"more":1}}"#
        );
        let read = serde_json::from_str::<AgentActivity>(&text).unwrap().read(at(5));
        assert_eq!(read.since, at(5));
        assert_eq!(read.question.map(|question| question.title.len()), Some(Question::MOST_TITLE));
        let future =
            r#"{"state":"waiting","since":"2099-01-01T00:00:00Z","at":"2026-01-01T00:00:00Z"}"#;
        let read = serde_json::from_str::<AgentActivity>(future).unwrap().read(at(5));
        assert_eq!((read.since, read.question), (at(5), None));
    }
}
