//! What a feed looks up in the store: one thing at a time.

use super::item::{FeedItem, Seek};
use crate::id::CommandId;
use crate::output::Cursor;

/// What is looked up of a command. The answer counts only while it is still wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// Where to begin.
    Seek(Seek),
    /// The records behind a cursor.
    Read { after: Cursor, generation: u32 },
}

/// The lookup that the store has not answered.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenLookup(Option<(CommandId, Lookup)>);

impl OpenLookup {
    /// Asks the store, unless an answer is outstanding.
    pub(super) fn ask(&mut self, id: &CommandId, lookup: Lookup) -> FeedItem {
        if self.0.is_some() {
            return FeedItem::Nothing;
        }
        let item = match &lookup {
            Lookup::Seek(seek) => FeedItem::Seek(id.clone(), seek.clone()),
            Lookup::Read { after, .. } => FeedItem::Read(id.clone(), *after),
        };
        self.0 = Some((id.clone(), lookup));
        item
    }

    /// An answer about this command came: the lookup that it answers, if there is one.
    pub(super) fn answered(&mut self, id: &CommandId) -> Option<Lookup> {
        self.0.take_if(|(command, _)| command == id).map(|(_, lookup)| lookup)
    }
}
