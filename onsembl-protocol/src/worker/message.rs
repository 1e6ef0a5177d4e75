//! What a message of the server means for a worker. The one translation from frames to instructions; nothing
//! is carried out here.

use super::note::WorkerNote;
use crate::id::{CommandId, StopId};
use crate::model::{Capabilities, Force, Pausing, ProgramFault};
use crate::session::EndOrder;
use crate::terminal::TerminalSize;
use crate::wire::ServerToAgent;
use crate::wire::payload::{
    AgentControl, AgentErrorReport, AgentErrorType, CommandRequest, CommandText, ControlAction,
    EmergencyStop, ErrorCode, ErrorReply, OutputAck, OutputCredit, OutputResume, Secret,
    TerminalInput,
};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};

/// What is to be done because the server said so.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Instruction {
    Ignore,
    Run(CommandId, Box<CommandRequest>),
    /// A piece of the text of a request that follows.
    AddText(CommandText),
    /// Do not run this any more; at once, or with a grace.
    Cancel(CommandId, Force),
    /// A stream is stored up to here.
    Stored(OutputAck),
    /// More may be sent of a stream that is not stored.
    Credit(OutputCredit),
    /// How far these streams are stored.
    Resume(OutputResume),
    /// Say what is held, in answer to this question.
    ReportOutputState(String),
    /// A report is confirmed.
    Confirmed(CommandId),
    /// The server does not know this command.
    UnknownCommand(CommandId),
    /// The server cannot take up this command in this session.
    NotTaken(CommandId),
    /// What was found while this agent was away is stored, up to this number.
    FindingsStored(u64),
    End(EndOrder, Force),
    /// Start nothing, or start again.
    Pause(Pausing),
    /// Make the terminal this large.
    Resize(TerminalSize),
    /// The holder of the keyboard types this.
    Type(TerminalInput),
    /// A latching emergency stop.
    Stop(StopId),
    Release(StopId),
    /// A momentary emergency stop: kill everything.
    KillAll,
    RenewToken(Secret),
    /// Tell the server that this cannot be done.
    Complain(AgentErrorReport),
}

/// A complaint about a request of the server. It can continue with this agent.
pub(super) fn complaint(
    error_type: AgentErrorType,
    message: impl Into<String>,
) -> AgentErrorReport {
    AgentErrorReport { error_type, message: message.into(), recoverable: true, details: None }
}

/// The program of the agent's terminal does not run (P-345).
pub(super) fn program_does_not_run(fault: &ProgramFault) -> AgentErrorReport {
    AgentErrorReport {
        details: Some(fault.details()),
        ..complaint(AgentErrorType::Execution, fault.to_string())
    }
}

/// It does again, after a stop that was told of (P-345).
pub(super) fn program_runs_again(program: &str) -> AgentErrorReport {
    let text = format!("the program of the terminal, {}, runs again", program.escape_debug());
    AgentErrorReport {
        details: Some(ProgramFault::over(program)),
        ..complaint(AgentErrorType::Execution, text)
    }
}

