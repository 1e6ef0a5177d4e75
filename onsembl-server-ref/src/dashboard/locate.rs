//! Where in the stored output a dashboard begins.

use crate::store::{Cursor, Store, StoreError};
use onsembl_protocol::fleet::Seek;
use onsembl_protocol::id::{ByteOffset, CommandId, UserId};
use onsembl_protocol::model::Stream;
use onsembl_protocol::wire::payload::StreamType;

/// The cursor in front of what is sought; `None` is the beginning.
pub(super) async fn locate(
    store: &Store,
    user: &UserId,
    command: &CommandId,
    seek: &Seek,
) -> Result<Cursor, StoreError> {
    match seek {
        Seek::Tail(bytes) => store.output_tail(user, command, *bytes).await,
        Seek::Position(from) => {
            let stream = from.stream_type.as_ref().map_or(Stream::Stdout, StreamType::stream);
            match from.incarnation {
                Some(incarnation) => {
                    store.output_cursor(user, command, incarnation, stream, from.offset).await
                }
                None if from.offset == ByteOffset(0) => Ok(None),
                None => {
                    let first = store.read_output(user, command, None, None, 0).await?;
                    match first.first().map(|record| record.incarnation) {
                        Some(first) => {
                            store.output_cursor(user, command, first, stream, from.offset).await
                        }
                        None => Ok(None),
                    }
                }
            }
        }
    }
}
