//! Emergency stops: in force until released, in whatever order the two come to be stored.

use crate::common::{at, fresh, one_agent, open, user};
use onsembl_protocol::fleet::StopOrder;
use onsembl_protocol::id::StopId;
use onsembl_protocol::model::StopScope;

fn order(id: &str, scope: StopScope) -> StopOrder {
    StopOrder { id: StopId::new(id), scope, reason: "why".into(), by: user("u"), at: at(5) }
}

#[tokio::test]
async fn what_is_in_force_is_there_after_a_restart_and_what_was_released_is_not() {
    let (dir, store, receipts) = fresh().await;
    let agent = one_agent(&store).await.agent;
    let (all, one) = (order("1", StopScope::All), order("2", StopScope::Agent(agent)));
    store.stops().insert(&user("u"), all.clone()).await.unwrap();
    store.stops().insert(&user("u"), one.clone()).await.unwrap();
    store.stops().insert(&user("u"), one.clone()).await.unwrap();
    store.stops().release(&user("u"), vec![all], &user("u"), at(6)).await.unwrap();
    drop((store, receipts));
    let (store, _receipts) = open(dir.path()).await;
    assert_eq!(store.stops().in_force().await.unwrap(), [(user("u"), one)]);
}

#[tokio::test]
async fn a_stop_for_an_agent_that_is_deleted_is_in_force_no_more() {
    let (dir, store, receipts) = fresh().await;
    let agent = one_agent(&store).await.agent;
    let one = order("2", StopScope::Agent(agent.clone()));
    assert!(store.deletion().delete_agent(&user("u"), &agent, at(6)).await.unwrap());
    // It was on its way while the agent was deleted.
    store.stops().insert(&user("u"), one).await.unwrap();
    drop((store, receipts));
    let (store, _receipts) = open(dir.path()).await;
    assert_eq!(store.stops().in_force().await.unwrap(), []);
}

#[tokio::test]
async fn a_release_that_is_stored_first_holds() {
    let (_dir, store, _receipts) = fresh().await;
    let all = order("1", StopScope::All);
    store.stops().release(&user("u"), vec![all.clone()], &user("u"), at(6)).await.unwrap();
    store.stops().insert(&user("u"), all).await.unwrap();
    assert_eq!(store.stops().in_force().await.unwrap(), []);
}
