//! Whether the file of an image is all there, told from its framing alone. Decoders are lenient about this: what is
//! missing at the end becomes grey.

/// A kind of image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    /// ITU-T T.81.
    Jpeg,
    /// The W3C's Portable Network Graphics.
    Png,
}

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

impl Container {
    /// Recognises a kind by its first bytes.
    pub(super) fn of(bytes: &[u8]) -> Option<Container> {
        if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
            Some(Container::Jpeg)
        } else if bytes.starts_with(PNG_SIGNATURE) {
            Some(Container::Png)
        } else {
            None
        }
    }

    /// Whether the image's end marker is reached.
    pub(super) fn is_complete(self, bytes: &[u8]) -> bool {
        let end = match self {
            Container::Jpeg => jpeg_end(bytes),
            Container::Png => png_end(bytes),
        };
        end.is_some()
    }
}

/// Walks the marker segments and the entropy-coded data between them up to the end-of-image marker.
fn jpeg_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)?;
        at += bytes.get(at..)?.iter().position(|&byte| byte != 0xff)?;
        let marker = *bytes.get(at)?;
        at += 1;
        match marker {
            0xd9 => return Some(at),
            // A stuffed zero in entropy-coded data, TEM, RST0 to RST7 and SOI stand alone.
            0x00 | 0x01 | 0xd0..=0xd8 => {}
            _ => at += usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])),
        }
    }
}

/// Walks the chunks up to the end of IEND.
fn png_end(bytes: &[u8]) -> Option<usize> {
    let mut at = PNG_SIGNATURE.len();
    loop {
        let head: &[u8; 8] = bytes.get(at..)?.first_chunk()?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        // Length, type and checksum take four bytes each.
        at = at.checked_add(12)?.checked_add(usize::try_from(length).ok()?)?;
        if bytes.len() < at {
            return None;
        }
        if &head[4..] == b"IEND" {
            return Some(at);
        }
    }
}
