use super::*;

#[test]
fn nothing_to_do_asks_for_nothing() {
    let limits = Limits { min: 0, max: 3, files_per_worker: 1 };
    let settings =
        Settings { limits, concurrency: 1, rate: None, plan: "p".into(), grace: Duration::ZERO };
    let mut fleet = Fleet::new(settings, 0);
    fleet.tick(Duration::ZERO);
    assert_eq!(fleet.take_actions(), []);
}
