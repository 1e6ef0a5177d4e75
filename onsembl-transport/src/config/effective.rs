//! The values that a program runs with, and where each came from.

use std::fmt;
use std::path::PathBuf;

/// What stands in the place of a secret.
const MASKED: &str = "(set, not shown)";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum ValueSource {
    /// This flag of the command line.
    Flag(String),
    /// This variable of the environment.
    Variable(String),
    File {
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// Nothing sets it.
    Default,
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One setting, as a program runs with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Its key in a configuration file.
    pub key: String,
    /// Its values; none if nothing sets it and there is no default.
    pub values: Vec<String>,
    /// Where they came from.
    pub source: ValueSource,
}

impl Effective {
    /// The same with nothing in it that a screen should not show.
    #[must_use]
    pub fn masked(mut self) -> Self {
        if !self.values.is_empty() {
            self.values = vec![MASKED.to_owned()];
        }
        self
    }

    /// As one text: lists are divided by commas, and what is not set is a dash.
    #[must_use]
    pub fn value(&self) -> String {
        if self.values.is_empty() { "-".to_owned() } else { self.values.join(", ") }
    }
}

/// A list of settings as lines, in three columns.
pub fn listed(settings: &[Effective]) -> impl Iterator<Item = String> + '_ {
    let width = |length: fn(&Effective) -> usize| settings.iter().map(length).max().unwrap_or(0);
    let key = width(|setting| setting.key.chars().count());
    let value = width(|setting| setting.value().chars().count()).min(48);
    settings.iter().map(move |setting| {
        format!("{:key$}  {:value$}  {}", setting.key, setting.value(), setting.source)
    })
}

/// A URL without the user and password that may stand before its host.
#[must_use]
pub fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((_, host)) = authority.rsplit_once('@') else { return url.to_owned() };
    let divider = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{divider}…@{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_says_from_where_and_masks_secrets() {
        let file = ValueSource::File { path: "/etc/a.toml".into(), line: 3 };
        let one = |key: &str, value: &str, source| Effective {
            key: key.to_owned(),
            values: vec![value.to_owned()],
            source,
        };
        let all = [
            one("token", "swordfish", ValueSource::Variable("ONSEMBL_TOKEN".to_owned())).masked(),
            one("listen", "h:1", file),
            Effective {
                key: "tls-key".to_owned(),
                values: Vec::new(),
                source: ValueSource::Default,
            },
        ];
        let lines: Vec<String> = listed(&all).collect();
        assert!(!lines.concat().contains("swordfish"));
        assert!(lines[0].ends_with("variable ONSEMBL_TOKEN"), "{lines:?}");
        assert!(
            lines[1].starts_with("listen ") && lines[1].ends_with("/etc/a.toml:3"),
            "{lines:?}"
        );
        assert!(lines[2].contains(" - ") && lines[2].ends_with("default"), "{lines:?}");
    }

    #[test]
    fn a_url_is_shown_without_its_password() {
        assert_eq!(without_password("http://ann:pw@host:1/x"), "http://…@host:1/x");
        assert_eq!(without_password("ann:pw@host:1"), "…@host:1");
        for plain in ["none", "http://host:1/a@b", "host"] {
            assert_eq!(without_password(plain), plain);
        }
    }
}
