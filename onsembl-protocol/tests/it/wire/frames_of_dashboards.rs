//! What dashboards send, as literal frames.

use super::{message, read};
use onsembl_protocol::id::{AgentId, CommandId, UserId};
use onsembl_protocol::model::StopScope;
use onsembl_protocol::wire::DashboardToServer::{self, *};
use onsembl_protocol::wire::payload as p;
use onsembl_protocol::wire::payload::{
    ControlAction, DashboardInit, Priority, Selection, Subscriptions,
};

/// Frames as the existing dashboard writes them.
pub(super) const EXISTING: &[&str] = &[
    r#"{"type":"DASHBOARD_INIT","id":"msg_1_1762041600000","timestamp":1762041600000,"payload":{"userId":"u-1","subscriptions":{"agents":{"all":true},"commands":{"all":true},"terminals":true,"traces":true}}}"#,
    r#"{"type":"PING","id":"msg_2_1762041630000","timestamp":1762041630000,"payload":{"timestamp":1762041630000,"sequence":1}}"#,
    r#"{"type":"PONG","id":"msg_3_1762041630100","timestamp":1762041630100,"payload":{"timestamp":1762041630100,"latency":12.5,"sequence":4}}"#,
    r#"{"type":"COMMAND_REQUEST","id":"msg_4","timestamp":1762041640000,"payload":{"agentId":"9c5b94b1-35ad-49bb-b118-8e8fc24abf80","commandId":"cmd-1762041640000-ab12","command":"make test","args":[],"env":{},"type":"NATURAL","priority":0,"executionConstraints":{"timeLimitMs":300000,"maxRetries":1}}}"#,
    r#"{"type":"COMMAND_REQUEST","id":"msg_5","timestamp":1762041640001,"payload":{"commandId":"cmd_1762041640001_x","agentId":"a","content":"make test","priority":"normal","timestamp":1762041640001}}"#,
    r#"{"type":"COMMAND_REQUEST","id":"msg_6","timestamp":1762041640002,"payload":{"commandId":"cmd_1762041640002_y","content":"make test","type":"execute","priority":10,"executionConstraints":{"timeLimitMs":60000}}}"#,
    r#"{"type":"COMMAND_CANCEL","id":"msg_7","timestamp":1762041650000,"payload":{"commandId":"cmd-1","agentId":"a"}}"#,
    r#"{"type":"COMMAND_CANCEL","id":"msg_8","timestamp":1762041650001,"payload":{"commandId":"cmd-1","reason":"User cancelled"}}"#,
    r#"{"type":"EMERGENCY_STOP","id":"msg_9","timestamp":1762041650002,"payload":{"timestamp":1762041650002}}"#,
    r#"{"type":"EMERGENCY_STOP","id":"msg_10","timestamp":1762041650003,"payload":{"reason":"Emergency stop triggered","timestamp":1762041650003,"triggeredBy":"user","agentsStopped":0,"commandsCancelled":0}}"#,
    r#"{"type":"EMERGENCY_STOP","id":"msg_11","timestamp":1762041650004,"payload":{"reason":"x","force":true}}"#,
    r#"{"type":"TOKEN_REFRESH","id":"msg_12","timestamp":1762041650005,"payload":{"accessToken":"eyJ","expiresIn":3600000}}"#,
    r#"{"type":"DASHBOARD_SUBSCRIBE","id":"msg_13","timestamp":1762041650006,"payload":{"type":"agent","id":"a"}}"#,
    r#"{"type":"DASHBOARD_UNSUBSCRIBE","id":"msg_14","timestamp":1762041650007,"payload":{"type":"terminal","all":true}}"#,
    r#"{"type":"AGENT_CONTROL","id":"msg_15","timestamp":1762041650008,"payload":{"agentId":"a","action":"restart"}}"#,
];

/// Frames of a dashboard that speaks the extensions.
pub(super) const OURS: &[&str] = &[
    r#"{"type":"STOP_RELEASE","id":"msg_1","timestamp":1762041650009,"payload":{"agentId":"a"}}"#,
    r#"{"type":"STOP_RELEASE","id":"msg_2","timestamp":1762041650010,"payload":{"all":true}}"#,
    r#"{"type":"KEYBOARD_TAKE","id":"msg_3","timestamp":1762041650011,"payload":{"commandId":"terminal-0193","name":"ann at desk","mode":"over"}}"#,
    r#"{"type":"TERMINAL_INPUT","id":"msg_4","timestamp":1762041650012,"payload":{"commandId":"terminal-0193","holder":"h-1","sequence":1,"bytes":"bHMN"}}"#,
    r#"{"type":"KEYBOARD_RELEASE","id":"msg_5","timestamp":1762041650013,"payload":{"commandId":"terminal-0193","holder":"h-1"}}"#,
    r#"{"type":"DASHBOARD_SUBSCRIBE","id":"msg_6","timestamp":1762041650014,"payload":{"type":"command","id":"terminal-0193","view":"live"}}"#,
    r#"{"type":"OUTPUT_TAKEN","id":"msg_7","timestamp":1762041650015,"payload":{"commandId":"terminal-0193","incarnation":5,"offset":900}}"#,
    r#"{"type":"COMMAND_TEXT","id":"msg_8","timestamp":1762041650016,"payload":{"commandId":"cmd-7","offset":0,"bytes":"bHM="}}"#,
];

