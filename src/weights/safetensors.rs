//! Reads safetensors: 8 bytes of header length, a JSON header, then the numbers.
//!
//! The header is read here and not by the `safetensors` crate, which takes the last of two equal names and does not
//! say which tensor has an unknown type; the tests hold both readers against each other. The rules are those of
//! <https://github.com/huggingface/safetensors#format>: the tensors cover the bytes behind the header exactly, without
//! overlap or hole.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::error::{GET_AGAIN, show};
use super::stored::{MAX_RANK, element_count};
use super::{Bytes, Checkpoint, Dtype, Format, StoredTensor, WeightsError};

/// The format's own bound.
const MAX_HEADER: u64 = 100_000_000;

/// The header, in the order of the file.
struct Header {
    tensors: Vec<(String, Info)>,
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let (mut tensors, mut metadata) = (Vec::new(), BTreeMap::new());
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        metadata = map.next_value()?;
                    } else {
                        tensors.push((name, map.next_value()?));
                    }
                }
                Ok(Header { tensors, metadata })
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// The tensors of the safetensors file `bytes`.
pub(super) fn read(bytes: &Bytes, path: &Path) -> Result<Checkpoint, WeightsError> {
    let malformed = |place: String, problem: String| WeightsError::Malformed {
        path: path.to_owned(),
        place,
        problem,
        help: GET_AGAIN.into(),
    };
    let (header, data) = split(bytes).map_err(|problem| malformed("header".into(), problem))?;
    let Header { tensors: infos, metadata } = serde_json::from_slice(&header)
        .map_err(|error| malformed("header".into(), format!("not the JSON it should be: {error}")))?;
    check_cover(&infos, data.len() as u64).map_err(|(place, problem)| malformed(place, problem))?;

    let mut checkpoint = Checkpoint { format: Format::Safetensors, metadata, ..Checkpoint::new() };
    for (name, info) in infos {
        let place = format!("tensor `{}`", show(&name));
        let Some(dtype) = Dtype::from_name(&info.dtype) else {
            return Err(WeightsError::Dtype { path: path.to_owned(), tensor: show(&name), dtype: show(&info.dtype) });
        };
        if info.shape.len() > MAX_RANK {
            let problem = format!("{} axes are more than the {MAX_RANK} that are read", info.shape.len());
            return Err(malformed(place, problem));
        }
        // `check_cover` has established that the range lies in the data, which is memory.
        let (start, end) = (info.data_offsets.0 as usize, info.data_offsets.1 as usize);
        let window = data.slice(start..end).ok_or_else(|| malformed(place.clone(), "beyond the end".into()))?;
        let Some(tensor) = StoredTensor::new(dtype, info.shape.clone(), window) else {
            let problem = match element_count(&info.shape).and_then(|n| n.checked_mul(dtype.size())) {
                Some(need) => format!("{dtype} {:?} takes {need} bytes, not {}", info.shape, end - start),
                None => format!("the size of {:?} overflows", info.shape),
            };
            return Err(malformed(place, problem));
        };
        if !checkpoint.insert(name, tensor) {
            return Err(malformed("header".into(), format!("two entries for {place}")));
        }
    }
    Ok(checkpoint)
}

/// Header and numbers.
fn split(bytes: &Bytes) -> Result<(Bytes, Bytes), String> {
    let Some((length, _)) = bytes.split_first_chunk::<8>() else {
        return Err(format!("the file has {} bytes, fewer than the length field", bytes.len()));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(format!("a header of {length} bytes is longer than the {MAX_HEADER} that the format allows"));
    }
    let end = 8 + length as usize;
    match (bytes.slice(8..end), bytes.slice(end..bytes.len())) {
        (Some(header), Some(data)) => Ok((header, data)),
        _ => Err(format!("says it has {length} bytes, but only {} follow", bytes.len() - 8)),
    }
}

