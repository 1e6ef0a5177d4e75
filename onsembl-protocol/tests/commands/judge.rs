//! What must hold: at each step, with each thing that the server says, and at the end.

use super::host::{Kind, Program};
use super::server::Down;
use super::world::World;
use onsembl_protocol::fleet::{CommandStage, StopState};
use onsembl_protocol::id::{CommandId, LinkId};
use onsembl_protocol::model::Exit;
use onsembl_protocol::wire::ServerToAgent;
use std::time::Duration;

/// What happened to a command, as nobody inside the world knows it.
#[derive(Clone, Debug)]
pub(super) struct Truth {
    /// Where it was begun.
    pub(super) host: usize,
    pub(super) runs: u32,
    pub(super) is_alive: bool,
    pub(super) exit: Option<Exit>,
    /// It was typed into this terminal, whole, and read at this moment.
    pub(super) typed: Option<(CommandId, Duration)>,
    /// How the program ended that had read it, if it did within a moment.
    pub(super) ended_by: Option<Exit>,
    /// Its agent ended while it ran, or was about to.
    pub(super) is_orphaned: bool,
    /// It ran when the database lost it, so its agent has it, or its end, for the server.
    pub(super) is_owed: bool,
    /// The user was told that it is taken.
    pub(super) is_accepted: bool,
    /// What of it outlives it.
    pub(super) rest: Remnant,
}

/// What outlives a command that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remnant {
    Nothing,
    /// A process that is known to be its own.
    Member,
    /// One that shed everything that ties it to its command.
    Stray,
}

impl Truth {
    pub(super) const fn on(host: usize) -> Self {
        Self {
            host,
            runs: 0,
            is_alive: false,
            exit: None,
            typed: None,
            ended_by: None,
            is_orphaned: false,
            is_owed: false,
            is_accepted: false,
            rest: Remnant::Nothing,
        }
    }
}

/// What goes down to an agent is true.
pub(super) fn check_down(world: &World, link: LinkId, down: &Down) {
    let Down::Message(message) = down else { return };
    match &**message {
        ServerToAgent::CommandRequest(request) => {
            let id = request.command_id.as_ref().unwrap();
            let row = world.store.commands.get(id);
            assert!(row.is_some(), "{id} is sent, and not stored");
            let Some(agent) = world.server.agent_of(link) else { return };
            let stopped = world.server.view().agents()[&agent].stopped.as_ref();
            assert!(stopped.is_none(), "{id} is sent to {agent}, which is stopped");
        }
        ServerToAgent::Ack(ack) => {
            let id = ack.command_id.as_ref().unwrap();
            let row = world.store.commands.get(id);
            let is_over = row.is_none_or(|row| row.ended_at.is_some());
            assert!(is_over, "the end of {id} is confirmed, and not stored");
        }
        _ => {}
    }
}

pub(super) fn check(world: &World) {
    for (id, truth) in &world.truth {
        assert!(truth.runs <= 1, "{id} ran {} times: {truth:?}", truth.runs);
    }
    for host in &world.hosts {
        let runs = |(id, truth): &(&CommandId, &Truth)| {
            truth.host == host.n && truth.is_alive && !truth.is_orphaned && !id.is_terminal()
        };
        let running: Vec<_> = world.truth.iter().filter(runs).map(|(id, _)| id).collect();
        if let Program::Worker(_) = host.program {
            let slots = host.make.slots;
            assert!(running.len() <= slots, "{running:?} run in {slots} slots");
            check_stopped(world, host.n);
        }
    }
    check_bounds(world);
}

/// While an agent is shown to have nothing that lives, nothing does.
fn check_stopped(world: &World, n: usize) {
    let Some(agent) = world.agent_of(n) else { return };
    let shown = world.server.view().agents().get(&agent);
    let stopped = shown.and_then(|shown| shown.stopped.as_ref());
    let is_verified = stopped.is_some_and(|stop| stop.state == StopState::Verified);
    if !is_verified || world.weather.forgets || world.hosts[n].kind == Kind::Hostile {
        return;
    }
    for (id, truth) in world.truth.iter().filter(|(_, truth)| truth.host == n) {
        let is_dead = !truth.is_alive && truth.rest == Remnant::Nothing;
        assert!(is_dead || truth.is_orphaned, "{id} lives on {agent}: {truth:?}");
    }
}