/// Reads a message under what its session agreed on. What is to be logged goes to `note`.
pub(super) fn read(
    message: ServerToAgent,
    agreed: Option<Capabilities>,
    mut note: impl FnMut(WorkerNote),
) -> Instruction {
    match message {
        ServerToAgent::CommandRequest(request) => match request.command_id.clone() {
            Some(id) => Instruction::Run(id, Box::new(request)),
            None => {
                note(WorkerNote::RequestWithoutId);
                let text = "a COMMAND_REQUEST without a commandId is not run: it could not be distinguished from its repetition";
                Instruction::Complain(complaint(AgentErrorType::Execution, text))
            }
        },
        ServerToAgent::CommandText(piece) => Instruction::AddText(piece),
        // Such a server cancels all that it does not know, and does not know terminals.
        ServerToAgent::CommandCancel(cancel)
            if cancel.command_id.is_terminal()
                && agreed.is_some_and(|agreed| !agreed.knows_terminals()) =>
        {
            Instruction::Ignore
        }
        ServerToAgent::CommandCancel(cancel) => {
            Instruction::Cancel(cancel.command_id, Force::of(cancel.force))
        }
        ServerToAgent::OutputAck(ack) => Instruction::Stored(ack),
        ServerToAgent::OutputCredit(credit) => Instruction::Credit(credit),
        ServerToAgent::BlackBoxAck(ack) => Instruction::FindingsStored(ack.number),
        ServerToAgent::OutputResume(resume) => Instruction::Resume(resume),
        ServerToAgent::OutputQuery(question) => Instruction::ReportOutputState(question.query),
        ServerToAgent::Ack(ack) => match ack.command_id.filter(|_| ack.success) {
            Some(id) => Instruction::Confirmed(id),
            None => Instruction::Ignore,
        },
        ServerToAgent::Error(error) => {
            let adopts = agreed.is_some_and(Capabilities::adopts_commands);
            read_error(error, adopts, &mut note)
        }
        ServerToAgent::Control(control) => read_control(control, &mut note),
        ServerToAgent::EmergencyStop(EmergencyStop { stop_id: Some(stop), .. })
            if agreed.is_some_and(Capabilities::latches_stops) =>
        {
            Instruction::Stop(stop)
        }
        ServerToAgent::EmergencyStop(order) => {
            // Without an id nothing could release it (P-107).
            note(WorkerNote::MomentaryStop { reason: order.reason, by: order.triggered_by });
            Instruction::KillAll
        }
        ServerToAgent::TerminalInput(input) => Instruction::Type(input),
        ServerToAgent::StopRelease(release) => Instruction::Release(release.stop_id),
        ServerToAgent::TokenRefresh(refresh) => Instruction::RenewToken(refresh.access_token),
        // The connection acts on these itself.
        ServerToAgent::Heartbeat(_)
        | ServerToAgent::Ping(_)
        | ServerToAgent::Pong(_)
        | ServerToAgent::Unknown(_) => Instruction::Ignore,
    }
}

fn read_error(error: ErrorReply, adopts: bool, note: &mut impl FnMut(WorkerNote)) -> Instruction {
    let command = error.context.command_id;
    let is_unknown = error.code == ErrorCode::CommandNotFound;
    let is_put_off =
        adopts && matches!(error.code, ErrorCode::QueueFull | ErrorCode::StorageUnavailable);
    let (code, text) = (error.code, error.message);
    note(WorkerNote::ErrorOfServer { code, text, command: command.clone() });
    match command {
        Some(id) if is_unknown => Instruction::UnknownCommand(id),
        Some(id) if is_put_off => Instruction::NotTaken(id),
        Some(_) | None => Instruction::Ignore,
    }
}

fn read_control(control: AgentControl, note: &mut impl FnMut(WorkerNote)) -> Instruction {
    note(WorkerNote::Ordered(control.action.clone(), control.reason));
    let force = Force::of(control.graceful_shutdown == Some(false));
    match control.action {
        ControlAction::Stop => Instruction::End(EndOrder::Stop, force),
        ControlAction::Restart => Instruction::End(EndOrder::Restart, force),
        ControlAction::Pause => Instruction::Pause(Pausing::Paused),
        ControlAction::Resume => Instruction::Pause(Pausing::Running),
        ControlAction::Resize => match control.size {
            Some(size) => Instruction::Resize(size),
            None => {
                let text = "RESIZE without a size".to_owned();
                Instruction::Complain(complaint(AgentErrorType::Unspecified, text))
            }
        },
        action @ (ControlAction::Start | ControlAction::Unknown(_)) => {
            let text = format!(
                "this agent cannot {action}; it knows STOP, RESTART, PAUSE and RESUME, and its operator can start it again on its machine"
            );
            note(WorkerNote::OrderNotSupported(action));
            Instruction::Complain(complaint(AgentErrorType::Unspecified, text))
        }
    }
}