/// Checks that the tensors, in the order of their offsets, cover `len` bytes exactly.
fn check_cover(infos: &[(String, Info)], len: u64) -> Result<(), (String, String)> {
    let mut order: Vec<&(String, Info)> = infos.iter().collect();
    order.sort_by_key(|(_, info)| info.data_offsets);
    let mut covered = 0;
    let mut before = "the header";
    for (name, info) in order {
        let (start, end) = info.data_offsets;
        let wrong = if end < start {
            format!("its end {end} is before its start {start}")
        } else if end > len {
            format!("its bytes {start}..{end} reach beyond the {len} that the file holds")
        } else if start < covered {
            format!("its bytes {start}..{end} overlap those of `{}`, which end at {covered}", show(before))
        } else if start > covered {
            format!("{} bytes in front of it belong to no tensor", start - covered)
        } else {
            (covered, before) = (end, name);
            continue;
        };
        return Err((format!("tensor `{}`", show(name)), wrong));
    }
    match len - covered {
        0 => Ok(()),
        left => Err(("end of the file".into(), format!("{left} bytes behind the last tensor belong to none"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
    }

    fn open(content: Vec<u8>) -> Result<Checkpoint, WeightsError> {
        Checkpoint::from_bytes(&Bytes::from(content), Path::new("w.safetensors"))
    }

    #[track_caller]
    fn refused(header: &str, data: &[u8], expected: &str) {
        let text = open(file(header, data)).unwrap_err().to_string();
        assert!(text.starts_with("w.safetensors: ") && text.contains(expected), "{text}");
    }

    #[test]
    fn tensors_come_in_the_order_of_the_header() {
        let header = r#"{"__metadata__":{"format":"pt"},
            "b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]},
            "a":{"dtype":"F16","shape":[],"data_offsets":[0,2]},
            "none":{"dtype":"I64","shape":[0,3],"data_offsets":[6,6]}}"#;
        let checkpoint = open(file(header, &[0, 0x3c, 0, 0, 0, 0x40])).unwrap();
        let all: Vec<_> = checkpoint.iter().map(|(n, t)| (n, t.shape().to_vec(), t.to_f32().into_owned())).collect();
        assert_eq!(all, [("b", vec![1], vec![2.0]), ("a", vec![], vec![1.0]), ("none", vec![0, 3], vec![])]);
        assert_eq!(checkpoint.format(), Format::Safetensors);
    }

    #[test]
    fn malformed_headers_are_refused_by_name() {
        let two = |a: &str, b: &str| {
            format!(
                r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":{a}}},"b":{{"dtype":"U8","shape":[4],"data_offsets":{b}}}}}"#
            )
        };
        let one = |dtype: &str, shape: &str, at: &str| {
            format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{at}}}}}"#)
        };
        refused(&two("[0,4]", "[2,6]"), &[0; 6], "tensor `b`: its bytes 2..6 overlap those of `a`, which end at 4");
        refused(&two("[0,4]", "[0,4]"), &[0; 4], "tensor `b`: its bytes 0..4 overlap");
        refused(&two("[0,4]", "[5,9]"), &[0; 9], "tensor `b`: 1 bytes in front of it");
        refused(&two("[0,4]", "[4,8]"), &[0; 7], "tensor `b`: its bytes 4..8 reach beyond the 7");
        refused(&two("[0,4]", "[4,8]"), &[0; 9], "1 bytes behind the last tensor");
        refused(&two("[4,0]", "[4,8]"), &[0; 8], "its end 0 is before its start 4");
        refused(&one("F32", "[2]", "[0,4]"), &[0; 4], "F32 [2] takes 8 bytes, not 4");
        refused(&one("U8", "[18446744073709551615,16]", "[0,4]"), &[0; 4], "overflows");
        refused(&one("U8", "[-1]", "[0,4]"), &[0; 4], "not the JSON it should be");
        refused(&one("U8", "[1.5]", "[0,4]"), &[0; 4], "not the JSON it should be");
        refused(&one("U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,1]"), &[0; 1], "17 axes");
        refused(&one("F8_E4M3", "[4]", "[0,4]"), &[0; 4], "tensor `a` holds F8_E4M3, which is not read");
        refused("{\"a\":{}}", &[], "missing field");
        refused("{} trailing", &[], "not the JSON it should be");
        refused("{", &[], "not the JSON it should be");
        refused("{\"__metadata__\":3}", &[], "not the JSON it should be");
        let twice = r#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#;
        refused(twice, &[], "two entries for tensor `a`");
        refused(&format!("{{\"a\":{}", "[".repeat(100_000)), &[], "not the JSON it should be");
    }

    #[test]
    fn header_lengths_that_lie_are_refused() {
        for (length, expected) in
            [(1u64 << 60, "longer than"), (u64::MAX, "longer than"), (50, "only 2 follow"), (1, "not the JSON")]
        {
            let content = [&length.to_le_bytes()[..], b"{}"].concat();
            let text = open(content).unwrap_err().to_string();
            assert!(text.contains(expected), "{length}: {text}");
        }
    }

    proptest! {
        /// Whatever this reader accepts, the reference reader accepts too, and both see the same tensors.
        #[test]
        fn agrees_with_the_reference_reader(
            entries in proptest::collection::vec((0u64..3, prop_oneof![Just("F32"), Just("U8"), Just("F4")]), 0..4),
            gap in 0i64..2, tail in 0usize..2,
        ) {
            let mut at = 0i64;
            let mut parts = Vec::new();
            for (i, (n, dtype)) in entries.iter().enumerate() {
                let len = *n as i64 * if *dtype == "F32" { 4 } else { 1 };
                parts.push(format!(r#""t{i}":{{"dtype":"{dtype}","shape":[{n}],"data_offsets":[{at},{}]}}"#, at + len));
                at += len + gap;
            }
            let content = file(&format!("{{{}}}", parts.join(",")), &vec![1; at.max(0) as usize + tail]);
            let ours = open(content.clone());
            let theirs = ::safetensors::SafeTensors::deserialize(&content);
            if let Ok(ours) = ours {
                let theirs = theirs.unwrap();
                prop_assert_eq!(ours.len(), theirs.len());
                for (name, tensor) in ours.iter() {
                    prop_assert_eq!(&tensor.bytes()[..], theirs.tensor(name).unwrap().data());
                }
            } else {
                prop_assert!(theirs.is_err() || entries.iter().any(|(_, dtype)| *dtype == "F4"));
            }
        }
    }
}