/// What a user can make grow stays within its bounds.
fn check_bounds(world: &World) {
    let (limits, size) = (world.limits, world.server.fleet.size());
    let view = world.server.view();
    // A restarted server takes up what the earlier one had.
    let is_user = |id: &&CommandId| !id.is_terminal();
    let rows = world.store.commands.iter().filter(|(_, row)| row.ended_at.is_none());
    let open_rows = rows.filter(|(id, _)| is_user(id)).count();
    assert!(open_rows <= limits.open_commands, "{open_rows} commands are open");
    let most = limits.open_commands + limits.terminals;
    assert!(size.open_commands <= most, "{size:?} of at most {most}");
    let most = most + limits.ended_commands + limits.loose_outputs;
    let shown = view.command_count();
    assert!(shown <= most, "{shown} commands are shown, of at most {most}");
    assert!(view.agents().len() <= limits.agents, "{:?}", view.agents().keys());
    // One that is not bound to its agent yet, beside the one that is.
    assert!(size.seats <= 2 * limits.agents, "{size:?}");
}

/// Everything is healed and has come to rest.
pub(super) fn check_end(world: &mut World) {
    assert!(world.wanted.is_empty(), "not answered: {:?}", world.wanted);
    for (id, row) in &world.store.commands {
        assert!(row.stage.is_final() && row.ended_at.is_some(), "open: {row:?}");
        world.met.insert(row.stage);
        if let Some(entry) = world.server.view().command(id)
            && let Some(view) = entry.view
        {
            assert_eq!(view.status, row.stage, "{id} is shown otherwise than it is stored");
        }
    }
    for id in world.lost_rows.iter().filter(|id| !world.store.commands.contains_key(*id)) {
        let truth = world.truth.get(id);
        let is_owed = truth.is_some_and(|truth| truth.is_owed || truth.is_alive);
        assert!(!is_owed, "{id} was not adopted: {truth:?}");
    }
    let hides_nothing = world.weather.hides_nothing();
    for (id, truth) in &world.truth {
        let Some(row) = world.store.commands.get(id) else {
            let is_lost = world.lost_rows.contains(id);
            assert!(!truth.is_accepted || is_lost, "{id} was forgotten");
            continue;
        };
        let context = format!("{id}: {:?} ({:?}), {truth:?}", row.stage, row.exit);
        let liars = world.hosts.iter().filter(|host| host.lies);
        let is_lied_about = liars.into_iter().any(|host| host.taught.as_ref() == Some(&row.agent));
        if is_lied_about || id.is_terminal() {
            // A terminal may be given up, or its row may come too late, while it lives.
            continue;
        }
        let request = &row.request;
        // What it started was not observed to have ended.
        let may_live = world.weather.leaves_survivors;
        let has_limit = request.constraints.time_limit_ms.is_some();
        match row.stage {
            CommandStage::Completed => {
                // Completed means that the program read it, and lived; or had it end the program.
                let is_typed = truth.typed.is_some() && truth.ended_by == row.exit;
                let ended = is_typed || truth.exit == Some(Exit::Code(0));
                assert!(truth.runs == 1 && ended, "{context}");
            }
            CommandStage::Failed => {
                let exit = truth.exit.or(truth.ended_by);
                let failed = exit.is_some_and(|exit| !exit.success());
                // One that was ended at its limit may still exit with 0; of one that is adopted the limit is not
                // known here.
                let has_limit = has_limit || world.lost_rows.contains(id);
                assert!(truth.runs == 0 || failed || has_limit || may_live, "{context}");
            }
            CommandStage::Cancelled => assert!(!truth.is_alive, "{context}"),
            CommandStage::Lost => assert!(truth.is_orphaned && !truth.is_alive, "{context}"),
            // Whether an earlier server sent one that was not to start so late is unknown.
            CommandStage::Unknown => {
                assert!(!hides_nothing || request.start_within_ms.is_some(), "{context}");
            }
            CommandStage::Pending
            | CommandStage::Queued
            | CommandStage::Delivered
            | CommandStage::Running
            | CommandStage::Cancelling => panic!("open: {context}"),
        }
    }
}
