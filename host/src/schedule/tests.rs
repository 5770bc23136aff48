use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const S: Duration = Duration::from_secs(1);

fn ids(range: std::ops::Range<u32>) -> Vec<FileId> {
    range.map(FileId).collect()
}

fn ended(file: u32) -> Event {
    Event::Ended { file: FileId(file), failed: false }
}

fn failed(file: u32) -> Event {
    Event::Ended { file: FileId(file), failed: true }
}

#[test]
fn once_hands_out_a_window_at_a_time_and_ends() {
    let mut s = Scheduler::new(Mode::Once, 2, None);
    assert_eq!(s.on(Event::Found(ids(0..3)), S, 0), [Action::HandOut(ids(0..2))]);
    assert_eq!(s.on(ended(1), S, 0), [Action::HandOut(ids(2..3))]);
    assert_eq!(s.on(ended(0), S, 0), []);
    assert_eq!(s.on(ended(2), S, 0), [Action::Drain, Action::End(Ending::Complete)]);
}

#[test]
fn once_with_nothing_to_do_ends_at_once() {
    let mut s = Scheduler::new(Mode::Once, 2, None);
    assert_eq!(s.on(Event::Found(vec![]), S, 0), [Action::Drain, Action::End(Ending::Complete)]);
}

#[test]
fn once_waits_for_files_that_are_not_settled() {
    let mut s = Scheduler::new(Mode::Once, 2, None);
    assert_eq!(s.on(Event::Found(vec![]), S, 1), []);
    assert_eq!(s.on(Event::Found(ids(0..1)), S, 0), [Action::HandOut(ids(0..1))]);
}

#[test]
fn idle_time_is_counted_from_the_last_work() {
    let mut s = Scheduler::new(Mode::Idle(5 * S), 2, None);
    s.on(Event::Found(ids(0..1)), S, 0);
    assert_eq!(s.idle_deadline(), None);
    assert_eq!(s.on(Event::Tick, 20 * S, 0), []);
    assert_eq!(s.on(ended(0), 30 * S, 0), []);
    assert_eq!(s.idle_deadline(), Some(35 * S));
    assert_eq!(s.on(Event::Tick, 34 * S, 0), []);
    assert_eq!(s.on(Event::Tick, 35 * S, 0), [Action::Drain, Action::End(Ending::Complete)]);
}

#[test]
fn a_file_that_is_being_written_keeps_an_idle_server_up() {
    let mut s = Scheduler::new(Mode::Idle(5 * S), 2, None);
    assert_eq!(s.on(Event::Tick, 10 * S, 1), []);
    assert_eq!(s.on(Event::Tick, 14 * S, 0), []);
    assert_eq!(s.on(Event::Tick, 15 * S, 0), [Action::Drain, Action::End(Ending::Complete)]);
}

#[test]
fn a_signal_lets_files_in_flight_finish_and_a_second_one_does_not() {
    let mut s = Scheduler::new(Mode::Serve, 2, None);
    s.on(Event::Found(ids(0..5)), S, 0);
    assert_eq!(s.on(Event::StopAsked(2), S, 0), [Action::Drain]);
    assert_eq!(s.on(Event::HandedBack(FileId(1)), S, 0), []);
    assert_eq!(s.on(Event::StopAsked(15), S, 0), [Action::Abandon(15)]);
    assert_eq!(s.on(ended(0), S, 0), [Action::End(Ending::Signal(2))]);
    assert_eq!(s.waiting(), 4);
}

#[test]
fn the_first_setup_has_one_try_and_later_ones_three() {
    let mut s = Scheduler::new(Mode::Serve, 1, None);
    assert_eq!(s.on(Event::SetupFailed, S, 0), [Action::Drain, Action::End(Ending::SetupFailed)]);

    let mut s = Scheduler::new(Mode::Serve, 1, None);
    s.on(Event::SetupWorked, S, 0);
    assert_eq!(s.on(Event::SetupFailed, S, 0), []);
    assert_eq!(s.on(Event::SetupFailed, S, 0), []);
    assert_eq!(s.on(Event::SetupFailed, S, 0), [Action::Drain, Action::End(Ending::SetupFailed)]);
}

