//! What a coordinator must remember of its workers, so that another one can go
//! on where it died.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::job::JobId;
use super::lines::{Appender, Follower};
use super::protocol::Seat;

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// Slurm is about to be asked for so many workers.
    Submitting {
        /// The submission's number.
        submission: u32,
        /// How many.
        workers: u32,
    },
    /// Slurm has answered.
    Submitted {
        /// The submission's number.
        submission: u32,
        /// The job, or the array of jobs.
        job: u64,
    },
    /// A seat is empty for good.
    Over(Seat),
    /// The run has ended in good order.
    Closed,
}

/// The ledger, open for appending.
pub type Ledger = Appender<Entry>;

/// What a ledger says of a run.
#[derive(Debug, Default)]
pub struct Books {
    /// Seats that are not known to be empty, with their jobs where those are
    /// known.
    pub seats: BTreeMap<Seat, Option<JobId>>,
    /// How many submissions were made.
    pub submissions: u32,
    /// Whether the run ended in good order.
    pub closed: bool,
}

impl Books {
    /// Reads the ledger at `path`. One that is not there says nothing.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut entries = Vec::new();
        Follower::new(path.into()).read(&mut entries)?;
        let mut books = Books::default();
        let mut sizes: BTreeMap<u32, u32> = BTreeMap::new();
        for entry in entries {
            match entry {
                Entry::Submitting { submission, workers } => {
                    books.submissions = books.submissions.max(submission);
                    sizes.insert(submission, workers);
                    let seats = (0..workers).map(|index| Seat { submission, index });
                    books.seats.extend(seats.map(|seat| (seat, None)));
                }
                Entry::Submitted { submission, job } => {
                    let array = sizes.get(&submission).is_some_and(|&workers| workers > 1);
                    let of = books.seats.iter_mut().filter(|(s, _)| s.submission == submission);
                    for (seat, known) in of {
                        *known = Some(JobId { base: job, index: array.then_some(seat.index) });
                    }
                }
                Entry::Over(seat) => drop(books.seats.remove(&seat)),
                Entry::Closed => books.closed = true,
            }
        }
        Ok(books)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_over_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        assert!(Books::read(&path).unwrap().seats.is_empty());
        let mut ledger = Ledger::open(&path).unwrap();
        let seat = |submission, index| Seat { submission, index };
        for entry in [
            Entry::Submitting { submission: 1, workers: 1 },
            Entry::Submitted { submission: 1, job: 7 },
            Entry::Submitting { submission: 2, workers: 3 },
            Entry::Submitted { submission: 2, job: 8 },
            Entry::Over(seat(2, 1)),
            Entry::Submitting { submission: 3, workers: 1 },
        ] {
            ledger.push(&entry);
        }
        ledger.flush().unwrap();
        let books = Books::read(&path).unwrap();
        let job = |base, index| Some(JobId { base, index });
        let seats = [
            (seat(1, 0), job(7, None)),
            (seat(2, 0), job(8, Some(0))),
            (seat(2, 2), job(8, Some(2))),
            (seat(3, 0), None),
        ];
        assert_eq!(books.seats, BTreeMap::from(seats));
        assert_eq!((books.submissions, books.closed), (3, false));
    }
}
