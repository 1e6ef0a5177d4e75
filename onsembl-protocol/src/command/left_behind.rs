//! Runs that an agent's process left when it died: which of them its successor has to look for, and what is known
//! of the
//! others without a look.

use super::fate::Fate;
use crate::id::{CommandId, RunMark};
use alloc::format;
use alloc::string::String;
use serde::{Deserialize, Serialize};

/// A process, as its machine tells it from every other that ever had its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessIdentity {
    /// Its number, which is also that of its group.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did.
    pub started: u64,
    /// The run of the machine.
    pub boot: String,
    /// Who counts its processes: a number means nothing in another container.
    pub namespace: String,
    /// Of the leader of a run: what all processes of that bear, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<RunTag>,
}

/// A number that the system hands on from a process to all that it starts, whatever becomes of their environment,
/// session and parents: on Linux a resource limit that limits nothing. No two runs of a machine have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunTag(pub u64);

/// A run whose end is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct LeftBehind {
    pub command: CommandId,
    /// What its processes bear.
    pub mark: RunMark,
    /// Its leader, if it was written down.
    pub leader: Option<ProcessIdentity>,
}

/// What became of a run that was left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Cleared {
    pub command: CommandId,
    /// Whether its processes are confirmed to have ended.
    pub fate: Fate,
    /// What was found, for people.
    pub why: String,
}

impl LeftBehind {
    /// Whether it has to be looked for among the processes of this machine, which is in the run `boot` and counts
    /// them as
    /// `namespace`, as far as it says so.
    ///
    /// # Errors
    /// It is known without a look what became of it, or no look could show it.
    pub fn searchable(self, boot: Option<&str>, namespace: Option<&str>) -> Result<Self, Cleared> {
        match (&self.leader, boot, namespace) {
            (Some(leader), Some(boot), _) if leader.boot != boot => Err(self
                .cleared(Fate::Ended, "the machine was rebooted since; nothing of it can be left")),
            (Some(leader), _, Some(namespace)) if leader.namespace != namespace => Err(self
                .cleared(
                    Fate::Unknown,
                    "it ran in another container, into which this one cannot see",
                )),
            (_, Some(_), Some(_)) => Ok(self),
            // What cannot be seen may live: a stop must not be called verified over it.
            (_, _, _) => {
                Err(self
                    .cleared(Fate::Unknown, "this system does not show which processes there are"))
            }
        }
    }

    /// What became of it, and why that is known.
    pub fn cleared(self, fate: Fate, why: &str) -> Cleared {
        let started = if self.leader.is_some() { "" } else { "; whether it started is unknown" };
        Cleared { command: self.command, fate, why: format!("{why}{started}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(leader: Option<(&str, &str)>) -> LeftBehind {
        let leader = leader.map(|(boot, namespace)| ProcessIdentity {
            pid: 7,
            started: 1,
            boot: boot.into(),
            namespace: namespace.into(),
            tag: None,
        });
        LeftBehind { command: CommandId::new("c"), mark: RunMark::new("m"), leader }
    }

    #[test]
    fn only_what_may_be_on_this_machine_is_looked_for() {
        let here = (Some("b"), Some("n"));
        let known = |left: LeftBehind, (boot, namespace)| {
            left.searchable(boot, namespace).err().map(|cleared| cleared.fate)
        };
        assert_eq!(known(left(Some(("b", "n"))), here), None);
        assert_eq!(known(left(Some(("a", "n"))), here), Some(Fate::Ended), "it was rebooted");
        assert_eq!(known(left(Some(("b", "m"))), here), Some(Fate::Unknown), "another container");
        assert_eq!(known(left(None), here), None, "its mark may be found");
        for blind in [(None, Some("n")), (Some("b"), None), (None, None)] {
            assert_eq!(known(left(Some(("b", "n"))), blind), Some(Fate::Unknown), "{blind:?}");
        }
    }

    #[test]
    fn of_one_without_a_leader_it_is_not_known_whether_it_started() {
        let cleared = left(None).cleared(Fate::Ended, "none was found");
        assert_eq!(cleared.why, "none was found; whether it started is unknown");
    }
}
