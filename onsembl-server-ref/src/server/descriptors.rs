//! How many file descriptors this process may have.

use rustix::process::{Resource, getrlimit, setrlimit};

/// What the operating system allows now.
pub(super) fn allowed() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the limit on file descriptors to what the process may have at most, and says what it is then.
/// Most systems start programs with 1,024, which is for those that use `select`; each agent and each dashboard
/// needs one. Call it once, before [`Server::start`](super::Server::start): the bounds on connections are made
/// from it.
///
/// # Errors
/// The operating system does not allow it; the limit is as it was.
pub fn raise_descriptor_limit() -> std::io::Result<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(allowed())
}
