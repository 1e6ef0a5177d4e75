//! The shapes of types as serde writes them, read from their sources.

use std::collections::BTreeMap;
use std::path::Path;
use syn::{
    Attribute, Expr, Fields, GenericArgument, ImplItem, Item, ItemEnum, ItemStruct, Lit, Meta,
};
use syn::{PathArguments, Stmt, Type};

/// Types that are something else on the wire than their fields say.
const KNOWN: &[(&str, &str)] = &[
    ("String", "string"),
    ("str", "string"),
    ("Text", "string"),
    ("bool", "boolean"),
    ("f64", "number"),
    ("u8", "number"),
    ("u16", "number"),
    ("u32", "number"),
    ("u64", "number"),
    ("i32", "number"),
    ("i64", "number"),
    ("usize", "number"),
    ("Value", "unknown"),
    ("Opaque", "unknown"),
    ("Evidence", "Record<string, EvidenceValue>"),
    ("Secret", "string"),
    ("Selection", "string[] | boolean"),
    ("TraceContext", "string"),
    ("TypedBytes", "string"),
    ("Content", "string"),
    ("Encoded", "string"),
];
/// Fields that are a text in Rust, because legacy dashboards get other words.
const WORDS: &[(&str, &str, &str)] = &[
    ("AgentStatus", "status", "PresenceStatus"),
    ("AgentSummary", "status", "PresenceStatus"),
    ("PresenceWhy", "next_state", "PresenceStatus"),
];

/// A message of a set.
#[derive(Clone, Debug)]
pub struct Message {
    pub kind: String,
    pub payload: String,
}

/// What is declared in the sources.
#[derive(Default)]
pub struct Shapes {
    structs: BTreeMap<String, ItemStruct>,
    enums: BTreeMap<String, ItemEnum>,
    /// The words of enumerations that write themselves.
    words: BTreeMap<String, Vec<String>>,
    /// What an id is.
    ids: BTreeMap<String, &'static str>,
    sets: BTreeMap<String, Vec<Message>>,
}

