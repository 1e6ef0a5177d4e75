//! By what names agents are found.

use super::bench::Bench;
use onsembl_protocol::fleet::FleetLimits;

#[test]
fn an_agent_that_comes_under_a_new_name_each_time_is_found_by_one_key() {
    let mut bench = Bench::new(FleetLimits::DEFAULT);
    for n in 0..100 {
        let link = bench.join_legacy(&format!("name {n}"));
        bench.cut(link);
        bench.calm();
    }
    assert_eq!(bench.server.view().agents().len(), 1);
    assert_eq!(bench.server.fleet.size().keys, 1);
}
