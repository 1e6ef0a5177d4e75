//! The request of a command as a store keeps it beside the text, and how it is read back after a restart, which may be
//! one of another version.

use super::row::CommandRecord;
use crate::command::CommandOrigin;
use crate::id::{AgentId, CommandId};
use crate::time::WallTime;
use crate::wire::payload::CommandRequest;
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use serde_json::Value;

/// The field that says that the command was adopted: there is no request of a user.
const ADOPTED: &str = "adopted";
/// The field that says that the output was asked not to be stored.
const UNSTORED: &str = "unstored";

/// What a store has of a request.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub struct StoredRequest<'a> {
    pub command: &'a CommandId,
    pub agent: &'a AgentId,
    pub text: String,
    /// What [`CommandRecord::stored_fields`] gave; null if nothing but the text is kept.
    pub fields: Value,
    pub ended_at: Option<WallTime>,
}

/// Whether a command that is stored with these fields was asked to run without storage of its output.
pub fn is_asked_unstored(fields: &Value) -> bool {
    fields.get(UNSTORED).and_then(Value::as_bool) == Some(true)
}

impl CommandOrigin {
    /// How the server came to a command that is stored with these fields.
    pub fn of_stored(command: &CommandId, fields: &Value) -> Self {
        match fields.get(ADOPTED).and_then(Value::as_bool) {
            Some(true) => Self::Adopted,
            Some(false) | None if command.is_terminal() => Self::Agent,
            Some(false) | None => Self::User,
        }
    }
}

impl CommandRecord {
    /// The request as [`StoredRequest::read`] takes it. The numbers of the wire do not tell an emergency from what is
    /// merely urgent, so the priority is a text here.
    pub fn stored_fields(&self) -> Value {
        let mut fields = serde_json::to_value(&self.request).unwrap_or_default();
        let Some(object) = fields.as_object_mut() else { return fields };
        match self.origin {
            CommandOrigin::Adopted => {
                let _ = object.insert(ADOPTED.to_owned(), Value::Bool(true));
            }
            CommandOrigin::User | CommandOrigin::Agent => {}
        }
        if let Ok(priority) = serde_json::to_value(self.request.priority) {
            let _ = object.insert("priority".to_owned(), priority);
        }
        fields
    }
}

impl StoredRequest<'_> {
    /// The request. One that another version wrote and this one cannot read is run as its text only.
    ///
    /// # Errors
    /// The request of the text alone, and why the rest cannot be read.
    pub fn read(self) -> Result<CommandRequest, (Box<CommandRequest>, String)> {
        let of_text = |text| CommandRequest::new(self.command.clone(), self.agent.clone(), text);
        match CommandOrigin::of_stored(self.command, &self.fields) {
            // What was asked for is unknown.
            CommandOrigin::Adopted => Ok(of_text(String::new())),
            // Of one that is over, and was cut or is only shown, nothing but the text is there.
            CommandOrigin::User | CommandOrigin::Agent
                if self.fields.get("content").is_none() && self.ended_at.is_some() =>
            {
                let unstored = is_asked_unstored(&self.fields);
                Ok(CommandRequest { unstored, ..of_text(self.text) })
            }
            CommandOrigin::User | CommandOrigin::Agent => serde_json::from_value(self.fields)
                .map_err(|error| (Box::new(of_text(self.text)), error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::CommandStage;
    use crate::model::Priority;
    use serde_json::json;

    fn record(command: &str, origin: CommandOrigin) -> CommandRecord {
        let (command, agent) = (CommandId::new(command), AgentId::new("a"));
        let mut request = CommandRequest::new(command.clone(), agent.clone(), "make".to_owned());
        request.priority = Priority::Emergency;
        request.args.push("-j".to_owned());
        let at = WallTime::from_unix_millis(5);
        CommandRecord {
            request: Box::new(request),
            command,
            agent,
            origin,
            stage: CommandStage::Queued,
            cause: None,
            exit: None,
            created_at: at,
            updated_at: at,
            ended_at: None,
        }
    }

    fn stored(record: &CommandRecord, fields: Value) -> StoredRequest<'_> {
        let (command, agent) = (&record.command, &record.agent);
        StoredRequest { command, agent, text: "make".to_owned(), fields, ended_at: record.ended_at }
    }

    #[test]
    fn a_request_is_read_back_as_it_was() {
        let record = record("c", CommandOrigin::User);
        let fields = record.stored_fields();
        assert_eq!(CommandOrigin::of_stored(&record.command, &fields), CommandOrigin::User);
        assert_eq!(stored(&record, fields).read().as_ref(), Ok(&*record.request));
    }

    #[test]
    fn of_an_adopted_command_no_request_is_known() {
        let record = record("c", CommandOrigin::Adopted);
        let fields = record.stored_fields();
        assert_eq!(CommandOrigin::of_stored(&record.command, &fields), CommandOrigin::Adopted);
        assert_eq!(stored(&record, fields).read().unwrap().text, "");
    }

    #[test]
    fn what_cannot_be_read_is_run_as_its_text_and_said() {
        let mut record = record("c", CommandOrigin::User);
        let (request, why) = stored(&record, json!(7)).read().unwrap_err();
        assert_eq!((request.text.as_str(), request.args.len()), ("make", 0));
        assert!(!why.is_empty());
        assert!(stored(&record, Value::Null).read().is_err(), "an open one has its fields");
        record.ended_at = Some(record.created_at);
        assert_eq!(stored(&record, Value::Null).read().unwrap().text, "make", "cut, and over");
        let short = json!({"unstored": true});
        assert!(is_asked_unstored(&short) && stored(&record, short).read().unwrap().unstored);
    }

    #[test]
    fn a_clock_that_is_ahead_makes_no_command_wait_longer() {
        let mut record = record("c", CommandOrigin::User);
        let observed = WallTime::from_unix_millis(10);
        record.has_waited_as_observed(observed, WallTime::from_unix_millis(1_010));
        assert_eq!(record.created_at, WallTime::from_unix_millis(1_005));
        record.has_waited_as_observed(observed, WallTime::from_unix_millis(3));
        assert_eq!(record.created_at, WallTime::from_unix_millis(1_005), "one that is behind");
    }
}
