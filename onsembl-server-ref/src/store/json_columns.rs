//! The columns that hold JSON, and how a row of each is named: for who reads them, and for who looks for those that
//! cannot be read.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

/// A column that holds JSON.
#[derive(Debug)]
pub(super) struct JsonColumn {
    pub(super) table: &'static str,
    /// The columns by which a row is known.
    pub(super) key: &'static [&'static str],
    pub(super) name: &'static str,
}

pub(super) const CAPABILITIES: JsonColumn =
    JsonColumn { table: "agents", key: &["agent_id"], name: "capabilities" };
pub(super) const LAST_METRICS: JsonColumn =
    JsonColumn { table: "agents", key: &["agent_id"], name: "last_metrics" };
pub(super) const SPEC: JsonColumn =
    JsonColumn { table: "commands", key: &["user_id", "command_id"], name: "spec" };
pub(super) const TOLD: JsonColumn =
    JsonColumn { table: "findings", key: &["agent_id", "id"], name: "told" };
pub(super) const EVIDENCE: JsonColumn =
    JsonColumn { table: "presence_events", key: &["agent_id", "version"], name: "evidence" };

/// All of them.
pub(super) const ALL: [&JsonColumn; 5] = [&CAPABILITIES, &LAST_METRICS, &SPEC, &TOLD, &EVIDENCE];

/// Rows that are named at most; how many there are besides is counted.
pub(super) const NAMED: usize = 32;

/// A row with a column that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRow {
    /// Where it is.
    pub table: &'static str,
    /// Which row: the names and values of its key.
    pub key: String,
    /// Which column.
    pub column: &'static str,
}

impl JsonColumn {
    /// The key of a row of the table, as far as it was selected.
    pub(super) fn key_of(&self, row: &Row<'_>) -> String {
        let value = |name: &&str| {
            let value = match row.get_ref(*name) {
                Ok(ValueRef::Integer(number)) => number.to_string(),
                Ok(ValueRef::Text(text)) => String::from_utf8_lossy(text).into_owned(),
                Ok(ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_)) | Err(_) => "?".into(),
            };
            format!("{name}={value}")
        };
        self.key.iter().map(value).collect::<Vec<_>>().join(" ")
    }

    /// The rows whose column holds no JSON: the first of them, at most `most`, and how many there are.
    pub(super) fn unreadable(
        &self,
        db: &Connection,
        most: usize,
    ) -> rusqlite::Result<(Vec<UnreadableRow>, usize)> {
        let Self { table, key, name } = self;
        let select = format!(
            "SELECT {} FROM {table} WHERE {name} IS NOT NULL AND NOT json_valid({name})",
            key.join(", ")
        );
        let mut query = db.prepare(&select)?;
        let mut rows = query.query([])?;
        let (mut named, mut count) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            count += 1;
            if named.len() < most {
                named.push(UnreadableRow { table, key: self.key_of(row), column: name });
            }
        }
        Ok((named, count))
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::open_writer;
    use super::super::wall_now;
    use super::*;
    use std::collections::BTreeSet;

    /// A column that holds JSON and is not here would not be looked through.
    #[test]
    fn all_columns_are_in_the_schema_and_no_other_was_read_as_json() {
        let dir = tempfile::tempdir().unwrap();
        let db = open_writer(dir.path(), wall_now()).unwrap();
        for column in ALL {
            assert_eq!(column.unreadable(&db, 1).unwrap(), (Vec::new(), 0), "{column:?}");
        }
        let names: BTreeSet<_> = ALL.iter().map(|column| (column.table, column.name)).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
