//! Statistics of a text as JSON: how many lines, sentences, words and
//! characters it has, and which words it uses most.

mod statistics;

use tigerflow_task::prelude::*;

use crate::statistics::{Rules, statistics};

/// The context: what counts as which word.
struct CountWords {
    rules: Rules,
}

#[derive(Params)]
struct Options {
    /// How many of the most frequent words to list
    #[param(default = 10)]
    top: u32,
    /// List no words with fewer characters than this
    #[param(default = 1)]
    min_length: u32,
    /// Words not to list, with commas between: "the,of,and"
    skip: Option<String>,
    /// Take `The` and `the` for two words
    case_sensitive: bool,
}

impl Task for CountWords {
    type Params = Options;

    fn setup(options: Options) -> Result<Self> {
        Ok(CountWords {
            rules: Rules::new(
                options.top,
                options.min_length,
                options.skip.as_deref().unwrap_or_default(),
                options.case_sensitive,
            ),
        })
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let text = input.read_to_string()?;
        let mut json = serde_json::to_vec_pretty(&statistics(&text, &self.rules))?;
        json.push(b'\n');
        output.write(json)
    }
}

export_task!(CountWords);
