use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::super::super::autoscale::Limits;
use super::cluster::{Fate, NODES, Weather};
use super::worker::{End, File, MS, S};
use super::world::{Scene, World};
use crate::executor::gate::Rate;
use crate::schedule::Ending;

/// Longest time that a run may take, once all trouble is over.
const LIMIT: Duration = Duration::from_secs(6 * 3600);

fn span(longest: Duration) -> impl Strategy<Value = Duration> {
    // Short ones as often as long ones.
    (0.0..1.0f64).prop_map(move |x| MS + longest.mul_f64((x * 12.0).exp2() / 4096.0))
}

/// Any time up to this one is as likely.
fn within(longest: Duration) -> impl Strategy<Value = Duration> {
    (0.0..1.0f64).prop_map(move |x| MS + longest.mul_f64(x))
}

fn file(ends: Vec<End>) -> impl Strategy<Value = File> {
    let comes = prop_oneof![3 => Just(Duration::ZERO), 1 => within(300 * S)];
    (comes, span(40 * S), proptest::sample::select(ends)).prop_map(|(comes, takes, end)| File {
        comes,
        takes,
        end,
    })
}

fn files(ends: Vec<End>) -> impl Strategy<Value = Vec<File>> {
    proptest::collection::vec(file(ends), 1..60).prop_map(|mut files| {
        files.sort_by_key(|file| file.comes);
        files
    })
}

fn good() -> Vec<End> {
    let mut ends = vec![End::Succeed; 12];
    ends.extend([End::Fail, End::Abort, End::Vanish, End::Retry]);
    ends
}

fn deadly() -> Vec<End> {
    let mut ends = good();
    ends.extend([End::Kill, End::Kill]);
    ends
}

fn calm_weather() -> Weather {
    Weather {
        capacity: 100,
        wait: S,
        setup: S,
        trouble: 0,
        fates: Vec::new(),
        bad_nodes: Vec::new(),
        outages: Vec::new(),
        refused: 0,
        busy: 0,
        unanswered: 0,
        arrays: true,
        calm: Duration::ZERO,
    }
}

prop_compose! {
    fn calm(ends: Vec<End>)(
        seed: u64,
        files in files(ends),
        (min, max, files_per_worker) in (0usize..3, 1usize..8, 1usize..10),
        concurrency in 1usize..6,
        window in 50usize..200,
        latency in span(2 * S),
        grace in span(100 * S),
        (capacity, wait, setup) in (1usize..10, span(60 * S), span(60 * S)),
        arrays: bool,
    ) -> Scene {
        Scene {
            seed,
            files,
            limits: Limits { min, max, files_per_worker },
            concurrency,
            rate: None,
            grace,
            window,
            latency,
            weather: Weather { capacity, wait, setup, arrays, ..calm_weather() },
            deaths: Vec::new(),
            stop: None,
        }
    }
}

fn outages() -> impl Strategy<Value = Vec<(Duration, Duration)>> {
    let outage = (within(300 * S), span(400 * S)).prop_map(|(from, long)| (from, from + long));
    proptest::collection::vec(outage, 0..3)
}

prop_compose! {
    fn rough(ends: Vec<End>)(
        scene in calm(ends),
        trouble in 0u32..100,
        fates in proptest::sample::subsequence(Fate::ALL.to_vec(), 1..8),
        outages in outages(),
        (refused, busy, unanswered) in (0u32..40, 0u32..40, 0u32..40),
        calm in within(900 * S),
    ) -> Scene {
        let weather = Weather {
            trouble, fates, outages, refused, busy, unanswered, calm, ..scene.weather
        };
        Scene { weather, ..scene }
    }
}

/// What must hold when a run has ended by itself.
fn check_end(world: &World) {
    let ended = world.ending;
    if ended != Some(Ending::Complete) {
        // It may have given up, and only with reason.
        match ended {
            Some(Ending::SetupFailed) => assert!(world.cluster.early_ends >= 3, "{ended:?}"),
            Some(Ending::HostFailed) => assert!(world.scene.weather.refused > 0, "{ended:?}"),
            other => panic!("it ended as {other:?}"),
        }
        return;
    }
    for (index, file) in world.scene.files.iter().enumerate() {
        let truth = &world.ground.truth[index];
        assert_eq!(world.settled()[index], 1, "{index}: {file:?}, {truth:?}");
        let outcome = &world.outcomes[index];
        match (file.end, truth.output) {
            (End::Kill, output) => {
                assert_eq!(output, Some(false), "{outcome:?}");
                assert!(truth.begun >= 2, "{truth:?}");
            }
            (End::Vanish, output) => assert!(truth.vanished || output == Some(false)),
            (_, output) => assert!(output.is_some()),
        }
        // Only what was cut off, or seemed to be, is done again.
        let retries = usize::from(file.end == End::Retry) * (1 + world.takeovers);
        let most = 1 + retries + truth.losses;
        assert!(truth.begun <= most, "file {index} was begun too often: {truth:?}");
    }
    assert!(world.convicted.iter().all(|n| *n <= 1));
}

