//! Between columns and domain types: numbers, times and JSON. No table is named here.

use onsembl_protocol::time::WallTime;
use rusqlite::types::Type;
use rusqlite::{Error, Result, Row};
use serde_json::Value;
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

/// JSON from a column.
pub(super) fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|e| unreadable(row, column, Type::Text, e))
}

/// JSON that may be missing.
pub(super) fn json_or_none(row: &Row<'_>, column: &str) -> Result<Option<Value>> {
    let text: Option<String> = row.get(column)?;
    text.map(|t| serde_json::from_str(&t).map_err(|e| unreadable(row, column, Type::Text, e)))
        .transpose()
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