#[test]
fn a_release_says_whose() {
    let scope = |text: &str| match message::<DashboardToServer>("STOP_RELEASE", text) {
        StopRelease(release) => release.scope(),
        other => panic!("{other:?}"),
    };
    let StopRelease(one) = read::<DashboardToServer>(OURS[0]).message else { panic!() };
    assert_eq!(one.scope(), Some(StopScope::Agent(AgentId::new("a"))));
    let StopRelease(all) = read::<DashboardToServer>(OURS[1]).message else { panic!() };
    assert_eq!(all.scope(), Some(StopScope::All));
    for vague in ["{}", r#"{"all":false}"#, r#"{"agentId":"a","all":true}"#] {
        assert_eq!(scope(vague), None, "{vague}");
    }
}

#[test]
fn the_existing_dashboards_hello_subscribes_everything() {
    assert_eq!(
        read::<DashboardToServer>(EXISTING[0]).message,
        Init(DashboardInit {
            user_id: Some(UserId::new("u-1")),
            subscriptions: Subscriptions {
                agents: Selection::All,
                commands: Selection::All,
                terminals: true,
                traces: true,
            },
            extensions: None,
        })
    );
}

#[test]
fn probes_carry_their_numbers() {
    let Ping(ping) = read::<DashboardToServer>(EXISTING[1]).message else { panic!() };
    assert_eq!((ping.timestamp, ping.sequence), (Some(1_762_041_630_000.0), Some(1)));
    let Pong(pong) = read::<DashboardToServer>(EXISTING[2]).message else { panic!() };
    assert_eq!((pong.latency, pong.sequence), (Some(12.5), Some(4)));
}

#[test]
fn the_agents_page_asks_by_command_with_zero_as_urgent() {
    let CommandRequest(request) = read::<DashboardToServer>(EXISTING[3]).message else { panic!() };
    assert_eq!(request.agent_id, Some(AgentId::new("9c5b94b1-35ad-49bb-b118-8e8fc24abf80")));
    assert_eq!(request.command_id, Some(CommandId::new("cmd-1762041640000-ab12")));
    assert_eq!((request.text.as_str(), request.priority), ("make test", Priority::High));
    assert_eq!(request.constraints.time_limit_ms, Some(300_000));
}

#[test]
fn the_test_page_asks_by_content_with_priorities_as_words() {
    let CommandRequest(request) = read::<DashboardToServer>(EXISTING[4]).message else { panic!() };
    assert_eq!((request.text.as_str(), request.priority), ("make test", Priority::Normal));
    assert_eq!(request.agent_id, Some(AgentId::new("a")));
}

#[test]
fn the_commands_page_names_no_agent_and_takes_ten_for_urgent() {
    let CommandRequest(request) = read::<DashboardToServer>(EXISTING[5]).message else { panic!() };
    assert_eq!((request.agent_id, request.priority), (None, Priority::High));
    assert_eq!(request.text, "make test");
}

#[test]
fn cancels_come_with_agent_or_with_reason() {
    let CommandCancel(by_agent) = read::<DashboardToServer>(EXISTING[6]).message else { panic!() };
    assert_eq!((by_agent.agent_id, by_agent.reason), (Some(AgentId::new("a")), None));
    let CommandCancel(why) = read::<DashboardToServer>(EXISTING[7]).message else { panic!() };
    assert_eq!((why.agent_id, why.reason.as_deref()), (None, Some("User cancelled")));
    assert!(!why.force);
}

#[test]
fn emergency_stops_come_with_anything_or_nothing() {
    for frame in &EXISTING[8..11] {
        assert!(matches!(read::<DashboardToServer>(frame).message, EmergencyStop(_)), "{frame}");
    }
    assert_eq!(
        message::<DashboardToServer>("EMERGENCY_STOP", "{}"),
        EmergencyStop(p::EmergencyStop::default())
    );
}

#[test]
fn a_lifetime_in_milliseconds_is_noticed() {
    let TokenRefresh(refresh) = read::<DashboardToServer>(EXISTING[11]).message else { panic!() };
    assert_eq!(refresh.expires_in, Some(3600));
}

#[test]
fn subscriptions_change_one_kind_at_a_time() {
    let Subscribe(subscribe) = read::<DashboardToServer>(EXISTING[12]).message else { panic!() };
    let Unsubscribe(all) = read::<DashboardToServer>(EXISTING[13]).message else { panic!() };
    let mut s = Subscriptions { terminals: true, ..Subscriptions::default() };
    subscribe.apply_to(&mut s);
    assert_eq!(s.agents, Selection::Only(["a".into()].into()));
    subscribe.remove_from(&mut s);
    assert!(!s.agents.contains("a"));
    all.remove_from(&mut s);
    assert!(!s.terminals);
}

#[test]
fn orders_are_read_in_any_case() {
    let Control(control) = read::<DashboardToServer>(EXISTING[14]).message else { panic!() };
    assert_eq!(control.action, ControlAction::Restart);
    assert_eq!(control.agent_id, Some(AgentId::new("a")));
}
