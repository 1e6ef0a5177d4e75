//! `GET /api/commands/{id}/screen` and `GET /api/agents/{id}/screen`: what a terminal shows now, or what one would
//! show of a command's output. Also while the agent is away.

use super::App;
use super::api::problem;
use super::ask::unreadable;
use super::page;
use super::signed_in::SignedIn;
use crate::screens::{ScreenError, Shown, Snapshot};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use onsembl_protocol::id::{AgentId, ByteOffset, CommandId, Incarnation, UserId};
use onsembl_transport::screen::{Color, Look, Row, Run, Style};
use serde::{Deserialize, Serialize, Serializer};
use std::io;

/// The longest answer. Only a large screen with a colour for nearly each character has more.
pub(crate) const ANSWER: usize = 4 << 20;

/// In which form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// Lines of text.
    Text,
    /// The same with colours.
    Ansi,
    /// All that is known.
    #[default]
    Json,
    /// What brings a terminal of the same size there, for those that continue from it.
    Dump,
}

/// What is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct ScreenQuery {
    #[serde(default)]
    format: Format,
}

/// What brings a fresh terminal to the screen of a command, and where its output continues.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ScreenDump {
    pub(crate) command_id: CommandId,
    /// The run of the program; absent if nothing is stored of any.
    pub(crate) incarnation: Option<Incarnation>,
    /// What follows begins here.
    pub(crate) offset: ByteOffset,
    pub(crate) columns: u64,
    pub(crate) rows: u64,
    /// Whether all is drawn that was written.
    pub(crate) whole: bool,
    /// As base64.
    pub(crate) dump: String,
}

/// The screen of a command, as the API shows it.
#[derive(Debug, Serialize)]
struct ScreenView<'a> {
    command_id: String,
    /// The run of the program, and how much of its output is drawn.
    incarnation: Option<u64>,
    offset: u64,
    /// Whether all is drawn that was written: nothing of it is missing, or was left out because it is too long ago.
    whole: bool,
    size: SizeView,
    cursor: CursorView,
    title: Option<String>,
    /// Whether it is the other screen, which programs use that draw over all of it.
    alternate: bool,
    rows: Rows<'a>,
}

/// Each is made when it is written: all of them together would take several times as much as their text.
#[derive(Debug)]
struct Rows<'a>(&'a [Row]);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(row))
    }
}

#[derive(Debug, Serialize)]
struct SizeView {
    columns: u16,
    rows: u16,
}

#[derive(Debug, Serialize)]
struct CursorView {
    column: u16,
    row: u16,
    shown: bool,
}

#[derive(Debug, Serialize)]
struct RowView {
    text: String,
    /// The text continues in the next row.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    continues: bool,
    /// Its text once more, cut where the style changes; left out where all of it has the usual one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs: Vec<RunView>,
}

#[derive(Debug, Serialize)]
struct RunView {
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    foreground: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    background: Option<String>,
    /// `bold`, `underline` and the like.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    style: Vec<&'static str>,
}

pub(super) async fn of_command(
    State(app): State<App>,
    Path(id): Path<String>,
    SignedIn(identity): SignedIn,
    Query(query): Query<ScreenQuery>,
) -> Response<Body> {
    screen(&app, &identity.user, &CommandId::new(id), query.format).await
}

pub(super) async fn of_agent(
    State(app): State<App>,
    Path(id): Path<String>,
    SignedIn(identity): SignedIn,
    Query(query): Query<ScreenQuery>,
) -> Response<Body> {
    match app.screens.shown_by(&identity.user, &AgentId::new(id)).await {
        Ok(command) => screen(&app, &identity.user, &command, query.format).await,
        Err(error) => refused(&app, &error),
    }
}

async fn screen(app: &App, user: &UserId, command: &CommandId, format: Format) -> Response<Body> {
    let slot = match page::slot(app, user) {
        Ok(slot) => slot,
        Err(answer) => return *answer,
    };
    let of = command.clone();
    let (kind, made) = match format {
        Format::Dump => {
            let made = app.screens.snapshot_as(user, command, move |snapshot| dump(of, snapshot));
            ("application/json", made.await)
        }
        Format::Json => {
            let made = app
                .screens
                .look_as(user, command, move |shown, look| bounded(&view(&of, shown, &look)));
            ("application/json", made.await)
        }
        Format::Text | Format::Ansi => {
            let made = app.screens.look_as(user, command, move |_, look| {
                let text = if format == Format::Text { look.text() } else { look.ansi() };
                if text.len() > ANSWER { Err(TooLong) } else { Ok(text.into_bytes()) }
            });
            ("text/plain; charset=utf-8", made.await)
        }
    };
    match made {
        Ok(Ok(text)) => page::whole_of(HeaderValue::from_static(kind), text, slot),
        Ok(Err(TooLong)) => {
            let why = "this screen has more colours than fit into a reply; use `format=text`";
            problem(StatusCode::UNPROCESSABLE_ENTITY, why)
        }
        Err(error) => refused(app, &error),
    }
}

