//! The database: one table, one transaction a file.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use serde_json::value::RawValue;
use tigerflow_task::prelude::*;

/// What holds for the whole connection.
///
/// - `journal_mode = TRUNCATE`: WAL needs memory shared between processes,
///   which a sandbox lacks. Of the rollback journals this one changes no
///   directory, and so is the fastest that survives a crash.
/// - `synchronous = FULL`: the host publishes the output once `run` is over,
///   and never asks for that file again. So the rows must be on disk by then,
///   even where the machine loses power a moment later.
/// - `temp_store = MEMORY`: there is no directory for temporary files.
const SETTINGS: &str = "
    PRAGMA journal_mode = TRUNCATE;
    PRAGMA synchronous = FULL;
    PRAGMA temp_store = MEMORY;
";

/// SQLite's way to files that takes no locks.
///
/// A sandbox has none to give. SQLite would make do with a directory
/// `NAME.db.lock`, which a killed worker or a trapped instance leaves behind:
/// every later `setup` would fail with "database is locked", for ever. The
/// host lets in one instance at a time, which is what the lock was for. Two
/// runs, or a run and another program, must not share a database.
const NO_LOCKS: &str = "unix-none";

/// An open database and the statements for one table of it.
pub struct Store {
    connection: Connection,
    upsert: String,
    cut: String,
}

impl Store {
    /// Opens the database, and makes it and its table where they are missing.
    /// What a crash left half-done is rolled back.
    pub fn open(path: &Path, table: &str) -> Result<Self> {
        if !is_identifier(table) {
            bail!("`--table` must be letters, digits and `_`, not `{table}`");
        }
        let connection = Connection::open_with_flags_and_vfs(path, OpenFlags::default(), NO_LOCKS)?;
        connection.execute_batch(SETTINGS)?;
        connection.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS \"{table}\" (
                source TEXT NOT NULL,
                position INTEGER NOT NULL,
                document TEXT NOT NULL,
                ingested_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
                PRIMARY KEY (source, position)
            )"
        ))?;
        let store = Self {
            connection,
            upsert: format!(
                "INSERT INTO \"{table}\" (source, position, document) VALUES (?1, ?2, ?3)
                 ON CONFLICT (source, position) DO UPDATE
                 SET document = excluded.document, ingested_at = excluded.ingested_at"
            ),
            cut: format!("DELETE FROM \"{table}\" WHERE source = ?1 AND position >= ?2"),
        };
        // A table of this name with other columns shows here, before any file.
        store.connection.prepare_cached(&store.upsert)?;
        store.connection.prepare_cached(&store.cut)?;
        Ok(store)
    }

    /// Makes the rows of `source` these documents, in one transaction: a
    /// repeated attempt leaves the same rows, and a failed one those before.
    pub fn replace(&self, source: &str, documents: &[&RawValue]) -> Result<()> {
        // Unchecked: no other transaction is open, as each ends in here.
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let mut upsert = transaction.prepare_cached(&self.upsert)?;
        for (position, document) in (0_i64..).zip(documents) {
            upsert.execute((source, position, document.get()))?;
        }
        transaction
            .prepare_cached(&self.cut)?
            .execute((source, i64::try_from(documents.len())?))?;
        drop(upsert);
        transaction.commit()?;
        Ok(())
    }

    /// Closes the database, and takes the empty journal away.
    pub fn close(self) -> Result<()> {
        self.connection.execute_batch("PRAGMA journal_mode = DELETE")?;
        self.connection.close().map_err(|(_, error)| error)?;
        Ok(())
    }
}

/// A name that needs no quoting, so that people can query it without.
fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// The elements of an array, or the one document that the text is.
pub fn documents(text: &str) -> Result<Vec<&RawValue>> {
    let text = text.trim_ascii();
    if text.starts_with('[') {
        Ok(serde_json::from_str(text)?)
    } else {
        Ok(vec![serde_json::from_str(text)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database in memory, and what its table holds.
    fn store() -> Store {
        Store::open(Path::new(":memory:"), "documents").unwrap()
    }

    fn rows(store: &Store) -> Vec<(String, i64, String)> {
        store
            .connection
            .prepare("SELECT source, position, document FROM documents ORDER BY 1, 2")
            .unwrap()
            .query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    fn row(source: &str, position: i64, document: &str) -> (String, i64, String) {
        (source.to_owned(), position, document.to_owned())
    }

    #[test]
    fn an_array_is_rows_and_the_rest_one() {
        let texts = |text| -> Vec<&str> {
            let all = documents(text).unwrap();
            all.into_iter().map(RawValue::get).collect()
        };
        assert_eq!(texts(" {\"a\": 1.10} \n"), ["{\"a\": 1.10}"]);
        assert_eq!(texts("[1, {\"b\":[2]}]"), ["1", "{\"b\":[2]}"]);
        assert!(texts("[]").is_empty());
        for wrong in ["", "{", "[1,]", "{} {}"] {
            assert!(documents(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_repeated_attempt_doubles_nothing() {
        let store = store();
        store.replace("a", &documents("[1,2,3]").unwrap()).unwrap();
        store.replace("b", &documents("9").unwrap()).unwrap();
        store.replace("a", &documents("[1,2,3]").unwrap()).unwrap();
        assert_eq!(rows(&store).len(), 4);
        store.replace("a", &documents("[7]").unwrap()).unwrap();
        assert_eq!(rows(&store), [row("a", 0, "7"), row("b", 0, "9")]);
        store.close().unwrap();
    }

    #[test]
    fn a_database_outlives_its_connection() {
        let path = std::env::temp_dir().join(format!("tigerflow-ingest-{}.db", std::process::id()));
        let store = Store::open(&path, "documents").unwrap();
        store.replace("a", &documents("1").unwrap()).unwrap();
        store.close().unwrap();
        assert!(!path.with_extension("db-journal").exists());
        let store = Store::open(&path, "documents").unwrap();
        assert_eq!(rows(&store), [row("a", 0, "1")]);
        store.close().unwrap();
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn odd_tables_are_refused() {
        for name in ["", "1a", "a b", "a\"; DROP TABLE b; --"] {
            assert!(Store::open(Path::new(":memory:"), name).is_err(), "{name}");
        }
        let path = std::env::temp_dir().join(format!("tigerflow-other-{}.db", std::process::id()));
        Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE TABLE documents (other TEXT)")
            .unwrap();
        assert!(Store::open(&path, "documents").is_err());
        std::fs::remove_file(path).unwrap();
    }
}
