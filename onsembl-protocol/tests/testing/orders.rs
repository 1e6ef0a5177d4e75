//! What wrappers do with stops and pauses: what others got wrong, and our own worker.

use super::texts::{TextBug, TextWrapper};
use onsembl_protocol::id::{AgentKey, CommandId, InstanceId, LinkId, StopId};
use onsembl_protocol::lab::kit::agent::{
    self, Promised, TextEvent, TextObservation, TextWrapperUnderTest,
};
use onsembl_protocol::lab::kit::{Invariant, Reaction};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::{CommandComplete, CommandPhase, Exit, Pausing, StopStage};
use onsembl_protocol::session::frames::{AgentFrames, AgentProfile, FromServer};
use onsembl_protocol::time::Now;
use onsembl_protocol::wire::payload::{CommandRequest, ControlAction, StopReceipt};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use onsembl_protocol::worker::{
    Fence, Journalling, Recovered, Rest, SpoolBounds, Worker, WorkerAction, WorkerConfig,
    WorkerEvent, WorkerMessage, WorkerSession,
};
use std::time::Duration;

/// What an embedder gets wrong about orders who offers in its hello all that our own agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OrderBug {
    None,
    /// It reads the order, stops, and says nothing.
    ConfirmsNoStop,
    /// It takes the first order for the only one.
    ConfirmsOnce,
    /// It keeps the stop in the session, which ends with the link.
    ForgetsTheStop,
    /// It stays stopped forever.
    IsNeverReleased,
    /// It stops what runs, and starts what comes.
    StartsWhileStopped,
    /// It has no idea of a pause.
    IgnoresPause,
    /// It pauses, and only its log says so.
    HidesThePause,
}

/// A wrapper with a capability: each command is done at once.
struct Capability {
    bug: OrderBug,
    inner: TextWrapper,
    link: LinkId,
    stop: Option<StopId>,
    paused: Vec<CommandId>,
    is_paused: bool,
}

impl Capability {
    fn new(bug: OrderBug) -> Self {
        let inner = TextWrapper::new(TextBug::None);
        let (link, paused) = (LinkId(0), Vec::new());
        Self { bug, inner, link, stop: None, paused, is_paused: false }
    }

    fn ordered(&mut self, stop: Option<StopId>) -> Vec<AgentToServer> {
        let is_new = self.stop != stop;
        if stop.is_some() || self.bug != OrderBug::IsNeverReleased {
            self.stop = stop.clone();
        }
        let kept = self.stop.clone().filter(|_| self.bug != OrderBug::ForgetsTheStop);
        self.inner.frames.profile_mut().stop = kept;
        let says = match self.bug {
            OrderBug::ConfirmsNoStop => false,
            OrderBug::ConfirmsOnce => is_new,
            _ => true,
        };
        let receipt = |stop_id| StopReceipt { stop_id, stage: StopStage::Verified };
        stop.filter(|_| says).map(receipt).map(AgentToServer::StopReceipt).into_iter().collect()
    }

    fn does(&self, command_id: &CommandId) -> Vec<AgentToServer> {
        let end = |status| {
            AgentToServer::CommandComplete(CommandComplete::new(command_id.clone(), status))
        };
        match self.stop.is_some() && self.bug != OrderBug::StartsWhileStopped {
            true => vec![end(CommandPhase::Failed)],
            false => vec![end(CommandPhase::Completed)],
        }
    }