/// It would be longer than [`ANSWER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TooLong;

fn dump(command_id: CommandId, snapshot: Snapshot) -> Result<Vec<u8>, TooLong> {
    let Snapshot { incarnation, offset, size, dump, whole } = snapshot;
    if dump.len() > ANSWER / 4 * 3 {
        return Err(TooLong);
    }
    bounded(&ScreenDump {
        command_id,
        incarnation,
        offset,
        columns: size.columns().into(),
        rows: size.rows().into(),
        whole,
        dump: STANDARD.encode(dump),
    })
}

/// It as JSON.
fn bounded(answer: &impl Serialize) -> Result<Vec<u8>, TooLong> {
    struct Bounded(Vec<u8>);
    impl io::Write for Bounded {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.len() + bytes.len() > ANSWER {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut written = Bounded(Vec::new());
    serde_json::to_writer(&mut written, answer).map_err(|_| TooLong)?;
    Ok(written.0)
}

fn refused(app: &App, error: &ScreenError) -> Response<Body> {
    let status = match error {
        ScreenError::NoCommand | ScreenError::NothingShown => StatusCode::NOT_FOUND,
        ScreenError::NoRoom { .. } | ScreenError::Busy(_) => {
            app.counters.count("screens_refused");
            StatusCode::TOO_MANY_REQUESTS
        }
        ScreenError::Slow => StatusCode::SERVICE_UNAVAILABLE,
        ScreenError::Store(error) => return unreadable(app, error),
    };
    problem(status, &error.to_string())
}

fn view<'a>(command: &CommandId, shown: Shown, look: &'a Look) -> ScreenView<'a> {
    ScreenView {
        command_id: command.as_str().to_owned(),
        incarnation: shown.incarnation.map(|incarnation| incarnation.0),
        offset: shown.offset.0,
        whole: shown.whole,
        size: SizeView { columns: look.size.columns(), rows: look.size.rows() },
        cursor: CursorView {
            column: look.cursor.column,
            row: look.cursor.row,
            shown: look.cursor.shown,
        },
        title: look.title.clone(),
        alternate: look.alternate,
        rows: Rows(&look.rows),
    }
}

fn row(row: &Row) -> RowView {
    let is_plain = row.runs.iter().all(|run| run.style == Style::default());
    let runs = if is_plain { Vec::new() } else { row.runs.iter().map(run).collect() };
    RowView { text: row.text(), continues: row.continues, runs }
}

fn run(run: &Run) -> RunView {
    let style = run.style;
    let words = [
        (style.bold, "bold"),
        (style.faint, "faint"),
        (style.italic, "italic"),
        (style.underline, "underline"),
        (style.strikethrough, "strikethrough"),
        (style.blink, "blink"),
        (style.inverse, "inverse"),
    ];
    RunView {
        text: run.text.clone(),
        foreground: style.foreground.map(color),
        background: style.background.map(color),
        style: words.into_iter().filter(|(has, _)| *has).map(|(_, word)| word).collect(),
    }
}

/// A number of the palette, or `#rrggbb`.
fn color(color: Color) -> String {
    match color {
        Color::Indexed(index) => index.to_string(),
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_bound_and_nothing_beyond_it_is_made() {
        let long = |bytes: usize| bounded(&"x".repeat(bytes)).map(|text| text.len());
        assert_eq!(long(ANSWER - 2), Ok(ANSWER));
        assert_eq!(long(ANSWER - 1), Err(TooLong));
        let snapshot = |bytes: usize| Snapshot {
            incarnation: None,
            offset: ByteOffset(0),
            size: onsembl_protocol::model::TerminalSize::DEFAULT,
            dump: vec![b'x'; bytes],
            whole: true,
        };
        assert!(dump(CommandId::new("c"), snapshot(1000)).is_ok());
        assert_eq!(dump(CommandId::new("c"), snapshot(ANSWER)), Err(TooLong));
    }
}
