//! One thing that can be set: its key, what kind of value it has, and which values are good.

use std::fmt;

/// A key that differs from a known one by at most this part of its letters is taken for a slip of it.
const SLIP: usize = 3;

/// What kind of value a setting has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// `true` or `false`.
    Flag,
    /// A text in quotes, or a number.
    One,
    /// A list of those: `["a", "b"]`; one alone may stand without brackets.
    Many,
}

type Check = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// See the [module](super).
pub struct Setting {
    pub(super) key: String,
    pub(super) kind: SettingKind,
    /// What values of a list are divided by where they stand in one text; none of them may contain it.
    pub(super) delimiter: Option<char>,
    pub(super) check: Check,
}

impl Setting {
    /// A setting for which each value is good that `check` takes. Its error says what a good one is.
    pub fn new(
        key: impl Into<String>,
        kind: SettingKind,
        check: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self { key: key.into(), kind, delimiter: None, check: Box::new(check) }
    }

    /// The same, with lists that are divided by this where they are given as one text.
    #[must_use]
    pub fn divided_by(self, delimiter: Option<char>) -> Self {
        Self { delimiter, ..self }
    }

    /// Its name in the file.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting")
            .field("key", &self.key)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// The known key that somebody probably meant.
pub(super) fn nearest<'a>(key: &str, settings: &'a [Setting]) -> Option<&'a str> {
    // Flags are written with dashes, fields of most other files with underscores.
    let key = key.to_ascii_lowercase().replace('_', "-");
    let distance = |known: &str| strsim::damerau_levenshtein(&key, known);
    let known = settings.iter().map(Setting::key);
    let is_begun =
        |known: &&str| known.strip_prefix(&key).is_some_and(|rest| rest.starts_with('-'));
    let mut begun = known.clone().filter(is_begun);
    if let (Some(only), None) = (begun.next(), begun.next()) {
        return Some(only);
    }
    let best = known.min_by_key(|known| distance(known))?;
    let close = distance(best) <= key.len().max(best.len()).div_ceil(SLIP);
    close.then_some(best)
}
