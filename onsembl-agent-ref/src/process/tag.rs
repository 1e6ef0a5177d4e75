//! The number that all processes of a run bear, whatever they shed: the soft limit of file locks (`RLIMIT_LOCKS`), which
//! Linux has not applied since 2.4 and hands on to every child. A session, an environment or a parent of its own rids
//! no process of it. So a daemon is told to be of one of several commands that may have started it.
//!
//! The agent takes the number itself while it starts a run: set on the child, it would be too late for what that has
//! started by then.

use onsembl_protocol::worker::RunTag;

/// This process bears a tag, and so does what it starts.
#[derive(Debug)]
pub(super) struct Tagging {
    #[cfg(target_os = "linux")]
    before: rustix::process::Rlimit,
    tag: RunTag,
}

#[cfg(target_os = "linux")]
impl Tagging {
    /// From now on. `None` if the limits of this process do not allow it: then runs are told apart by the rest.
    pub(super) fn begin() -> Option<Self> {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let before = getrlimit(Resource::Locks);
        // By chance, since an agent within a run has runs of its own.
        let number = u64::try_from(uuid::Uuid::new_v4().as_u128() >> 84).ok()?;
        let fits = before.maximum.is_none_or(|most| number <= most);
        let limit = Rlimit { current: Some(number), maximum: before.maximum };
        if !fits || setrlimit(Resource::Locks, limit).is_err() {
            tracing::debug!("processes of runs bear no tag");
            return None;
        }
        Some(Self { before, tag: RunTag(number) })
    }

    /// No more. What was started bears it.
    pub(super) fn end(self) -> RunTag {
        use rustix::process::{Resource, setrlimit};
        let Self { before, tag } = self;
        if let Err(errno) = setrlimit(Resource::Locks, before) {
            tracing::error!(%errno, "the limit of file locks of this process is not what it was");
        }
        tag
    }
}

/// Only Linux has such a number.
#[cfg(not(target_os = "linux"))]
impl Tagging {
    pub(super) const fn begin() -> Option<Self> {
        None
    }

    pub(super) const fn end(self) -> RunTag {
        self.tag
    }
}