    fn on(&mut self, content: FromServer) -> Vec<AgentToServer> {
        match content {
            FromServer::Joined(session, _) => self.ordered(session.stopped),
            FromServer::Message(message) => match *message {
                ServerToAgent::EmergencyStop(stop) => self.ordered(stop.stop_id),
                ServerToAgent::StopRelease(_) => self.ordered(None),
                ServerToAgent::CommandRequest(CommandRequest { command_id: Some(id), .. }) => {
                    match self.is_paused {
                        true => {
                            self.paused.push(id);
                            Vec::new()
                        }
                        false => self.does(&id),
                    }
                }
                ServerToAgent::Control(control) => {
                    if self.bug != OrderBug::IgnoresPause {
                        self.is_paused = control.action == ControlAction::Pause;
                    }
                    match self.is_paused {
                        true => Vec::new(),
                        false => {
                            let waiting = std::mem::take(&mut self.paused);
                            waiting.into_iter().flat_map(|id| self.does(&id)).collect()
                        }
                    }
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }
}

impl TextWrapperUnderTest for Capability {
    fn handle(&mut self, event: TextEvent<'_>, now: Now) -> Reaction<TextObservation> {
        if let TextEvent::LinkUp(link) = event {
            self.link = link;
        }
        let mut reaction = self.inner.handle(event, now);
        let Some(content) = self.inner.content.take() else { return reaction };
        for message in self.on(content) {
            let text = self.inner.frames.write(&message, now.wall).to_owned();
            reaction.actions.push(TextObservation::Sent(self.link, text));
        }
        let shown = self.is_paused && self.bug != OrderBug::HidesThePause;
        if self.inner.frames.set_pausing(Pausing::of(shown)) {
            let told = self.inner.handle(TextEvent::News, now);
            reaction.actions.extend(told.actions);
            reaction.deadline = told.deadline;
        }
        reaction
    }
}

#[test]
fn an_order_that_is_not_obeyed_is_found_under_its_name() {
    use Invariant as I;
    let promised = agent::check_orders(|| Capability::new(OrderBug::None));
    assert_eq!(promised, Promised { stops: true, commands: true });
    for (bug, name) in [
        (OrderBug::ConfirmsNoStop, I::StopIsConfirmed),
        (OrderBug::ConfirmsOnce, I::StopIsConfirmed),
        (OrderBug::ForgetsTheStop, I::StopOutlivesTheLink),
        (OrderBug::IsNeverReleased, I::StopOutlivesTheLink),
        (OrderBug::StartsWhileStopped, I::NothingStartsUnderAnOrder),
        (OrderBug::IgnoresPause, I::PauseShows),
        (OrderBug::HidesThePause, I::PauseShows),
    ] {
        let found = agent::check_orders_with(|| Capability::new(bug));
        let violation = found.expect_err(&format!("{bug:?} was not found"));
        assert_eq!(violation.invariant, name, "{bug:?} was found as\n{violation}");
    }
    // Who offers what it has no code for.
    let violation = agent::check_orders_with(|| TextWrapper::new(TextBug::None)).unwrap_err();
    assert_eq!(violation.invariant, I::StopIsConfirmed, "{violation}");
    println!("{violation}");
}

#[test]
fn who_only_stays_connected_promises_nothing_about_orders() {
    let promised = agent::check_orders(|| {
        let mut wrapper = TextWrapper::new(TextBug::None);
        let key = AgentKey::new("key");
        let profile = AgentProfile::new("dev", key, InstanceId::new("run"));
        wrapper.frames = AgentFrames::new(profile, Limits::DEFAULT);
        wrapper
    });
    assert_eq!(promised, Promised { stops: false, commands: false });
}

/// The worker of this crate behind the same texts: it needs no code for orders, so it has none to forget.
struct OwnWorker {
    inner: TextWrapper,
    worker: Worker,
    link: LinkId,
}

impl OwnWorker {
    fn new() -> Self {
        let config = WorkerConfig {
            slots: 1,
            spool: SpoolBounds::MEMORY_ONLY,
            policy: None,
            journal: Journalling::Kept,
            terminal: None,
            fence: Fence::open(),
            background: Default::default(),
            activity: Default::default(),
            unique: "run".to_owned(),
        };
        let now = Now::without_suspend(Duration::ZERO);
        let worker = Worker::new(config, Recovered::default(), now);
        Self { inner: TextWrapper::new(TextBug::None), worker, link: LinkId(0) }
    }

    /// Its journal is durable at once, and what it starts ends at once.
    fn performs(&mut self, now: Now, seen: &mut Vec<TextObservation>) {
        loop {
            let mut done = Vec::new();
            while let Some(action) = self.worker.poll_action() {
                match action {
                    WorkerAction::Journal(entry) => {
                        let durable =
                            |awaited| WorkerEvent::Journalled { awaited, outcome: Ok(()) };
                        done.extend(entry.awaited().map(durable));
                    }
                    WorkerAction::Start { command, .. } => {
                        let (exit, rest, open) = (Exit::Code(0), Rest::Ended, Vec::new());
                        done.push(WorkerEvent::Started { command: command.clone(), process: None });
                        done.push(WorkerEvent::Ended { command, exit, rest, open });
                    }
                    WorkerAction::SayPaused(pausing) if self.inner.frames.set_pausing(pausing) => {
                        seen.extend(self.inner.handle(TextEvent::News, now).actions);
                    }
                    _ => {}
                }
            }
            if let Some(message) = self.worker.next_message(now) {
                let WorkerMessage::Text(message) = message else {
                    unreachable!("it wrote nothing")
                };
                let text = self.inner.frames.write(&message, now.wall).to_owned();
                seen.push(TextObservation::Sent(self.link, text));
                done.push(WorkerEvent::Sent);
            }
            if done.is_empty() {
                return;
            }
            done.into_iter().for_each(|event| self.worker.handle(event, now));
        }
    }
}

impl TextWrapperUnderTest for OwnWorker {
    fn handle(&mut self, event: TextEvent<'_>, now: Now) -> Reaction<TextObservation> {
        match event {
            TextEvent::LinkUp(link) => self.link = link,
            TextEvent::LinkDown(..) => self.worker.handle(WorkerEvent::SessionEnded, now),
            TextEvent::Wake => self.worker.handle(WorkerEvent::Wake, now),
            _ => {}
        }
        let mut actions = self.inner.handle(event, now).actions;
        match self.inner.content.take() {
            Some(FromServer::Joined(session, _)) => {
                let session = WorkerSession {
                    agent: session.agent,
                    capabilities: session.capabilities,
                    output_window: session.output_window,
                    stopped: session.stopped,
                };
                self.worker.handle(WorkerEvent::Joined(session), now);
            }
            Some(FromServer::Message(message)) => {
                self.worker.handle(WorkerEvent::Message(message), now);
            }
            _ => {}
        }
        self.performs(now, &mut actions);
        let profile = self.inner.frames.profile_mut();
        profile.stop = self.worker.stop_in_force().cloned();
        profile.open_commands = self.worker.open_commands(1024);
        let deadline = self.inner.deadline().min(self.worker.deadline());
        Reaction { actions, deadline }
    }
}

#[test]
fn our_worker_obeys_every_order() {
    let promised = agent::check_orders(OwnWorker::new);
    assert_eq!(promised, Promised { stops: true, commands: true });
}
