//! Pages of lists: bounded in bytes, and in how many are on their way, in turn for all users.
//!
//! A list that does not fit says where it continues (`next`), and is asked for again with that (`after`). One who
//! does not know that sees the first page.

use super::App;
use super::api::problem;
use crate::bounds::Share;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use futures::stream;
use onsembl_protocol::id::UserId;
use serde::Serialize;
use serde_json::{Value, json};
use std::convert::Infallible;

/// Pages on their way at a time; of one user as many as are free.
pub(crate) const PAGES: usize = 32;
/// What the entries of one page hold: several thousand of the usual ones. One entry may exceed it.
pub(crate) const PAGE_BYTES: usize = 2 << 20;
/// How much of a page is handed to its link at a time.
const CHUNK: usize = 64 * 1024;

/// The place of a page that is on its way.
pub(super) type Slot = Share<UserId>;

/// A place for one more page of this user.
///
/// # Errors
/// The answer that says why not.
pub(super) fn slot(app: &App, user: &UserId) -> Result<Slot, Box<Response<Body>>> {
    app.pages.take(user).ok_or_else(|| {
        app.counters.count("pages_refused");
        let why = "too many lists or screens are being read, yours or in total; try again later";
        let mut answer = problem(StatusCode::TOO_MANY_REQUESTS, why);
        let _ = answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        Box::new(answer)
    })
}

/// A list that grows until it is full.
#[derive(Debug)]
pub(super) struct Page {
    entries: Vec<Value>,
    bytes: usize,
    most: usize,
}

impl Default for Page {
    fn default() -> Self {
        Self::within(PAGE_BYTES)
    }
}

impl Page {
    /// One whose entries hold so much.
    pub(super) const fn within(most: usize) -> Self {
        Self { entries: Vec::new(), bytes: 0, most }
    }

    /// Adds an entry, unless the page has one and would become too large. Whether it did.
    pub(super) fn add(&mut self, entry: impl Serialize) -> bool {
        let entry = serde_json::to_value(entry).unwrap_or_default();
        let bytes = entry.to_string().len();
        if !self.entries.is_empty() && self.bytes + bytes > self.most {
            return false;
        }
        self.bytes += bytes;
        self.entries.push(entry);
        true
    }

    /// The answer, with the entries under this name. Its place is given back when the last of it was taken.
    pub(super) fn answer(self, name: &str, next: Option<String>, slot: Slot) -> Response<Body> {
        let mut body = json!({ "total": self.entries.len(), name: self.entries });
        if let (Some(next), Some(fields)) = (next, body.as_object_mut()) {
            let _ = fields.insert("next".to_owned(), next.into());
        }
        whole(body.to_string().into_bytes(), slot)
    }
}

/// An answer of JSON. Its place is given back when the last of it was taken.
pub(super) fn whole(json: Vec<u8>, slot: Slot) -> Response<Body> {
    whole_of(HeaderValue::from_static("application/json"), json, slot)
}

/// The same of another kind.
#[allow(
    clippy::disallowed_methods,
    reason = "all of it is there: it is no older than its token's check"
)]
pub(super) fn whole_of(kind: HeaderValue, answer: Vec<u8>, slot: Slot) -> Response<Body> {
    let length = HeaderValue::from(answer.len());
    let chunks = stream::unfold((Bytes::from(answer), slot), |(mut rest, slot)| async move {
        if rest.is_empty() {
            return None;
        }
        let chunk = rest.split_to(rest.len().min(CHUNK));
        Some((Ok::<_, Infallible>(chunk), (rest, slot)))
    });
    let mut answer = Response::new(Body::from_stream(chunks));
    let headers = answer.headers_mut();
    let _ = headers.insert(header::CONTENT_TYPE, kind);
    let _ = headers.insert(header::CONTENT_LENGTH, length);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_at_least_one_entry_and_otherwise_no_more_than_its_bytes() {
        let mut page = Page::default();
        assert!(page.add("x".repeat(2 * PAGE_BYTES)));
        assert!(!page.add("y"));
        let mut page = Page::default();
        let added = (0..10).take_while(|_| page.add("x".repeat(PAGE_BYTES / 4))).count();
        assert_eq!(added, 3);
    }
}
