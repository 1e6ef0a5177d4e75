//! A probe for an agent is refused where that agent would be (P-370).

use super::kit::{Kit, hello};
use crate::fleet::*;
use crate::id::{LineageId, LinkId, TokenId};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;

fn refusal(name: &str, scope: TokenScope) -> Option<String> {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    let mut probe = hello("i", "h", &[]);
    probe.name = Some(name.to_owned());
    if let Some(extensions) = &mut probe.extensions {
        extensions.probe = true;
    }
    let bearer = Bearer { token: TokenId::new("t"), lineage: LineageId::new("t"), scope };
    let (link, hello, peer) = (LinkId(1), Box::new(probe), "10.0.0.1:5".to_owned());
    kit.feed(FleetEvent::Hello { link, hello, peer, bearer: Some(bearer) });
    kit.refused.pop().map(|(_, why)| why)
}

#[test]
fn a_probe_for_an_agent_that_its_token_is_not_for_is_refused() {
    let of_a = || TokenScope::New("a".to_owned());
    let why = refusal("doctor of nobody", of_a()).unwrap_or_default();
    assert!(why.contains("was made for the agent \"a\""), "{why}");
    assert_eq!(refusal("doctor of a", of_a()), None);
    assert_eq!(refusal("doctor of nobody", TokenScope::Any), None);
    assert_eq!(refusal("something else", of_a()), None, "it is for no agent");
}
