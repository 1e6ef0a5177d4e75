//! What a process takes over of its agent's environment, and what it gets instead.
//!
//! An agent is started from somebody's terminal, by a service manager or in a container. What describes those
//! surroundings describes nothing that a process of the agent has: not the size of its terminal, not the program that
//! draws it, not the session manager around it. And what configures the agent is no business of its commands.

use alloc::string::String;
use alloc::vec::Vec;

/// What is in front of all variables by which an agent, a server or a client of ours is configured.
const OURS: &str = "ONSEMBL_";

/// How large a terminal is; programs believe it more than the terminal, and do not follow when that changes.
const SIZE: [&str; 2] = ["COLUMNS", "LINES"];

/// Which terminal it is, and what is around it: programs that draw it, keep its session, edit in it or connect to it.
const DRAWN_IN: [&str; 56] = [
    "ABDUCO_SESSION",
    "CLAUDECODE",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_SESSION_ID",
    "CLAUDE_CODE_SSE_PORT",
    "CODEX_SANDBOX",
    "CODEX_SANDBOX_NETWORK_DISABLED",
    "COLORFGBG",
    "CURSOR_TRACE_ID",
    "DTACH_SOCK",
    "EMACS",
    "GEMINI_CLI",
    "GNOME_TERMINAL_SCREEN",
    "GNOME_TERMINAL_SERVICE",
    "GPG_TTY",
    "INSIDE_EMACS",
    "LC_TERMINAL",
    "LC_TERMINAL_VERSION",
    "MC_SID",
    "MLTERM",
    "MYVIMRC",
    "NNNLVL",
    "NVIM",
    "NVIM_LISTEN_ADDRESS",
    "NVIM_LOG_FILE",
    "OPENCODE",
    "P9K_SSH",
    "P9K_TTY",
    "RANGER_LEVEL",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    "STY",
    "TERMCAP",
    "TERMINAL_EMULATOR",
    "TERMINFO",
    "TERM_FEATURES",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "TERM_SESSION_ID",
    "TILIX_ID",
    "TMUX",
    "TMUX_PANE",
    "VIM",
    "VIMRUNTIME",
    "VTE_VERSION",
    "WINDOW",
    "WINDOWID",
    "WT_PROFILE_ID",
    "WT_SESSION",
    "XTERM_LOCALE",
    "XTERM_SHELL",
    "XTERM_VERSION",
    "YAZI_LEVEL",
    "ZED_TERM",
    "__INTELLIJ_COMMAND_HISTFILE__",
];

/// What is in front of all variables of one such program. What configures it is of no use within another terminal.
const DRAWN_BY: [&str; 18] = [
    "ALACRITTY_",
    "BYOBU_",
    "GHOSTTY_",
    "INTELLIJ_TERMINAL_",
    "ITERM_",
    "JEDITERM_",
    "KITTY_",
    "KONSOLE_",
    "PTYXIS_",
    "RIO_",
    "TABBY_",
    "TERMINATOR_",
    "VIM_",
    VSCODE,
    "WARP_",
    "WEZTERM_",
    "WT_",
    "ZELLIJ",
];

/// What is in front of those of an editor that also answers for `git` when it asks for a password, by a program that
/// works only with them.
const VSCODE: &str = "VSCODE_";
const GIT_ASKPASS: &str = "GIT_ASKPASS";

/// What every common terminal understands, and what ours is.
const TERM: (&str, &str) = ("TERM", "xterm-256color");
/// Its colours are passed on as they are written.
const COLORTERM: (&str, &str) = ("COLORTERM", "truecolor");
/// Characters are UTF-8, in the language of nobody. Under a service manager none of them is set, and programs
/// take what is no ASCII for binary data.
const LANG: (&str, &str) = ("LANG", "C.UTF-8");
const LANGUAGES: [&str; 3] = ["LC_ALL", "LC_CTYPE", "LANG"];

/// What a process of an agent writes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Surroundings {
    /// Pipes.
    #[default]
    Pipes,
    /// A terminal that is shown nowhere at the agent's machine.
    Detached,
    /// A terminal that is shown at the one from which the agent was started.
    Attached,
}

