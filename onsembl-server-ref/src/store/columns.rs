//! Between columns and domain types: numbers, times and JSON. No table is named here.

use super::json_columns::JsonColumn;
use onsembl_protocol::time::WallTime;
use rusqlite::types::Type;
use rusqlite::{Error, Result, Row};
use serde::de::DeserializeOwned;
use std::error::Error as StdError;

/// A counter as a column; numbers beyond 63 bits are refused, because they would not sort.
pub(super) fn int(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|e| Error::ToSqlConversionFailure(Box::new(e)))
}

/// A counter from a column.
pub(super) fn number(row: &Row<'_>, column: &str) -> Result<u64> {
    let stored: i64 = row.get(column)?;
    u64::try_from(stored).map_err(|e| unreadable(row, column, Type::Integer, e))
}

/// The same by its place, for a row that is read all the time: a name is looked for among all columns.
pub(super) fn number_at(row: &Row<'_>, place: usize, column: &str) -> Result<u64> {
    let stored: i64 = row.get(place)?;
    u64::try_from(stored).map_err(|e| unreadable(row, column, Type::Integer, e))
}

/// A time from a column.
pub(super) fn time(row: &Row<'_>, column: &str) -> Result<WallTime> {
    row.get(column).map(WallTime::from_unix_millis)
}

/// A time that may be missing.
pub(super) fn time_or_none(row: &Row<'_>, column: &str) -> Result<Option<WallTime>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(WallTime::from_unix_millis))
}

/// JSON from a column; `None` if it holds none, or other JSON than it should. Such a column is left out, as if an
/// earlier
/// version had not written it: a row that another program changed, or a disk, must not keep all others from being read.
pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: &JsonColumn) -> Result<Option<T>> {
    let Some(text) = row.get::<_, Option<String>>(column.name)? else { return Ok(None) };
    match serde_json::from_str(&text) {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            let (table, column_name) = (column.table, column.name);
            let key = column.key_of(row);
            tracing::warn!(
                file = super::schema::FILE_NAME, table, column = column_name, ?key, %error,
                "a stored row holds invalid JSON; this column is ignored, and left unchanged"
            );
            Ok(None)
        }
    }
}

/// The error for a column that holds what it cannot hold.
pub(super) fn unreadable(
    row: &Row<'_>,
    column: &str,
    kind: Type,
    cause: impl Into<Box<dyn StdError + Send + Sync>>,
) -> Error {
    let index = row.as_ref().column_index(column).unwrap_or(usize::MAX);
    Error::FromSqlConversionFailure(index, kind, cause.into())
}
