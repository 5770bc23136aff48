//! A staging step: the largest files first, and no more than two at work.

use std::cmp::Reverse;

use tigerflow_task::stage::prelude::*;

struct Largest {
    most: u64,
}

#[derive(Params)]
struct Options {
    /// How many files may be at work
    #[param(default = 2)]
    most: u32,
}

impl Stage for Largest {
    type Params = Options;

    fn about() -> About {
        About::new().name("largest").version("1.2.0").summary("Takes the largest files first")
    }

    fn setup(options: Options) -> Result<Self> {
        if options.most == 0 {
            bail!("`most` is 0, and nothing would ever be taken");
        }
        Ok(Largest { most: options.most.into() })
    }

    fn choose(&mut self, mut files: Vec<Candidate>, counts: &Counts) -> Result<Vec<Candidate>> {
        files.sort_by_key(|file| Reverse(file.size));
        files.truncate(self.most.saturating_sub(counts.staged) as usize);
        Ok(files)
    }
}

export_stage!(Largest);
