//! Names in certificates, as people know them: as much of X.501 as an error message needs.

/// Attributes of a name that say whose it is, the most telling first: common name, organisation.
const TELLING: [&[u8]; 2] = [&[0x55, 4, 3], &[0x55, 4, 10]];

/// Longest name that is shown, in characters.
const LONGEST: usize = 80;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// What a name (the inside of an X.501 `RDNSequence`) says first of whose it is, fit for a log line.
pub(super) fn shown(name: &[u8]) -> Option<String> {
    let attributes = elements(name)
        .filter(|(tag, _)| *tag == SET)
        .flat_map(|(_, set)| elements(set))
        .filter(|(tag, _)| *tag == SEQUENCE);
    let attributes: Vec<_> = attributes.filter_map(|(_, pair)| attribute(pair)).collect();
    let (_, value) =
        TELLING.iter().find_map(|wanted| attributes.iter().find(|(kind, _)| kind == wanted))?;
    let text = String::from_utf8_lossy(value);
    let text: String = text.chars().take(LONGEST).collect();
    Some(text.escape_debug().to_string())
}

/// Type and value.
fn attribute(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = elements(pair);
    let (OBJECT_IDENTIFIER, kind) = parts.next()? else { return None };
    let (_, value) = parts.next()?;
    Some((kind, value))
}

/// The elements of a DER text, with their tags, until one is malformed.
fn elements(mut der: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&tag, rest) = der.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match usize::from(first) {
            short @ ..0x80 => (short, rest),
            long => {
                let (bytes, rest) = rest.split_at_checked(long & 0x7f)?;
                let length = bytes.iter().try_fold(0_usize, |length, byte| {
                    length.checked_mul(256)?.checked_add(usize::from(*byte))
                });
                (length?, rest)
            }
        };
        let (content, rest) = rest.split_at_checked(length)?;
        der = rest;
        Some((tag, content))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        match u8::try_from(length) {
            Ok(short @ ..0x80) => [&[tag, short], content].concat(),
            _ => [&[tag, 0x82, (length >> 8) as u8, length as u8], content].concat(),
        }
    }

    fn part(kind: &[u8], value: &[u8]) -> Vec<u8> {
        let pair = [element(OBJECT_IDENTIFIER, kind), element(12, value)].concat();
        element(SET, &element(SEQUENCE, &pair))
    }

    #[test]
    fn the_common_name_goes_before_the_organisation() {
        let name = [part(&[0x55, 4, 6], b"DE"), part(TELLING[1], b"Org")].concat();
        assert_eq!(shown(&name).as_deref(), Some("Org"));
        let name = [name, part(TELLING[0], "R\u{e4}ck \u{1b}[2J".as_bytes())].concat();
        assert_eq!(shown(&name).as_deref(), Some("R\u{e4}ck \\u{1b}[2J"));
        let long = part(TELLING[0], &[b'x'; 300]);
        assert_eq!(shown(&long).map(|text| text.len()), Some(LONGEST));
    }

    #[test]
    fn what_is_malformed_has_no_name_and_does_no_harm() {
        let whole = part(TELLING[0], b"name");
        for cut in 0..whole.len() {
            assert_eq!(shown(&whole[..cut]), None, "{cut}");
        }
        for odd in [
            &[0x31, 0x80][..],
            &[0x31, 0xff, 1, 2],
            &[0x31, 0x88, 255, 255, 255, 255, 255, 255, 255, 255],
        ] {
            assert_eq!(shown(odd), None);
        }
    }
}
