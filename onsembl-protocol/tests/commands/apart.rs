//! Two users of one server: whatever the one does, what the other is given is the same.

use super::seeds::number;
use super::weather::Weather;
use super::wires::Counts;
use super::world::World;
use onsembl_protocol::fleet::SeatId;
use onsembl_protocol::id::UserId;

/// So much happens to the user that is watched, and four times as much to the other.
const STEPS: usize = 300;

/// Everything that user `u` is given in a world of this seed, with or without a hostile neighbour.
fn given(seed: u64, has_neighbour: bool) -> Vec<String> {
    let counts = Counts::default();
    let begin = |name: &str, seat: u64, seed: u64, weather: Weather| {
        let random = fastrand::Rng::with_seed(seed);
        let user = (UserId::new(name), SeatId(seat));
        World::new(seed, weather, random, user, counts.clone(), None)
    };
    let weather =
        Weather { server_dies: false, ..Weather::draw(&mut fastrand::Rng::with_seed(seed)) };
    let mut own = begin("u", 1, seed, weather);
    own.transcript = Some(Vec::new());
    let mut other =
        has_neighbour.then(|| begin("v", 1 << 32, seed.wrapping_add(1 << 40), Weather::WORST));
    for _ in 0..STEPS {
        own.step();
        for _ in 0..4 {
            other.iter_mut().for_each(World::step);
        }
    }
    own.rest();
    own.transcript.unwrap()
}

#[test]
fn what_one_user_is_given_is_the_same_whatever_another_does() {
    for seed in 0..number("ONSEMBL_SIM_SEEDS", 1000) / 10 {
        let (alone, beside) = (given(seed, false), given(seed, true));
        assert!(alone.len() > 20, "seed {seed}: {}", alone.len());
        for (n, (alone, beside)) in alone.iter().zip(&beside).enumerate() {
            assert_eq!(alone, beside, "seed {seed}, thing {n}");
        }
        assert_eq!(alone.len(), beside.len(), "seed {seed}");
    }
}