fn live(scene: Scene) -> World {
    let limit = LIMIT + scene.weather.calm;
    let mut world = World::new(scene);
    world.run(limit);
    world
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn where_nothing_goes_wrong_each_file_is_begun_once(scene in calm(good())) {
        let world = live(scene);
        assert_eq!(world.ending, Some(Ending::Complete));
        check_end(&world);
        assert_eq!(world.lost, 0);
    }

    #[test]
    fn files_that_kill_are_convicted_and_no_others(scene in calm(deadly())) {
        let world = live(scene);
        assert_eq!(world.ending, Some(Ending::Complete));
        check_end(&world);
        for (file, convicted) in world.scene.files.iter().zip(&world.convicted) {
            assert_eq!(file.end == End::Kill, *convicted == 1);
        }
    }

    #[test]
    fn nothing_is_lost_or_doubled(scene in rough(good())) {
        check_end(&live(scene));
    }

    #[test]
    fn nor_where_files_kill(scene in rough(deadly())) {
        check_end(&live(scene));
    }

    #[test]
    fn a_run_that_is_told_to_stop_ends(scene in rough(deadly()), stop in within(300 * S)) {
        let world = live(Scene { stop: Some(stop), ..scene });
        let files = world.scene.files.len();
        assert!(world.ending.is_some());
        assert!((0..files).all(|index| world.settled()[index] <= 1));
    }

    #[test]
    fn another_coordinator_goes_on(
        scene in rough(deadly()),
        mut deaths in proptest::collection::vec(within(300 * S), 1..4),
    ) {
        deaths.sort();
        check_end(&live(Scene { deaths, ..scene }));
    }

    #[test]
    fn no_window_of_time_sees_too_many_attempts(
        scene in calm(deadly()),
        attempts in 1u32..30,
        window in 1u64..20,
        rough: bool,
    ) {
        let window = S * window as u32;
        let rate = Rate { attempts: NonZeroU32::new(attempts).unwrap(), window };
        let weather = Weather {
            trouble: if rough { 50 } else { 0 },
            fates: Fate::ALL.to_vec(),
            calm: if rough { 200 * S } else { Duration::ZERO },
            ..scene.weather
        };
        let latency = scene.latency.min(300 * MS);
        let world = live(Scene { rate: Some(rate), weather, latency, ..scene });
        check_end(&world);
        let begins = &world.ground.begins;
        for (at, first) in begins.iter().enumerate() {
            let within = begins[at..].iter().take_while(|t| **t - *first < window).count();
            assert!(within <= attempts as usize, "{within} of {attempts} in {window:?}");
        }
    }

    #[test]
    fn a_task_that_cannot_be_set_up_ends_the_run(scene in calm(good())) {
        let weather = Weather { bad_nodes: (0..NODES).collect(), ..scene.weather };
        let world = live(Scene { weather, ..scene });
        assert_eq!(world.ending, Some(Ending::SetupFailed));
        // Some came after failures, on nodes that were left out by then.
        let most = 2 * world.scene.limits.max + 6;
        assert!(world.submits <= most, "{} submissions", world.submits);
    }

    #[test]
    fn one_bad_node_is_left_out(scene in calm(good()), bad in 0..NODES) {
        let weather = Weather { bad_nodes: vec![bad], ..scene.weather };
        let world = live(Scene { weather, ..scene });
        assert_eq!(world.ending, Some(Ending::Complete));
        check_end(&world);
    }
}

fn config() -> ProptestConfig {
    // The same worlds every time; `PROPTEST_CASES=1000` looks at so many others.
    let wanted = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let (cases, rng_seed) = match wanted {
        Some(cases) => (cases, RngSeed::Random),
        None => (64, RngSeed::Fixed(4)),
    };
    ProptestConfig { cases, rng_seed, failure_persistence: None, ..ProptestConfig::default() }
}
