//! The message sets: what each side may say to the other.
//!
//! One enum a direction, used by the writer and by the reader alike, and matched without wildcard
//! arms. So a type that one side can send is a type that the other one handles, or the program does
//! not compile.

use super::payload::{
    Ack, AgentActivity, AgentBlackBox, AgentConnect, AgentConnected, AgentControl, AgentDisconnect,
    AgentErrorReport, AgentHeartbeat, AgentStatus, BlackBoxAck, CommandAck, CommandCancel,
    CommandRequest, CommandStatus, CommandText, DashboardConnected, DashboardInit, EmergencyStop,
    ErrorReply, KeyboardRelease, KeyboardState, KeyboardTake, Opaque, OutputAck, OutputBehind,
    OutputCredit, OutputGap, OutputQuery, OutputResume, OutputState, OutputTaken, Ping, Pong,
    ReleaseRequest, ServerHeartbeat, StopReceipt, StopRelease, Subscription, TerminalInput,
    TerminalInputState, TerminalOpened, TerminalOutput, TerminalSized, TerminalStream,
    TokenRefresh,
};
use crate::id::CommandId;
use crate::model::CommandComplete;
use alloc::boxed::Box;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of messages that travel in one direction.
pub trait MessageSet: Sized {
    /// Every type of the direction, canonical name first.
    const TYPES: &'static [&'static str];

    /// The `type` of this message.
    fn kind(&self) -> &str;

    /// Reads the payload of a message of this `type`. A type that the direction does not have comes
    /// back as unknown.
    #[doc(hidden)]
    fn read_payload<'de, D: Deserializer<'de>>(kind: &str, payload: D) -> Result<Self, D::Error>;

    /// Writes the payload.
    #[doc(hidden)]
    fn write_payload<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
}

impl AgentToServer {
    /// The command that it is about, if it is about one.
    pub const fn command(&self) -> Option<&CommandId> {
        match self {
            Self::CommandAck(m) => Some(&m.command_id),
            Self::CommandComplete(m) => Some(&m.command_id),
            Self::Output(m) => Some(&m.command_id),
            Self::OutputGap(m) => Some(&m.command_id),
            Self::TerminalOpened(m) => Some(&m.command_id),
            Self::TerminalInputState(m) => Some(&m.command_id),
            Self::TerminalSize(m) => Some(&m.command_id),
            Self::Connect(_)
            | Self::Heartbeat(_)
            | Self::Fault(_)
            | Self::OutputState(_)
            | Self::StopReceipt(_)
            | Self::Activity(_)
            | Self::BlackBox(_)
            | Self::Trace(_)
            | Self::Report(_)
            | Self::Ping(_)
            | Self::Pong(_)
            | Self::Unknown(_) => None,
        }
    }
}

impl ServerToAgent {
    /// The command that it is about, if it is about one.
    pub const fn command(&self) -> Option<&CommandId> {
        match self {
            Self::CommandRequest(m) => m.command_id.as_ref(),
            Self::CommandCancel(m) => Some(&m.command_id),
            Self::OutputAck(m) => Some(&m.command_id),
            Self::OutputCredit(m) => Some(&m.command_id),
            Self::TerminalInput(m) => Some(&m.command_id),
            Self::CommandText(m) => Some(&m.command_id),
            Self::Ack(m) => m.command_id.as_ref(),
            Self::Error(m) => m.context.command_id.as_ref(),
            Self::Heartbeat(_)
            | Self::Ping(_)
            | Self::Pong(_)
            | Self::OutputResume(_)
            | Self::OutputQuery(_)
            | Self::BlackBoxAck(_)
            | Self::Control(_)
            | Self::EmergencyStop(_)
            | Self::StopRelease(_)
            | Self::TokenRefresh(_)
            | Self::Unknown(_) => None,
        }
    }
}

impl ServerToDashboard {
    /// The command that it is about, if it is about one.
    pub const fn command(&self) -> Option<&CommandId> {
        match self {
            Self::CommandStatus(m) => Some(&m.command_id),
            Self::CommandComplete(m) => Some(&m.command_id),
            Self::TerminalStream(m) => Some(&m.command_id),
            Self::OutputGap(m) => Some(&m.command_id),
            Self::KeyboardState(m) => Some(&m.command_id),
            Self::OutputBehind(m) => Some(&m.command_id),
            Self::TerminalSize(m) => Some(&m.command_id),
            Self::Ack(m) => m.command_id.as_ref(),
            Self::Error(m) => m.context.command_id.as_ref(),
            Self::Connected(_)
            | Self::AgentConnected(_)
            | Self::AgentStatus(_)
            | Self::AgentDisconnect(_)
            | Self::Trace(_)
            | Self::QueueUpdate(_)
            | Self::EmergencyStop(_)
            | Self::Ping(_)
            | Self::Pong(_)
            | Self::TokenRefresh(_)
            | Self::Unknown(_) => None,
        }
    }
}

