//! The zip container of `.pth` files: stored entries are windows on the file, deflated ones are inflated within bounds.

use std::io::{Cursor, Read};

use ::zip::{CompressionMethod, ZipArchive};

use super::Bytes;

/// What inflating may take in all: this, and [`MAX_RATIO`] times the file.
const INFLATED_FREE: u64 = 64 << 20;
/// Deflate reaches a factor of 1000 on zeros; trained weights hardly 2.
const MAX_RATIO: u64 = 16;

/// An opened container.
pub(super) struct Archive {
    bytes: Bytes,
    zip: ZipArchive<Cursor<Bytes>>,
    inflatable: u64,
}

impl Archive {
    /// Reads the central directory of `bytes`; the error says what is wrong with it.
    pub(super) fn open(bytes: &Bytes) -> Result<Archive, String> {
        let zip = ZipArchive::new(Cursor::new(bytes.clone())).map_err(|error| error.to_string())?;
        if zip.has_duplicate_names() {
            return Err("two entries have the same name".into());
        }
        let inflatable = (bytes.len() as u64).saturating_mul(MAX_RATIO).saturating_add(INFLATED_FREE);
        Ok(Archive { bytes: bytes.clone(), zip, inflatable })
    }

    /// The names of the entries, in the order of the directory, without those that are not UTF-8.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.zip.file_names_raw().filter_map(|name| std::str::from_utf8(name).ok())
    }

    /// The content of the entry `name`, `None` where there is no such entry; the error says what is wrong with it.
    ///
    /// Checksums of stored entries are not looked at: PyTorch can leave them out and does not look at them either.
    pub(super) fn read(&mut self, name: &str) -> Result<Option<Bytes>, String> {
        let Some(index) = self.zip.index_for_name_raw(name.as_bytes()) else { return Ok(None) };
        let entry = self.zip.by_index_raw(index).map_err(|error| error.to_string())?;
        let (method, size, packed) = (entry.compression(), entry.size(), entry.compressed_size());
        if entry.encrypted() {
            return Err("it is encrypted".into());
        }
        let start = entry.data_start().and_then(|at| usize::try_from(at).ok());
        drop(entry);
        if method == CompressionMethod::Deflated {
            return self.inflate(index, size).map(Some);
        }
        if method != CompressionMethod::Stored {
            return Err(format!("it is compressed with {method}; only stored and deflated entries are read"));
        }
        let window = (|| self.bytes.slice(start?..start?.checked_add(usize::try_from(packed).ok()?)?))();
        match window {
            Some(window) if size == packed => Ok(Some(window)),
            Some(_) => Err(format!("its two sizes, {size} and {packed}, differ though it is not compressed")),
            None => Err(format!("its {packed} bytes reach beyond the end of the file")),
        }
    }

    fn inflate(&mut self, index: usize, size: u64) -> Result<Bytes, String> {
        self.inflatable = self.inflatable.checked_sub(size).ok_or_else(|| {
            format!(
                "it inflates to {size} bytes, out of proportion to the file; store it uncompressed, as torch.save does"
            )
        })?;
        let entry = self.zip.by_index(index).map_err(|error| error.to_string())?;
        let mut content = Vec::new();
        entry.take(size.saturating_add(1)).read_to_end(&mut content).map_err(|error| error.to_string())?;
        if content.len() as u64 != size {
            return Err(format!("it does not inflate to the {size} bytes that it declares"));
        }
        Ok(Bytes::from(content))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ::zip::ZipWriter;
    use ::zip::write::SimpleFileOptions;
    use std::io::Write;

    fn archive(entries: &[(&str, CompressionMethod, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, method, content) in entries {
            zip.start_file(*name, SimpleFileOptions::default().compression_method(*method)).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn stored_entries_are_windows_and_deflated_ones_are_inflated() {
        let zeros = vec![0u8; 5000];
        let content =
            archive(&[("a/x", CompressionMethod::Stored, b"hello"), ("a/y", CompressionMethod::Deflated, &zeros)]);
        let bytes = Bytes::from(content);
        let mut archive = Archive::open(&bytes).unwrap();
        assert_eq!(archive.names().collect::<Vec<_>>(), ["a/x", "a/y"]);
        let stored = archive.read("a/x").unwrap().unwrap();
        assert_eq!(&stored[..], b"hello");
        assert!(bytes.as_ptr_range().contains(&stored.as_ptr()));
        assert_eq!(&archive.read("a/y").unwrap().unwrap()[..], &zeros[..]);
        assert!(archive.read("a/z").unwrap().is_none());
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_inflated() {
        let content = archive(&[("a", CompressionMethod::Deflated, &vec![0u8; 70 << 20])]);
        assert!(content.len() < 100_000);
        let mut archive = Archive::open(&Bytes::from(content)).unwrap();
        assert!(archive.read("a").unwrap_err().contains("out of proportion"));
    }

    #[test]
    fn sizes_that_lie_are_refused() {
        for (declared, expected) in [(999u32, "larger than its declared"), (1001, "does not inflate to the 1001 bytes")]
        {
            let mut content = archive(&[("a", CompressionMethod::Deflated, &[7u8; 1000])]);
            let directory = content.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
            content[directory + 24..directory + 28].copy_from_slice(&declared.to_le_bytes());
            let mut archive = Archive::open(&Bytes::from(content)).unwrap();
            let error = archive.read("a").unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