impl Shapes {
    pub fn read(src: &Path) -> Self {
        let mut it = Self::default();
        let mut folders = vec![src.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    let file = syn::parse_file(&std::fs::read_to_string(&path).unwrap()).unwrap();
                    let is_in = |room: &str| path.starts_with(src.join(room));
                    let is_wire = is_in("wire") || is_in("model");
                    let is_ids = path.ends_with("id.rs");
                    // Of the machines only what the wire names by the same word.
                    let is_meant = |item: &&Item| match item {
                        Item::Enum(found) => is_in("session") && found.ident == "PresenceStatus",
                        _ => false,
                    };
                    let items = file.items.iter();
                    items
                        .filter(|item| is_wire || is_ids || is_meant(item))
                        .for_each(|item| it.take(item));
                }
            }
        }
        it
    }

    fn take(&mut self, item: &Item) {
        match item {
            Item::Struct(found) => {
                // One that writes itself was found as what it writes.
                let _ =
                    self.structs.entry(found.ident.to_string()).or_insert_with(|| found.clone());
            }
            Item::Enum(found) => {
                let _ = self.enums.insert(found.ident.to_string(), found.clone());
            }
            Item::Impl(found) => {
                let Type::Path(of) = &*found.self_ty else { return };
                let of = of.path.segments.last().unwrap().ident.to_string();
                let is_serialize =
                    found.trait_.as_ref().is_some_and(|(_, path, _)| path.is_ident("Serialize"));
                for function in &found.items {
                    let ImplItem::Fn(function) = function else { continue };
                    if function.sig.ident == "as_str" && found.trait_.is_none() {
                        let words = texts(&function.block.stmts);
                        if !words.is_empty() {
                            let _ = self.words.insert(of.clone(), words);
                        }
                    }
                    if is_serialize {
                        let written = function.block.stmts.iter().find_map(|stmt| match stmt {
                            Stmt::Item(Item::Struct(written)) if written.ident == "Out" => {
                                Some(written.clone())
                            }
                            _ => None,
                        });
                        if let Some(written) = written {
                            let _ = self.structs.insert(of.clone(), written);
                        }
                    }
                }
            }
            Item::Macro(found) => self.take_macro(found),
            _ => {}
        }
    }

    fn take_macro(&mut self, found: &syn::ItemMacro) {
        let name = found.mac.path.segments.last().unwrap().ident.to_string();
        let tokens = found.mac.tokens.to_string();
        // Without documentation, whose texts are attributes here.
        let tokens = without_attributes(&tokens);
        match name.as_str() {
            "text_id" | "number_id" => {
                let what = if name == "text_id" { "string" } else { "number" };
                for id in tokens.split(';').map(str::trim).filter(|id| !id.is_empty()) {
                    let _ = self.ids.insert(id.to_owned(), what);
                }
            }
            "wire_enum" => {
                let (head, body) = tokens.split_once('{').unwrap();
                let of = head.split_whitespace().last().unwrap().to_owned();
                let variants = body.split(',').filter_map(|variant| variant.split_once('='));
                // Synonyms are read only.
                let words = variants.filter_map(|(_, texts)| texts.split('"').nth(1));
                let _ = self.words.insert(of, words.map(str::to_owned).collect());
            }
            "message_set" => {
                let (head, body) = tokens.split_once('{').unwrap();
                let of = head.split_whitespace().last().unwrap().to_owned();
                let messages = body.split(',').filter_map(|variant| {
                    let (variant, kinds) = variant.split_once('=')?;
                    let payload = variant.split(['(', ')']).nth(1)?.trim().to_owned();
                    Some(Message { kind: kinds.split('"').nth(1)?.to_owned(), payload })
                });
                let _ = self.sets.insert(of, messages.collect());
            }
            _ => {}
        }
    }

    /// The messages of a set.
    pub fn messages(&self, set: &str) -> Vec<Message> {
        let found = self.sets.get(set).unwrap_or_else(|| panic!("no set {set}"));
        assert!(found.len() > 10, "{found:?}");
        found.clone()
    }

    /// The declaration of a type, and the types that it needs.
    pub fn declaration(&self, name: &str) -> (String, Vec<String>) {
        if let Some((_, known)) = KNOWN.iter().find(|(known, _)| *known == name) {
            return (format!("export type {name} = {known};\n"), Vec::new());
        }
        if let Some(words) = self.words.get(name) {
            return (word(name, words), Vec::new());
        }
        if let Some(found) = self.enums.get(name) {
            let case = serde(&found.attrs, "rename_all").unwrap_or_default();
            let words: Vec<String> =
                found.variants.iter().map(|v| cased(&v.ident.to_string(), &case)).collect();
            let is_plain = found.variants.iter().all(|v| matches!(v.fields, Fields::Unit));
            assert!(is_plain && !case.is_empty(), "{name} is no set of words");
            return (word(name, &words), Vec::new());
        }
        let found = self.structs.get(name).unwrap_or_else(|| panic!("there is no type {name}"));
        match &found.fields {
            Fields::Named(fields) => {
                let (mut text, mut needs) = (format!("export interface {name} {{\n"), Vec::new());
                let all_default = has(&found.attrs, "default");
                let case = serde(&found.attrs, "rename_all").unwrap_or_default();
                for field in &fields.named {
                    let ident = field.ident.as_ref().unwrap().to_string();
                    let ident = ident.trim_start_matches("r#");
                    let given = serde(&field.attrs, "rename");
                    let key = given.unwrap_or_else(|| camel(ident, &case));
                    let is_omitted = serde(&field.attrs, "skip_serializing_if").is_some();
                    let is_optional = is_omitted || all_default || has(&field.attrs, "default");
                    let known = WORDS.iter().find(|(of, at, _)| (*of, *at) == (name, ident));
                    let (mut of, is_null) = match known {
                        Some((_, _, word)) => {
                            needs.push((*word).to_owned());
                            ((*word).to_owned(), false)
                        }
                        None => self.written(&field.ty, &field.attrs, &mut needs),
                    };
                    if is_null && !is_omitted {
                        of.push_str(" | null");
                    }
                    let mark = if is_optional { "?" } else { "" };
                    text.push_str(&format!("  {key}{mark}: {of};\n"));
                }
                text.push_str("}\n");
                (text, needs)
            }
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                let mut needs = Vec::new();
                let (of, _) = self.written(&fields.unnamed.first().unwrap().ty, &[], &mut needs);
                (format!("export type {name} = {of};\n"), needs)
            }
            Fields::Unnamed(_) | Fields::Unit => panic!("{name} has no names"),
        }
    }

    /// How a type is written, and whether it may be `null`.
    fn written(&self, of: &Type, attrs: &[Attribute], needs: &mut Vec<String>) -> (String, bool) {
        let path = match of {
            Type::Reference(to) => return self.written(&to.elem, attrs, needs),
            Type::Slice(of) => {
                let (of, _) = self.written(&of.elem, attrs, needs);
                return (list(&of), false);
            }
            Type::Path(path) => path.path.segments.last().unwrap(),
            _ => panic!("a type of a field that is not known here"),
        };
        let name = path.ident.to_string();
        let inner = |at: usize| match &path.arguments {
            PathArguments::AngleBracketed(of) => match of.args.iter().nth(at) {
                Some(GenericArgument::Type(of)) => of,
                _ => panic!("{name} of nothing"),
            },
            PathArguments::None | PathArguments::Parenthesized(_) => panic!("{name} of nothing"),
        };
        match name.as_str() {
            "Option" => (self.written(inner(0), attrs, needs).0, true),
            "Box" => self.written(inner(0), attrs, needs),
            "Vec" | "BTreeSet" => (list(&self.written(inner(0), attrs, needs).0), false),
            "BTreeMap" => {
                let (of, _) = self.written(inner(1), attrs, needs);
                (format!("Record<string, {of}>"), false)
            }
            "WallTime" => {
                let by = serde(attrs, "serialize_with").unwrap_or_default();
                let is_text = by.ends_with("rfc3339");
                (if is_text { "Rfc3339" } else { "Millis" }.to_owned(), false)
            }
            name => match (KNOWN.iter().find(|(known, _)| *known == name), self.ids.get(name)) {
                (Some((_, known)), _) => ((*known).to_owned(), false),
                (None, Some(id)) => ((*id).to_owned(), false),
                (None, None) => {
                    needs.push(name.to_owned());
                    (name.to_owned(), false)
                }
            },
        }
    }
}

