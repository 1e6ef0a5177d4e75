//! What is judged of this machine: the state directory, its copies, its disk, descriptors.

use super::super::observed::{Descriptors, Observed, Running, State};
use super::{Check, LEAST_DESCRIPTORS, LEAST_DISK, LEAST_FILES, found};

pub(super) fn second(seen: &Observed) -> Check {
    const CHECK: &str = "second-instance";
    let found = match found(seen) {
        Ok(found) => found,
        Err(why) => return Check::skip(CHECK, why),
    };
    const APART: &str = "give each process a state directory of its own: empty that of the copy, and start it again";
    if !found.copies.is_empty() {
        let list: Vec<String> =
            found.copies.iter().map(|path| path.display().to_string()).collect();
        return Check::fail(CHECK, format!("the same key is in {}", list.join(", ")), APART);
    }
    if let Running::Yes { status, .. } = &found.agent
        && status.because.contains("another process")
    {
        return Check::fail(CHECK, status.because.clone(), APART);
    }
    Check::pass(CHECK, "no other copy found on this machine")
}

pub(super) fn state(seen: &Observed) -> Check {
    const CHECK: &str = "state-directory";
    if let Some(State::Missing { path, unmakeable: Some((nearest, why)) }) =
        seen.local.as_ref().map(|local| &local.state)
    {
        let (path, nearest) = (path.display(), nearest.display());
        return Check::fail(
            CHECK,
            format!(
                "{path} does not exist and cannot be created: {nearest} is not writable: {why}"
            ),
            "create it as a user with permission, or use another (--state-dir)",
        );
    }
    match found(seen) {
        Err(why) => Check::skip(CHECK, why),
        Ok(found) => {
            let path = found.path.display();
            match &found.unwritable {
                None => Check::pass(CHECK, format!("{path} is writable")),
                Some(why) => Check::fail(
                    CHECK,
                    format!("{path} is not writable: {why}"),
                    "run this as the user of the agent, or give that user the directory (chown)",
                ),
            }
        }
    }
}

pub(super) fn disk(seen: &Observed) -> Check {
    const CHECK: &str = "disk";
    match found(seen).map(|found| &found.disk) {
        Err(why) => Check::skip(CHECK, why),
        Ok(Err(why)) => {
            Check::fail(CHECK, why.clone(), "check the file system of the state directory")
        }
        Ok(Ok((bytes, files))) => {
            let files_told = match *files {
                u64::MAX => String::new(),
                files => format!(" and {files} files"),
            };
            let told = format!("{} MiB{files_told} are free", bytes / (1024 * 1024));
            match *bytes >= LEAST_DISK && *files >= LEAST_FILES {
                true => Check::pass(CHECK, told),
                false => Check::fail(
                    CHECK,
                    told,
                    "free disk space: without it output is kept in memory only, and no command starts",
                ),
            }
        }
    }
}

pub(super) fn descriptors(seen: &Observed) -> Check {
    const CHECK: &str = "descriptors";
    let local = seen.local.as_ref();
    let of_agent = found(seen).ok().and_then(|found| match &found.agent {
        Running::Yes { process, .. } => process.descriptors,
        Running::Not | Running::Unreadable(_) => None,
    });
    let (whose, of) = match (of_agent, local.and_then(|local| local.descriptors)) {
        (Some(of), _) => ("the agent has", of),
        (None, Some(of)) => ("this process has", of),
        (None, None) => return Check::skip(CHECK, "not available on this system"),
    };
    let Descriptors { open, allowed } = of;
    let told = format!("{whose} {open} of {allowed} open");
    match allowed.saturating_sub(open) >= LEAST_DESCRIPTORS {
        true => Check::pass(CHECK, told),
        false => Check::fail(CHECK, told, "raise the limit on open files (ulimit -n, LimitNOFILE)"),
    }
}