#[test]
fn a_second_signal_is_heard_whatever_else_ends_the_run() {
    for other in [Event::HostFailed, Event::SetupFailed] {
        let mut s = Scheduler::new(Mode::Serve, 2, None);
        s.on(Event::Found(ids(0..2)), S, 0);
        s.on(Event::StopAsked(2), S, 0);
        s.on(other, S, 0);
        assert_eq!(s.on(Event::StopAsked(2), S, 0), [Action::Abandon(2)]);
    }
}

#[test]
fn a_full_disk_overrules_a_signal() {
    let mut s = Scheduler::new(Mode::Serve, 1, None);
    s.on(Event::Found(ids(0..2)), S, 0);
    s.on(Event::StopAsked(2), S, 0);
    s.on(Event::HostFailed, S, 0);
    assert_eq!(s.on(Event::HandedBack(FileId(0)), S, 0), [Action::End(Ending::HostFailed)]);
}

#[test]
fn a_retry_waits_takes_no_place_and_goes_first() {
    let mut s = Scheduler::new(Mode::Once, 1, None);
    s.on(Event::Found(ids(0..4)), S, 0);
    assert_eq!(s.on(Event::Retry(FileId(0), 5 * S), S, 0), [Action::HandOut(ids(1..2))]);
    assert_eq!((s.retrying(), s.next_retry()), (1, Some(6 * S)));
    assert_eq!(s.on(ended(1), 5 * S, 0), [Action::HandOut(ids(2..3))]);
    assert_eq!(s.on(ended(2), 6 * S, 0), [Action::HandOut(ids(0..1))]);
    assert_eq!(s.on(ended(0), 7 * S, 0), [Action::HandOut(ids(3..4))]);
    assert_eq!(s.on(ended(3), 7 * S, 0), [Action::Drain, Action::End(Ending::Complete)]);
}

#[test]
fn a_run_does_not_end_while_a_file_waits_for_its_retry() {
    for mode in [Mode::Once, Mode::Idle(2 * S)] {
        let mut s = Scheduler::new(mode, 1, None);
        s.on(Event::Found(ids(0..1)), S, 0);
        assert_eq!(s.on(Event::Retry(FileId(0), 50 * S), S, 0), []);
        assert_eq!(s.on(Event::Tick, 40 * S, 0), []);
        assert_eq!(s.on(Event::Tick, 51 * S, 0), [Action::HandOut(ids(0..1))]);
    }
}

#[test]
fn a_signal_does_not_wait_for_retries() {
    let mut s = Scheduler::new(Mode::Once, 1, None);
    s.on(Event::Found(ids(0..1)), S, 0);
    s.on(Event::Retry(FileId(0), 50 * S), S, 0);
    let end = [Action::Drain, Action::End(Ending::Signal(2))];
    assert_eq!(s.on(Event::StopAsked(2), S, 0), end);
    assert_eq!((s.retrying(), s.next_retry()), (1, None));
    assert_eq!(s.on(Event::Tick, 60 * S, 0), []);
}

#[test]
fn a_run_that_is_plainly_broken_stops() {
    let mut s = Scheduler::new(Mode::Serve, 2, Some(MaxFailures::Count(2)));
    s.on(Event::Found(ids(0..9)), S, 0);
    s.on(failed(0), S, 0);
    assert_eq!(s.on(failed(1), S, 0), [Action::Drain]);
    assert_eq!(s.on(ended(2), S, 0), [Action::End(Ending::TooManyFailures)]);

    let mut s = Scheduler::new(Mode::Serve, 1, Some(MaxFailures::Percent(50.0)));
    s.on(Event::Found(ids(0..99)), S, 0);
    for file in 0..MaxFailures::LEAST_ENDED as u32 - 1 {
        assert!(!s.on(failed(file), S, 0).contains(&Action::Drain), "{file}");
    }
    let last = MaxFailures::LEAST_ENDED as u32 - 1;
    assert_eq!(s.on(failed(last), S, 0), [Action::Drain, Action::End(Ending::TooManyFailures)]);
}

