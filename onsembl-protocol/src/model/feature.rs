//! Features: what a peer can do beyond the legacy protocol, and which of them each kind of peer of
//! ours has.

use super::wire_enum;

wire_enum! {
    /// An ability of a peer, said in `extensions.features`. A feature is in force when both said it;
    /// what that means for a session is asked of [`Capabilities`](super::Capabilities).
    pub enum Feature {
        /// `AGENT_HEARTBEAT` and `SERVER_HEARTBEAT` with sequence, seen and recorded.
        Heartbeats = "heartbeats",
        /// Output with encoding, offset and incarnation, acknowledged by `OUTPUT_ACK` once stored.
        OutputBytes = "output-bytes",
        /// With `output-bytes`: an agent may send its chunks in binary messages, and a dashboard is sent output in them.
        OutputBinary = "output-binary",
        /// Gaps are declared by `OUTPUT_GAP`, and a session continues where the server says that its
        /// streams are committed.
        OutputSpool = "output-spool",
        /// A dashboard may ask for stored output, by `replay` in `DASHBOARD_SUBSCRIBE`.
        OutputReplay = "output-replay",
        /// `COMMAND_ACK` and `COMMAND_COMPLETE` are sent, repeated until acknowledged, and a command
        /// id that was seen before is not run again.
        CommandReports = "command-reports",
        /// The agent writes down what it starts and how it ends, and says of which journal it knows
        /// that; `LOST` is an end.
        CommandJournal = "command-journal",
        /// A stop is in force until it is released: the agent keeps it, and gives receipts.
        StopLatch = "stop-latch",
        /// `OUTPUT_ACK` says with `openGap` that an end of unknown position is stored.
        OpenEnds = "open-ends",
        /// The agent closes with a code of its own when a remote order ends it, 4107 or 4108.
        EndOrders = "end-orders",
        /// A server takes up a command that it does not know and its agent has, says so of one that it
        /// cannot take up, and calls only that unknown which is over.
        CommandAdoption = "command-adoption",
        /// The agent tells after a welcome what it found since it was last in session, by `AGENT_BLACK_BOX`, and
        /// the server confirms by `BLACK_BOX_ACK` that it is stored.
        BlackBox = "black-box",
        /// Of dashboards: `AGENT_STATUS` has the presence explained, and in hindsight when the agent slept.
        PresenceWhy = "presence-why",
        /// A `COMMAND_REQUEST` to an agent may have a `traceparent`, by which the agent's spans become part of the
        /// trace of the command. Offered only by ends that export traces.
        CommandTrace = "command-trace",
        /// `COMMAND_ACK` says with `waitsFor` what a command waits for on its agent, and an agent knows `openLine`.
        TypingWaits = "typing-waits",
        /// `COMMAND_ACK` says of an unfinished line that a text waits for whether a remote user types it, and by `lineIdleMs`
        /// for how long it may be left untouched.
        LineOrigin = "line-origin",
        /// `input: "secret"`: a text that the server keeps in memory only, and that an agent types into its terminal.
        SecretInput = "secret-input",
        /// A text of more than 64 KiB goes before its `COMMAND_REQUEST` in pieces, as `COMMAND_TEXT`.
        LongText = "long-text",
        /// What a person types goes as `TERMINAL_INPUT` under a hold of the keyboard: at most once, and stored nowhere.
        Typing = "typing",
        /// It is said from where in the output of a terminal it has which size, by `TERMINAL_SIZE`.
        TerminalSize = "terminal-size",
        /// A dashboard that watches a terminal says by `OUTPUT_TAKEN` what it has shown, and is told by
        /// `OUTPUT_BEHIND` to show the
        /// present instead of what it missed.
        LiveView = "live-view",
        /// An agent says by `AGENT_ACTIVITY` what its program does, and knows `if` of a `COMMAND_REQUEST`; a
        /// dashboard is
        /// shown it in `AGENT_STATUS`.
        Activity = "activity",
        /// Of an agent: its identity ends when it leaves permanently, and its server forgets it soon after that.
        /// Offered by
        /// servers beside [`SERVER_FEATURES`], and by agents that are told to.
        Ephemeral = "ephemeral",
        /// The output of a command is relayed and not stored, if that is asked for by `unstored` of its `COMMAND_REQUEST`.
        /// Instead of `OUTPUT_ACK` its agent gets `OUTPUT_CREDIT`.
        UnstoredOutput = "unstored-output",
        /// The agent has a terminal: it says `TERMINAL_OPENED`, takes keys, and can be resized.
        Terminal = "terminal",
    }
}

/// What this version's server offers an agent in the welcome.
pub const SERVER_FEATURES: &[Feature] = &[
    Feature::Heartbeats,
    Feature::OutputBytes,
    Feature::OutputBinary,
    Feature::OutputSpool,
    Feature::CommandReports,
    Feature::CommandJournal,
    Feature::StopLatch,
    Feature::Terminal,
    Feature::OpenEnds,
    Feature::EndOrders,
    Feature::CommandAdoption,
    Feature::BlackBox,
    Feature::TypingWaits,
    Feature::SecretInput,
    Feature::Typing,
    Feature::TerminalSize,
    Feature::Activity,
    Feature::LineOrigin,
    Feature::LongText,
    Feature::UnstoredOutput,
];

/// What this version's agent offers a server in its hello: all that a server offers it.
pub const AGENT_FEATURES: &[Feature] = SERVER_FEATURES;

/// What this version's server offers a dashboard.
pub const DASHBOARD_FEATURES: &[Feature] = &[
    Feature::OutputBytes,
    Feature::OutputBinary,
    Feature::OutputSpool,
    Feature::OutputReplay,
    Feature::StopLatch,
    Feature::PresenceWhy,
    Feature::SecretInput,
    Feature::Typing,
    Feature::TerminalSize,
    Feature::LiveView,
    Feature::Activity,
    Feature::LongText,
    Feature::UnstoredOutput,
];