/// A change to the agent's own environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EnvironmentChange {
    /// Without this variable.
    Remove(String),
    /// With this one, whatever it was before.
    Set(&'static str, &'static str),
}

impl Surroundings {
    /// How the environment of a process differs from that of its agent, which is `inherited`. What a command
    /// asks for is set over this.
    pub fn changes<'a>(
        self,
        inherited: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Vec<EnvironmentChange> {
        let mut changes = Vec::new();
        let (mut has_language, mut has_term) = (false, false);
        let (mut asks_in_editor, mut has_askpass) = (false, false);
        for (name, value) in inherited {
            let is_said = !value.is_empty();
            has_language |= is_said && LANGUAGES.contains(&name);
            has_term |= is_said && name == TERM.0 && value != "dumb";
            asks_in_editor |= name.starts_with(VSCODE) && self == Self::Detached;
            has_askpass |= name == GIT_ASKPASS;
            if name.starts_with(OURS) || SIZE.contains(&name) || self.leaves_out(name) {
                changes.push(EnvironmentChange::Remove(name.into()));
            }
        }
        if asks_in_editor && has_askpass {
            changes.push(EnvironmentChange::Remove(GIT_ASKPASS.into()));
        }
        let set = |(name, value)| EnvironmentChange::Set(name, value);
        match self {
            Self::Pipes => return changes,
            Self::Detached => changes.extend([set(TERM), set(COLORTERM)]),
            Self::Attached if has_term => {}
            Self::Attached => changes.push(set(TERM)),
        }
        if !has_language {
            changes.push(set(LANG));
        }
        changes
    }

