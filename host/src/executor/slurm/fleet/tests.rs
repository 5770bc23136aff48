use super::*;

mod cluster;
mod properties;
mod worker;
mod world;

fn settings(max: usize, concurrency: usize) -> Settings {
    let limits = Limits { min: 0, max, files_per_worker: 1 };
    Settings { limits, concurrency, rate: None, plan: "p".into(), grace: Duration::ZERO }
}

#[test]
fn nothing_to_do_asks_for_nothing() {
    let mut fleet = Fleet::new(settings(3, 1), 0);
    fleet.tick(Duration::ZERO);
    assert_eq!(fleet.take_actions(), []);
}
