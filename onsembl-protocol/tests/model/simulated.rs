//! The model over the simulator: fleets in all weathers, and nothing that it demands is broken.

use onsembl_protocol::lab::{sim::Scenario, watch};

#[test]
fn fleets_in_all_weathers_break_no_demand() {
    for seed in 0..60 {
        let watched = watch(&Scenario::from_seed(seed));
        assert_eq!(watched.wrong, None, "seed {seed}");
    }
}