    /// Whether this describes surroundings in which the process is not.
    fn leaves_out(self, name: &str) -> bool {
        match self {
            Self::Detached => {
                DRAWN_IN.contains(&name) || DRAWN_BY.iter().any(|prefix| name.starts_with(prefix))
            }
            // It is drawn there.
            Self::Attached => false,
            // It has no terminal, and a command may well talk to the session manager around its agent.
            Self::Pipes => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    fn after(
        surroundings: Surroundings,
        inherited: &[(&'static str, &'static str)],
    ) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> =
            inherited.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        for change in surroundings.changes(inherited.iter().copied()) {
            match change {
                EnvironmentChange::Remove(name) => drop(all.remove(&name)),
                EnvironmentChange::Set(name, value) => {
                    drop(all.insert(name.into(), value.into()));
                }
            }
        }
        all
    }

    fn table(pairs: &[(&'static str, &'static str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    const IN_TMUX: [(&str, &str); 11] = [
        ("COLUMNS", "200"),
        ("COLORTERM", "24bit"),
        ("HOME", "/home/ann"),
        ("LANG", "de_DE.UTF-8"),
        ("LINES", "70"),
        ("ONSEMBL_NAME", "ada"),
        ("ONSEMBL_TOKEN", "secret"),
        ("STY", "1.pts"),
        ("TERM", "tmux-256color"),
        ("TERM_PROGRAM", "tmux"),
        ("TMUX", "/tmp/tmux-0/default,1,0"),
    ];

    #[test]
    fn a_terminal_that_is_shown_nowhere_is_none_of_the_surroundings_of_the_agent() {
        assert_eq!(
            after(Surroundings::Detached, &IN_TMUX),
            table(&[
                ("COLORTERM", "truecolor"),
                ("HOME", "/home/ann"),
                ("LANG", "de_DE.UTF-8"),
                ("TERM", "xterm-256color"),
            ])
        );
    }

    #[test]
    fn whatever_drew_kept_or_reached_the_surroundings_of_the_agent_is_not_there() {
        let inherited = [
            "ALACRITTY_SOCKET",
            "CLAUDECODE",
            "CLAUDE_CODE_ENTRYPOINT",
            "GPG_TTY",
            "INSIDE_EMACS",
            "ITERM_SESSION_ID",
            "KITTY_WINDOW_ID",
            "KONSOLE_DBUS_SESSION",
            "NVIM",
            "SSH_CLIENT",
            "SSH_CONNECTION",
            "SSH_TTY",
            "TERMINAL_EMULATOR",
            "VIM",
            "VIMRUNTIME",
            "VIM_TERMINAL",
            "VSCODE_INJECTION",
            "WEZTERM_EXECUTABLE",
            "WT_SESSION",
            "ZELLIJ",
            "ZELLIJ_PANE_ID",
            "__INTELLIJ_COMMAND_HISTFILE__",
        ]
        .map(|name| (name, "1"));
        let bare = after(Surroundings::Detached, &[]);
        assert_eq!(after(Surroundings::Detached, &inherited), bare);
        // It is drawn there, or has no terminal.
        for surroundings in [Surroundings::Attached, Surroundings::Pipes] {
            let kept = after(surroundings, &inherited);
            assert!(inherited.iter().all(|(name, _)| kept.contains_key(*name)), "{surroundings:?}");
        }
        // What configures a program that may run in it, what it needs to work, and what only looks alike.
        let kept = [
            "CLAUDE_CODE_USE_BEDROCK",
            "CODEX_HOME",
            "DISPLAY",
            "EDITOR",
            "NVIM_APPNAME",
            "SSH_AUTH_SOCK",
            "VIMINIT",
            "XTERM_VERSIONS",
        ]
        .map(|name| (name, "1"));
        let mut with = bare.clone();
        with.extend(table(&kept));
        assert_eq!(after(Surroundings::Detached, &kept), with);
        // A program that asks for passwords within an editor, and one that does not.
        let askpass = ("GIT_ASKPASS", "askpass.sh");
        let editor = [askpass, ("VSCODE_GIT_ASKPASS_NODE", "node")];
        assert_eq!(after(Surroundings::Detached, &editor), bare);
        assert!(after(Surroundings::Attached, &editor).contains_key("GIT_ASKPASS"));
        assert!(after(Surroundings::Detached, &[askpass]).contains_key("GIT_ASKPASS"));
    }

    #[test]
    fn an_attached_terminal_is_the_one_of_the_agent_but_for_its_size() {
        assert_eq!(
            after(Surroundings::Attached, &IN_TMUX),
            table(&[
                ("COLORTERM", "24bit"),
                ("HOME", "/home/ann"),
                ("LANG", "de_DE.UTF-8"),
                ("STY", "1.pts"),
                ("TERM", "tmux-256color"),
                ("TERM_PROGRAM", "tmux"),
                ("TMUX", "/tmp/tmux-0/default,1,0"),
            ])
        );
    }

    #[test]
    fn what_writes_to_pipes_gets_all_but_a_size_and_what_configures_the_agent() {
        let mut expected = table(&IN_TMUX);
        expected.retain(|name, _| !name.starts_with("ONSEMBL_") && name != "LINES");
        let _ = expected.remove("COLUMNS");
        assert_eq!(after(Surroundings::Pipes, &IN_TMUX), expected);
        assert_eq!(after(Surroundings::Pipes, &[]), table(&[]));
    }

    #[test]
    fn under_a_service_manager_a_terminal_has_a_kind_colours_and_characters() {
        let given =
            table(&[("COLORTERM", "truecolor"), ("LANG", "C.UTF-8"), ("TERM", "xterm-256color")]);
        assert_eq!(after(Surroundings::Detached, &[]), given);
        assert_eq!(after(Surroundings::Detached, &[("TERM", "dumb"), ("LANG", "")]), given);
        // Whoever chose a language keeps it, by whichever variable.
        for name in ["LC_ALL", "LC_CTYPE"] {
            assert_eq!(after(Surroundings::Detached, &[(name, "C")]).get("LANG"), None);
        }
        let attached = after(Surroundings::Attached, &[("TERM", "dumb")]);
        assert_eq!(attached, table(&[("LANG", "C.UTF-8"), ("TERM", "xterm-256color")]));
    }
}
