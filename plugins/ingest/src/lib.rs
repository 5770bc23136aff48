//! JSON files into one SQLite database, inside a granted directory.
//!
//! A file that holds an array gives a row for each element, any other file one
//! row. The output stays empty: it says that the file is in the database.

mod store;

use tigerflow_task::prelude::*;

use crate::store::{Store, documents};

/// Where the task sees the directory that holds the database.
const DIRECTORY: &str = "/db";

/// The context: the open database.
struct Ingest {
    store: Store,
}

#[derive(Params)]
struct Options {
    /// The database's file name, in the directory granted as /db
    #[param(default = "ingest.db")]
    database: String,
    /// The table to write
    #[param(default = "documents")]
    table: String,
}

impl Task for Ingest {
    type Params = Options;

    fn about() -> About {
        About::new()
            // The database is opened without locks (see `store`): this limit
            // is what keeps a second writer away.
            .max_concurrency(1)
            .needs(Grant::read_write(DIRECTORY), "Makes and fills the database there")
    }

    fn setup(options: Options) -> Result<Self> {
        let name = &options.database;
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']) {
            bail!("`--database` must be a file name, not `{name}`");
        }
        let path = format!("{DIRECTORY}/{name}");
        let store = Store::open(path.as_ref(), &options.table)
            .with_context(|| format!("cannot open the database `{path}`"))?;
        Ok(Ingest { store })
    }

    fn run(&self, input: &Input, _: &Output) -> Result<()> {
        let text = input.read_to_string()?;
        let documents =
            documents(&text).with_context(|| format!("`{}` is not JSON", input.name()))?;
        self.store.replace(input.stem(), &documents)
    }

    fn teardown(self) -> Result<()> {
        self.store.close()
    }
}

export_task!(Ingest);