/// What can be read as the payload of an envelope: a set, or a view of one that borrows.
pub(super) trait ReadPayload<'de>: Sized {
    /// Reads the payload of a message of this `type` into `message`.
    fn read<D: Deserializer<'de>>(
        kind: &str,
        payload: D,
        message: &mut Option<Self>,
    ) -> Result<(), D::Error>;
}

impl<'de, M: MessageSet> ReadPayload<'de> for M {
    fn read<D: Deserializer<'de>>(
        kind: &str,
        payload: D,
        message: &mut Option<Self>,
    ) -> Result<(), D::Error> {
        *message = Some(M::read_payload(kind, payload)?);
        Ok(())
    }
}

macro_rules! message_set {
    ($(#[$doc:meta])* pub enum $name:ident {
        $($(#[$vdoc:meta])* $variant:ident($payload:ty) = $kind:literal $(| $synonym:literal)*,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::large_enum_variant, reason = "a message is read and used up, one at a time")]
        pub enum $name {
            $($(#[$vdoc])* $variant($payload),)*
            /// A type this direction does not have. It is reported and else ignored.
            Unknown(Box<str>),
        }

        impl MessageSet for $name {
            const TYPES: &'static [&'static str] = &[$($kind, $($synonym,)*)*];

            fn kind(&self) -> &str {
                match self {
                    $(Self::$variant(_) => $kind,)*
                    Self::Unknown(kind) => kind,
                }
            }

            fn read_payload<'de, D: Deserializer<'de>>(
                kind: &str,
                payload: D,
            ) -> Result<Self, D::Error> {
                match kind {
                    $($kind $(| $synonym)* => {
                        Ok(Self::$variant(<$payload>::deserialize(payload)?))
                    })*
                    kind => {
                        IgnoredAny::deserialize(payload)?;
                        Ok(Self::Unknown(kind.into()))
                    }
                }
            }

            fn write_payload<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$variant(payload) => payload.serialize(serializer),)*
                    Self::Unknown(_) => serde_json::Map::new().serialize(serializer),
                }
            }
        }
    };
}

message_set! {
    /// What an agent says to a server.
    #[allow(missing_docs, reason = "the names say all")]
    pub enum AgentToServer {
        Connect(AgentConnect) = "AGENT_CONNECT",
        Heartbeat(AgentHeartbeat) = "AGENT_HEARTBEAT",
        /// A fault of its own.
        Fault(AgentErrorReport) = "AGENT_ERROR",
        /// It took a command.
        CommandAck(CommandAck) = "COMMAND_ACK",
        /// A command is over.
        CommandComplete(CommandComplete) = "COMMAND_COMPLETE",
        /// A process wrote something.
        Output(TerminalOutput) = "TERMINAL_OUTPUT",
        /// Bytes that are missing. Extension.
        OutputGap(OutputGap) = "OUTPUT_GAP",
        /// What it holds of which streams. Extension.
        OutputState(OutputState) = "OUTPUT_STATE",
        /// How far it is with a stop. Extension.
        StopReceipt(StopReceipt) = "STOP_RECEIPT",
        /// It opened a terminal. Extension.
        TerminalOpened(TerminalOpened) = "TERMINAL_OPENED",
        /// How far what was typed is in its terminal. Extension.
        TerminalInputState(TerminalInputState) = "TERMINAL_INPUT_STATE",
        /// A terminal has another size from here. Extension.
        TerminalSize(TerminalSized) = "TERMINAL_SIZE",
        /// What it found while it was away. Extension.
        BlackBox(AgentBlackBox) = "AGENT_BLACK_BOX",
        /// What its program does. Extension.
        Activity(AgentActivity) = "AGENT_ACTIVITY",
        Trace(Opaque) = "TRACE_EVENT",
        Report(Opaque) = "INVESTIGATION_REPORT",
        Ping(Ping) = "PING",
        /// The answer to a probe; a legacy agent's heartbeat.
        Pong(Pong) = "PONG",
    }
}

message_set! {
    /// What a server says to an agent.
    #[allow(missing_docs, reason = "the names say all")]
    pub enum ServerToAgent {
        Ack(Ack) = "ACK",
        Error(ErrorReply) = "ERROR",
        Heartbeat(ServerHeartbeat) = "SERVER_HEARTBEAT",
        Ping(Ping) = "PING",
        /// The answer to a probe.
        Pong(Pong) = "PONG",
        CommandRequest(CommandRequest) = "COMMAND_REQUEST",
        /// A piece of a long text, before its request. Extension.
        CommandText(CommandText) = "COMMAND_TEXT",
        /// Do not run this any more.
        CommandCancel(CommandCancel) = "COMMAND_CANCEL",
        /// Output is stored. Extension.
        OutputAck(OutputAck) = "OUTPUT_ACK",
        /// Output that is not stored was taken: more may be sent. Extension.
        OutputCredit(OutputCredit) = "OUTPUT_CREDIT",
        /// How far streams are stored: continue there. Extension.
        OutputResume(OutputResume) = "OUTPUT_RESUME",
        /// Say what you hold. Extension.
        OutputQuery(OutputQuery) = "OUTPUT_QUERY",
        /// What it found is stored. Extension.
        BlackBoxAck(BlackBoxAck) = "BLACK_BOX_ACK",
        /// An order that is no command.
        Control(AgentControl) = "AGENT_CONTROL",
        EmergencyStop(EmergencyStop) = "EMERGENCY_STOP",
        /// A stop is over. Extension.
        StopRelease(StopRelease) = "STOP_RELEASE",
        /// Somebody types into its terminal. Extension.
        TerminalInput(TerminalInput) = "TERMINAL_INPUT",
        TokenRefresh(TokenRefresh) = "TOKEN_REFRESH",
    }
}

message_set! {
    /// What a dashboard says to a server.
    #[allow(missing_docs, reason = "the names say all")]
    pub enum DashboardToServer {
        Init(DashboardInit) = "DASHBOARD_INIT",
        /// It wants to see more.
        Subscribe(Subscription) = "DASHBOARD_SUBSCRIBE",
        /// It wants to see less.
        Unsubscribe(Subscription) = "DASHBOARD_UNSUBSCRIBE",
        CommandRequest(CommandRequest) = "COMMAND_REQUEST",
        /// A piece of a long text, before its request. Extension.
        CommandText(CommandText) = "COMMAND_TEXT",
        /// Do not run this any more.
        CommandCancel(CommandCancel) = "COMMAND_CANCEL",
        /// An order that is no command.
        Control(AgentControl) = "AGENT_CONTROL",
        EmergencyStop(EmergencyStop) = "EMERGENCY_STOP",
        /// Let it start again. Extension.
        StopRelease(ReleaseRequest) = "STOP_RELEASE",
        /// It wants to type into a terminal. Extension.
        KeyboardTake(KeyboardTake) = "KEYBOARD_TAKE",
        /// It does not want to any more. Extension.
        KeyboardRelease(KeyboardRelease) = "KEYBOARD_RELEASE",
        /// It types. Extension.
        TerminalInput(TerminalInput) = "TERMINAL_INPUT",
        /// What it has shown of a terminal. Extension.
        OutputTaken(OutputTaken) = "OUTPUT_TAKEN",
        Ping(Ping) = "PING",
        /// The answer to a probe.
        Pong(Pong) = "PONG",
        TokenRefresh(TokenRefresh) = "TOKEN_REFRESH",
    }
}

message_set! {
    /// What a server says to a dashboard.
    #[allow(missing_docs, reason = "the names say all")]
    pub enum ServerToDashboard {
        /// The agents there are.
        Connected(DashboardConnected) = "DASHBOARD_CONNECTED",
        AgentConnected(AgentConnected) = "AGENT_CONNECTED",
        /// How an agent is.
        AgentStatus(AgentStatus) = "AGENT_STATUS",
        AgentDisconnect(AgentDisconnect) = "AGENT_DISCONNECT",
        /// Where a command is in its life.
        CommandStatus(CommandStatus) = "COMMAND_STATUS",
        /// A command is over; legacy dashboards end its terminal with it.
        CommandComplete(CommandComplete) = "COMMAND_COMPLETE",
        TerminalStream(TerminalStream) = "TERMINAL_STREAM",
        /// Output that is missing. Extension.
        OutputGap(OutputGap) = "OUTPUT_GAP",
        /// Who holds the keyboard of a terminal. Extension.
        KeyboardState(KeyboardState) = "KEYBOARD_STATE",
        /// A terminal has another size from here. Extension.
        TerminalSize(TerminalSized) = "TERMINAL_SIZE",
        /// It is to show the present screen of a terminal. Extension.
        OutputBehind(OutputBehind) = "OUTPUT_BEHIND",
        Trace(Opaque) = "TRACE_STREAM" | "TRACE_UPDATE",
        /// What waits for an agent. Not sent yet.
        QueueUpdate(Opaque) = "QUEUE_UPDATE",
        EmergencyStop(EmergencyStop) = "EMERGENCY_STOP",
        Ack(Ack) = "ACK",
        Error(ErrorReply) = "ERROR",
        Ping(Ping) = "PING",
        /// The answer to a probe.
        Pong(Pong) = "PONG",
        TokenRefresh(TokenRefresh) = "TOKEN_REFRESH",
    }
}
