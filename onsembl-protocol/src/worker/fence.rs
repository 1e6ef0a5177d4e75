//! What of a request reaches what carries commands out.
//!
//! An agent that runs one program for each text is a fence: a user who may send it commands may use that program,
//! and nothing else. Arguments are options of the program, variables reach its loader and its libraries
//! (`LD_PRELOAD`), and from the working directory programs read configuration that tells them what to run. So of a
//! request only the text gets through, and what the owner of the machine allows besides.

use crate::wire::payload::CommandRequest;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What of a request is passed on; decided by the owner of the agent's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence(Passes);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Passes {
    Everything,
    Text(Besides),
}

/// What is passed on besides the text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Besides {
    args: Args,
    variables: BTreeSet<String>,
    directories: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Args {
    Refused,
    Passed,
}

impl Fence {
    /// No fence: a request may hold anything. For what is none, such as a shell.
    #[must_use]
    pub const fn open() -> Self {
        Self(Passes::Everything)
    }

    /// The text of a command, and nothing else.
    #[must_use]
    pub fn text_only() -> Self {
        let (variables, directories) = (BTreeSet::new(), Vec::new());
        Self(Passes::Text(Besides { args: Args::Refused, variables, directories }))
    }

    /// Arguments too, whatever they are.
    #[must_use]
    pub fn with_args(mut self) -> Self {
        if let Passes::Text(besides) = &mut self.0 {
            besides.args = Args::Passed;
        }
        self
    }

