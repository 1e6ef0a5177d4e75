//! Enumerations of the wire: a closed set of meanings, and a place for what we do not know.
//!
//! Reading is case-insensitive, takes the synonyms that existing peers use, and keeps an unknown
//! value as it came, so that it can be reported and printed. Writing uses one canonical form.

macro_rules! wire_enum {
    (
        $(#[$doc:meta])*
        pub enum $name:ident {
            $($(#[$vdoc:meta])* $variant:ident = $text:literal $(| $synonym:literal)*,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
            /// A value this version does not know, as it came.
            Unknown(alloc::boxed::Box<str>),
        }

        impl $name {
            /// Reads a value in any case.
            pub fn parse(text: &str) -> Self {
                $(
                    if text.eq_ignore_ascii_case($text)
                        $(|| text.eq_ignore_ascii_case($synonym))*
                    {
                        return Self::$variant;
                    }
                )*
                Self::Unknown(text.into())
            }

            /// The canonical form.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Unknown(text) => text,
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(&$crate::shown::Shown::new(self.as_str()).within(64), f)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                crate::text::Text::deserialize(d).map(|text| Self::parse(&text))
            }
        }
    };
}

pub(crate) use wire_enum;