fn list(of: &str) -> String {
    if of.contains(' ') { format!("({of})[]") } else { format!("{of}[]") }
}

fn word(name: &str, words: &[String]) -> String {
    let words: String = words.iter().map(|word| format!("  | \"{word}\"\n")).collect();
    format!("export type {name} = Word<\n{words}>;\n")
}

/// The texts in the arms of a match.
fn texts(stmts: &[Stmt]) -> Vec<String> {
    let Some(Stmt::Expr(Expr::Match(found), _)) = stmts.last() else { return Vec::new() };
    let text = |arm: &syn::Arm| match &*arm.body {
        Expr::Lit(lit) => match &lit.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    };
    found.arms.iter().filter_map(text).collect()
}

/// Macro tokens without `#[…]`, in which texts may have anything.
fn without_attributes(tokens: &str) -> String {
    let (mut kept, mut rest) = (String::new(), tokens);
    while let Some(at) = rest.find('#') {
        kept.push_str(&rest[..at]);
        let (mut depth, mut is_text, mut is_escaped, mut end) = (0, false, false, rest.len());
        for (at, c) in rest[at..].char_indices().map(|(n, c)| (at + n, c)) {
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' if is_text => is_escaped = true,
                '"' => is_text = !is_text,
                '[' if !is_text => depth += 1,
                ']' if !is_text => {
                    depth -= 1;
                    if depth == 0 {
                        end = at + 1;
                        break;
                    }
                }
                _ => {}
            }
        }
        rest = &rest[end..];
    }
    kept.push_str(rest);
    kept
}

/// What `#[serde(key = "…")]` says.
fn serde(attrs: &[Attribute], key: &str) -> Option<String> {
    each(attrs).find_map(|meta| match meta {
        Meta::NameValue(pair) if pair.path.is_ident(key) => match pair.value {
            Expr::Lit(lit) => match lit.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}

fn has(attrs: &[Attribute], key: &str) -> bool {
    each(attrs).any(|meta| meta.path().is_ident(key))
}

fn each(attrs: &[Attribute]) -> impl Iterator<Item = Meta> {
    let ours = attrs.iter().filter(|attr| attr.path().is_ident("serde"));
    ours.flat_map(|attr| {
        let parse = syn::punctuated::Punctuated::<Meta, syn::Token![,]>::parse_terminated;
        attr.parse_args_with(parse).unwrap()
    })
    .collect::<Vec<_>>()
    .into_iter()
}

fn camel(ident: &str, case: &str) -> String {
    if case != "camelCase" {
        return ident.to_owned();
    }
    let mut parts = ident.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| {
        let mut chars = part.chars();
        let head = chars.next().map(|c| c.to_ascii_uppercase().to_string()).unwrap_or_default();
        all + &head + chars.as_str()
    })
}

fn cased(ident: &str, case: &str) -> String {
    let between = match case {
        "kebab-case" => "-",
        "snake_case" => "_",
        "lowercase" => "",
        _ => return ident.to_owned(),
    };
    ident.chars().enumerate().fold(String::new(), |mut text, (at, c)| {
        if c.is_ascii_uppercase() && at > 0 {
            text.push_str(between);
        }
        text.push(c.to_ascii_lowercase());
        text
    })
}
