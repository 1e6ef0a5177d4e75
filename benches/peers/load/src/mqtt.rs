//! Packets of MQTT 3.1.1: a kind, a length and a body.

/// A packet of these parts.
pub fn packet(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    out.push(kind);
    let mut size: usize = parts.iter().map(|part| part.len()).sum();
    loop {
        let more = size >= 128;
        out.push((size % 128) as u8 | if more { 0x80 } else { 0 });
        size /= 128;
        if !more {
            break;
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// A text with its length.
pub fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Kind, body and size of the packet at the beginning.
pub fn next(input: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (kind, rest) = input.split_first()?;
    let (mut length, mut shift, mut head) = (0usize, 0, 1);
    for byte in rest.iter().take(4) {
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        head += 1;
        if byte & 0x80 == 0 {
            return input.get(head..head + length).map(|body| (*kind, body, head + length));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_packets_of_any_length_are_read_as_they_were_written() {
        for length in [0, 127, 128, 20_000] {
            let body = vec![7; length];
            let mut out = Vec::new();
            packet(&mut out, 0x30, &[&body]);
            assert_eq!(next(&out[..out.len() - 1]), None);
            assert_eq!(next(&out), Some((0x30, body.as_slice(), out.len())));
        }
    }
}
