//! A configuration file: its keys, their lines and their values.

use super::fault::{ConfigFault, ConfigFaults};
use super::setting::{Setting, SettingKind, nearest};
use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Far more than all keys take.
const MOST_BYTES: u64 = 1024 * 1024;

/// A file that was read. Its values are not checked yet: see [`check`](Self::check).
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: PathBuf,
    /// In the order of their lines.
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    key: String,
    line: usize,
    value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Flag(bool),
    One(String),
    Many(Vec<String>),
    /// What no setting takes.
    Unfit(&'static str),
}

impl ConfigFile {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or is not TOML.
    pub fn read(path: &Path) -> Result<Self, ConfigFaults> {
        let failed = |error| ConfigFault::of_file(path, format!("cannot be read: {error}"));
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(failed)?;
        let _ = file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MOST_BYTES {
            let what = format!("it has more than {MOST_BYTES} bytes; is it a configuration file?");
            return Err(ConfigFault::of_file(path, what).into());
        }
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(path, &text),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let line = line_of(error.as_bytes(), good);
                Err(ConfigFault::of_line(path, line, "it is not UTF-8 text").into())
            }
        }
    }

    /// Reads the file, and checks it as [`check`](Self::check) does.
    ///
    /// # Errors
    /// It cannot be read, is not TOML, or something is wrong in it.
    pub fn read_checked(path: &Path, settings: &[Setting]) -> Result<Self, ConfigFaults> {
        let file = Self::read(path)?;
        file.check(settings)?;
        Ok(file)
    }

    /// Reads what the file at `path` holds.
    ///
    /// # Errors
    /// It is not TOML.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigFaults> {
        let line = |span: &Range<usize>| line_of(text.as_bytes(), span.start);
        let table = match DeTable::parse_recoverable(text) {
            (table, errors) if errors.is_empty() => table.into_inner(),
            (_, errors) => {
                let faults = errors.iter().map(|error| match error.span() {
                    Some(span) => ConfigFault::of_line(path, line(&span), error.message()),
                    None => ConfigFault::of_file(path, error.message()),
                });
                return Err(ConfigFaults(faults.collect()));
            }
        };
        let mut entries: Vec<Entry> = table
            .into_iter()
            .map(|(key, value)| Entry {
                line: line(&key.span()),
                key: key.into_inner().into_owned(),
                value: value_of(value.get_ref()),
            })
            .collect();
        entries.sort_by_key(|entry| entry.line);
        Ok(Self { path: path.to_owned(), entries })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether each key is one of `settings`, with a value that is good for it.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn check(&self, settings: &[Setting]) -> Result<(), ConfigFaults> {
        let faults: Vec<ConfigFault> = self
            .entries
            .iter()
            .filter_map(|entry| {
                let what = entry.check(settings).err()?;
                Some(ConfigFault::of_key(&self.path, entry.line, &entry.key, what))
            })
            .collect();
        if faults.is_empty() { Ok(()) } else { Err(ConfigFaults(faults)) }
    }

    /// The values of a key, each as a flag would have it; `None` if it is not set.
    #[must_use]
    pub fn values(&self, key: &str) -> Option<Vec<String>> {
        match &self.entry(key)?.value {
            Value::Flag(flag) => Some(vec![flag.to_string()]),
            Value::One(text) => Some(vec![text.clone()]),
            Value::Many(texts) => Some(texts.clone()),
            Value::Unfit(_) => None,
        }
    }

    /// The line of a key, from 1.
    #[must_use]
    pub fn line(&self, key: &str) -> Option<usize> {
        self.entry(key).map(|entry| entry.line)
    }

    /// The keys that are set, in the order of their lines.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.key.as_str())
    }

    /// Something that is wrong with a key beyond its own value.
    #[must_use]
    pub fn fault(&self, key: &str, what: impl Into<String>) -> ConfigFault {
        match self.line(key) {
            Some(line) => ConfigFault::of_key(&self.path, line, key, what),
            None => ConfigFault::of_file(&self.path, what),
        }
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

impl Entry {
    fn check(&self, settings: &[Setting]) -> Result<(), String> {
        let Some(setting) = settings.iter().find(|setting| setting.key == self.key) else {
            return Err(match (nearest(&self.key, settings), &self.value) {
                (Some(meant), _) => format!("unknown key; did you mean {meant}?"),
                (None, Value::Unfit(_)) => {
                    "unknown key; the file has no sections, only lines like key = \"value\""
                        .to_owned()
                }
                (None, _) => "unknown key; each key is a flag without its two dashes".to_owned(),
            });
        };
        let good = |text: &str| match setting.delimiter {
            Some(divides) if text.contains(divides) => {
                Err(format!("write one value for each part of {text:?}, in brackets"))
            }
            _ => (setting.check)(text),
        };
        match (setting.kind, &self.value) {
            (_, Value::Unfit(what)) => Err(format!("{what} is not a valid value")),
            (SettingKind::Flag, Value::Flag(_)) => Ok(()),
            (SettingKind::Flag, Value::One(_) | Value::Many(_)) => {
                Err("write true or false, without quotes".to_owned())
            }
            (SettingKind::One | SettingKind::Many, Value::Flag(_)) => {
                Err("write a text in quotes, or a number".to_owned())
            }
            (SettingKind::One, Value::Many(_)) => Err("write one value, not a list".to_owned()),
            (SettingKind::One | SettingKind::Many, Value::One(text)) => good(text),
            (SettingKind::Many, Value::Many(texts)) => texts.iter().try_for_each(|text| good(text)),
        }
    }
}

/// The line of a byte, from 1.
fn line_of(text: &[u8], at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

fn value_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) => {
            text_of(value).map_or(Value::Unfit("such a number"), Value::One)
        }
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> =
                items.iter().map(|item| text_of(item.get_ref())).collect();
            texts.map_or(Value::Unfit("a list of values other than text and numbers"), Value::Many)
        }
        DeValue::Datetime(_) => Value::Unfit("a date"),
        DeValue::Table(_) => Value::Unfit("a section"),
    }
}

fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => {
            i128::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Vec<Setting> {
        let any = |_: &str| Ok(());
        let number = |text: &str| text.parse().map(|_: u64| ()).map_err(|_| "a number".to_owned());
        vec![
            Setting::new("listen", SettingKind::One, any),
            Setting::new("keep-bytes", SettingKind::One, number),
            Setting::new("allow-args", SettingKind::Flag, any),
            Setting::new("cors-origin", SettingKind::Many, any).divided_by(Some(',')),
        ]
    }

    fn checked(text: &str) -> Result<ConfigFile, String> {
        let file =
            ConfigFile::parse(Path::new("s.toml"), text).map_err(|faults| faults.to_string())?;
        file.check(&settings()).map_err(|faults| faults.to_string())?;
        Ok(file)
    }

    #[test]
    fn values_are_as_flags_would_have_them() {
        let text = "# a comment\nlisten = '[::]:80'\nkeep-bytes = 1_000\nallow-args = true\n\ncors-origin = [\n  'a', # one\n  'b',\n]\n";
        let file = checked(text).unwrap();
        let values = |key| file.values(key).unwrap_or_default();
        assert_eq!(values("listen"), ["[::]:80"]);
        assert_eq!(values("keep-bytes"), ["1000"]);
        assert_eq!(values("allow-args"), ["true"]);
        assert_eq!(values("cors-origin"), ["a", "b"]);
        assert_eq!(checked("keep-bytes = 0x10").unwrap().values("keep-bytes").unwrap(), ["16"]);
        assert_eq!((file.line("listen"), file.line("cors-origin")), (Some(2), Some(6)));
        assert!(file.values("other").is_none() && file.line("other").is_none());
        assert_eq!(
            file.keys().collect::<Vec<_>>(),
            ["listen", "keep-bytes", "allow-args", "cors-origin"]
        );
    }

    #[test]
    fn what_is_wrong_has_its_file_line_and_key() {
        for (text, said) in [
            ("\nlistn = 'a'", "s.toml:2: listn: unknown key; did you mean listen?"),
            ("keep_bytes = 3", "s.toml:1: keep_bytes: unknown key; did you mean keep-bytes?"),
            ("zzz = 1", "s.toml:1: zzz: unknown key; each key is a flag"),
            ("[database]\npath = 'x'", "s.toml:1: database: unknown key; the file has no sections"),
            ("listen = 'a'\nkeep-bytes = 'x'", "s.toml:2: keep-bytes: a number"),
            ("allow-args = 'yes'", "s.toml:1: allow-args: write true or false"),
            ("listen = true", "s.toml:1: listen: write a text in quotes"),
            ("listen = ['a']", "s.toml:1: listen: write one value"),
            ("listen = 1979-05-27", "s.toml:1: listen: a date is not a valid value"),
            ("cors-origin = 'a,b'", "s.toml:1: cors-origin: write one value for each"),
            (
                "cors-origin = [['a']]",
                "s.toml:1: cors-origin: a list of values other than text and numbers",
            ),
            ("listen = 'a'\nlisten = 'b'", "s.toml:2: "),
            ("a = 1\nlisten = [", "s.toml:2: "),
        ] {
            let refused = checked(text).unwrap_err();
            assert!(refused.starts_with(said), "{text:?}: {refused}");
        }
        let all = checked("listn = 1\nkeep-bytes = 'x'").unwrap_err();
        assert_eq!(all.lines().count(), 2, "{all}");
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        let missing = ConfigFile::read(&path).unwrap_err().to_string();
        assert!(missing.contains("a.toml") && missing.contains("No such file"), "{missing}");
        std::fs::write(&path, b"listen = 'a'\nx = '\xff'").unwrap();
        let latin = ConfigFile::read(&path).unwrap_err();
        assert_eq!(latin.iter().next().and_then(ConfigFault::line), Some(2));
        std::fs::write(&path, vec![b'#'; 2 * 1024 * 1024]).unwrap();
        assert!(ConfigFile::read(&path).unwrap_err().to_string().contains("bytes"));
    }
}