    /// This variable too, whatever its value is.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>) -> Self {
        if let Passes::Text(besides) = &mut self.0 {
            let _ = besides.variables.insert(name.into());
        }
        self
    }

    /// This working directory too, and all below it. It is absolute.
    #[must_use]
    pub fn with_directory(mut self, directory: impl Into<String>) -> Self {
        if let Passes::Text(besides) = &mut self.0 {
            besides.directories.push(directory.into());
        }
        self
    }

    /// Whether a request may hold anything.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.0, Passes::Everything)
    }

    /// Whether a command may run in this directory. It is judged by its name: where links of the file system
    /// lead is for the one to find out who enters it.
    #[must_use]
    pub(crate) fn admits_directory(&self, directory: &str) -> bool {
        match &self.0 {
            Passes::Everything => true,
            Passes::Text(besides) => {
                besides.directories.iter().any(|allowed| is_within(directory, allowed))
            }
        }
    }

    /// Where a command runs whose working directory was admitted by its name: where the links of the file system
    /// lead from there, which is an error if it is no text.
    ///
    /// # Errors
    /// It leads out of what is allowed, and what allows it.
    pub fn admit_resolved(
        &self,
        directory: &str,
        resolved: Result<String, String>,
    ) -> Result<String, String> {
        let resolved = match resolved {
            Ok(resolved) if self.admits_directory(&resolved) => return Ok(resolved),
            Ok(resolved) | Err(resolved) => resolved,
        };
        Err(format!(
            "the working directory {} is outside the directories that this agent allows; start the agent with --allow-directory {}",
            directory.escape_debug(),
            resolved.escape_debug(),
        ))
    }

    /// Whether all of a request may be passed on.
    ///
    /// # Errors
    /// What may not be, and what allows it.
    pub(super) fn check(&self, request: &CommandRequest) -> Result<(), String> {
        let Passes::Text(besides) = &self.0 else { return Ok(()) };
        let refused = |what: &str, flag: &str| {
            Err(format!(
                "this agent passes only the text of a command to its program, not {what}; send the text alone, or start the agent with {flag}"
            ))
        };
        if besides.args == Args::Refused && !request.args.is_empty() {
            return refused("its arguments", "--allow-args");
        }
        let mut others = request.env.keys().filter(|name| !besides.variables.contains(*name));
        if let Some(name) = others.next() {
            let name = name.escape_debug();
            return refused(&format!("the variable {name}"), &format!("--allow-env {name}"));
        }
        match &request.working_directory {
            Some(directory) if !self.admits_directory(directory) => {
                let flag = format!("--allow-directory {}", directory.escape_debug());
                refused("its working directory", &flag)
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn is_within(directory: &str, allowed: &str) -> bool {
    // `..` is refused and not resolved: behind a symbolic link it leads elsewhere.
    let goes_up = directory.split('/').any(|part| part == "..");
    let below = directory.strip_prefix(allowed.trim_end_matches('/'));
    !goes_up && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AgentId, CommandId};

    fn request(change: impl FnOnce(&mut CommandRequest)) -> CommandRequest {
        let mut request = CommandRequest::new(CommandId::new("c"), AgentId::new("a"), "text");
        change(&mut request);
        request
    }

    fn with_args() -> CommandRequest {
        request(|r| r.args.push("-la".into()))
    }

    fn with_variable(name: &str) -> CommandRequest {
        request(|r| drop(r.env.insert(name.into(), "value".into())))
    }

    fn within(directory: &str) -> CommandRequest {
        request(|r| r.working_directory = Some(directory.into()))
    }

    #[test]
    fn only_the_text_gets_through_and_each_refusal_names_its_flag() {
        let fence = Fence::text_only();
        assert_eq!(fence.check(&request(|_| ())), Ok(()));
        for (request, flag) in [
            (with_args(), "--allow-args"),
            (request(|r| r.args.push(String::new())), "--allow-args"),
            (with_variable("LD_PRELOAD"), "--allow-env LD_PRELOAD"),
            (within("/srv/work"), "--allow-directory /srv/work"),
            (within("."), "--allow-directory ."),
        ] {
            let why = fence.check(&request).unwrap_err();
            assert!(why.ends_with(flag), "{why}");
            assert_eq!(Fence::open().check(&request), Ok(()));
        }
    }

    #[test]
    fn what_is_allowed_gets_through_and_nothing_beside_it() {
        let fence = Fence::text_only().with_args();
        assert_eq!(fence.check(&with_args()), Ok(()));
        assert!(fence.check(&with_variable("TERM")).is_err());
        let fence = Fence::text_only().with_variable("TERM").with_variable("LANG");
        assert_eq!(fence.check(&with_variable("TERM")), Ok(()));
        for name in ["LD_PRELOAD", "term", "TERM ", "", "PATH"] {
            assert!(fence.check(&with_variable(name)).is_err(), "{name}");
        }
        let mut both = with_variable("TERM");
        let _ = both.env.insert("PATH".into(), "/tmp".into());
        assert!(fence.check(&both).unwrap_err().ends_with("--allow-env PATH"));
        assert!(fence.check(&with_args()).is_err());
    }

    #[test]
    fn a_directory_is_allowed_with_all_below_it() {
        let fence = Fence::text_only().with_directory("/srv/work/");
        for directory in ["/srv/work", "/srv/work/", "/srv/work/a/b", "/srv/work/..a"] {
            assert_eq!(fence.check(&within(directory)), Ok(()), "{directory}");
        }
        for directory in
            ["/srv", "/", "/srv/workshop", "/srv/work/..", "/srv/work/../x", "srv/work", "work"]
        {
            assert!(fence.check(&within(directory)).is_err(), "{directory}");
        }
        let all = Fence::text_only().with_directory("/");
        assert_eq!(all.check(&within("/etc")), Ok(()));
        assert!(all.check(&within("etc")).is_err());
    }

    #[test]
    fn a_link_that_leads_out_of_what_is_allowed_is_not_followed() {
        let fence = Fence::text_only().with_directory("/srv/work");
        let leads_to = |path: &str| fence.admit_resolved("/srv/work/link", Ok(path.into()));
        assert_eq!(leads_to("/srv/work/a"), Ok("/srv/work/a".into()));
        let why = leads_to("/etc").unwrap_err();
        assert!(why.contains("/srv/work/link") && why.ends_with("--allow-directory /etc"), "{why}");
        // What is no text cannot be handed on, wherever it leads.
        assert!(fence.admit_resolved("/srv/work/link", Err("/srv/work/?".into())).is_err());
    }

    #[test]
    fn a_refusal_shows_no_control_characters() {
        let why = Fence::text_only().check(&with_variable("A\u{1b}[2J")).unwrap_err();
        assert!(!why.contains('\u{1b}'), "{why}");
    }
}