/// What the world may do to a run.
#[derive(Clone, Debug)]
enum Move {
    Find(u8),
    End(u8),
    Retry(u8, u8),
    HandBack(u8),
    SetupWorked,
    SetupFailed,
    HostFailed,
    Stop,
    Tick(u8),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        8 => (0u8..5).prop_map(Move::Find),
        12 => any::<u8>().prop_map(Move::End),
        4 => (any::<u8>(), 0u8..9).prop_map(|(i, after)| Move::Retry(i, after)),
        2 => any::<u8>().prop_map(Move::HandBack),
        3 => Just(Move::SetupWorked),
        1 => Just(Move::SetupFailed),
        1 => Just(Move::HostFailed),
        1 => Just(Move::Stop),
        3 => (0u8..10).prop_map(Move::Tick),
    ];
    proptest::collection::vec(one, 0..200)
}

proptest! {
    /// Whatever happens: no file is handed out twice at once, none is lost,
    /// no retry comes
    /// before its time, never more than the window, nothing after the drain, one end only, and
    /// only when nothing is held.
    #[test]
    fn nothing_is_lost_or_doubled(window in 1usize..6, mode in 0u8..3, moves in moves()) {
        let mode = [Mode::Once, Mode::Idle(3 * S), Mode::Serve][usize::from(mode)];
        let mut s = Scheduler::new(mode, window, None);
        let mut now = Duration::ZERO;
        let mut found = 0u32;
        let (mut waiting, mut held, mut done) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
        let mut delayed: BTreeMap<FileId, Duration> = BTreeMap::new();
        let (mut draining, mut ended, mut stops) = (false, false, 0);
        for step in moves {
            let event = match step {
                Move::Find(n) => {
                    let new = ids(found..found + u32::from(n));
                    found += u32::from(n);
                    waiting.extend(new.iter().copied());
                    Event::Found(new)
                }
                Move::End(_) | Move::HandBack(_) | Move::Retry(..) if held.is_empty() => Event::Tick,
                Move::End(i) => {
                    let id: FileId = held.swap_remove(usize::from(i) % held.len());
                    done.insert(id);
                    Event::Ended { file: id, failed: false }
                }
                Move::Retry(i, after) => {
                    let id = held.swap_remove(usize::from(i) % held.len());
                    delayed.insert(id, now + u32::from(after) * S);
                    Event::Retry(id, u32::from(after) * S)
                }
                Move::HandBack(i) => {
                    let id = held.swap_remove(usize::from(i) % held.len());
                    waiting.insert(id);
                    Event::HandedBack(id)
                }
                Move::SetupWorked => Event::SetupWorked,
                Move::SetupFailed => Event::SetupFailed,
                Move::HostFailed => Event::HostFailed,
                Move::Stop => {
                    stops += 1;
                    Event::StopAsked(2)
                }
                Move::Tick(seconds) => {
                    now += u32::from(seconds) * S;
                    Event::Tick
                }
            };
            let stop = event == Event::StopAsked(2);
            let actions = s.on(event, now, 0);
            prop_assert_eq!(actions.contains(&Action::Abandon(2)), stop && stops > 1);
            for action in actions {
                match action {
                    Action::HandOut(files) => {
                        prop_assert!(!draining);
                        for id in files {
                            let due = delayed.remove(&id).is_some_and(|due| due <= now);
                            prop_assert!(due || waiting.remove(&id), "{id:?} was not waiting");
                            held.push(id);
                        }
                    }
                    Action::Drain => {
                        prop_assert!(!draining);
                        draining = true;
                    }
                    Action::End(_) => {
                        prop_assert!(draining && !ended && held.is_empty());
                        ended = true;
                    }
                    Action::Abandon(_) => prop_assert!(draining),
                }
            }
            prop_assert!(held.len() <= window);
            prop_assert_eq!(s.held(), held.len());
            prop_assert_eq!(s.waiting() + s.retrying(), waiting.len() + delayed.len());
            let known = waiting.len() + held.len() + delayed.len() + done.len();
            prop_assert_eq!(known, found as usize);
            let due = delayed.values().filter(|&&due| due <= now).count();
            prop_assert!(draining || held.len() == window || waiting.len() + due == 0);
        }
    }
}
