//! Checkpoints as PyTorch writes them, and files that nobody should have written.
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use netc::weights::{Bytes, Checkpoint, Format, OpenOptions};
use proptest::prelude::*;
use serde::Deserialize;

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/weights").join(name)
}

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(&reference(name), &OpenOptions::default()).unwrap()
}

fn content(name: &str) -> Vec<u8> {
    std::fs::read(reference(name)).unwrap()
}

fn read(content: Vec<u8>) -> Result<Checkpoint, String> {
    Checkpoint::from_bytes(&Bytes::from(content), Path::new("w.pth")).map_err(|error| error.to_string())
}

/// Reads everything there is to read of a checkpoint that opened.
fn touch(checkpoint: &Checkpoint) -> usize {
    let broken = checkpoint.non_finite().len();
    assert!(broken <= checkpoint.len());
    checkpoint.iter().map(|(_, tensor)| tensor.to_f32().len()).sum()
}

#[derive(Deserialize)]
struct Expected {
    name: String,
    shape: Vec<u64>,
    values: Vec<f32>,
}

#[test]
fn what_pytorch_saved_is_read() {
    let expected: BTreeMap<String, Vec<Expected>> = serde_json::from_slice(&content("expected.json")).unwrap();
    assert_eq!(expected.len(), 14);
    for (file, tensors) in expected {
        for mapped in [true, false] {
            let checkpoint = Checkpoint::open(&reference(&file), &OpenOptions { mapped }).unwrap();
            assert_eq!(checkpoint.len(), tensors.len(), "{file}");
            for want in &tensors {
                let tensor = checkpoint.get(&want.name).unwrap_or_else(|| panic!("{file}: {}", want.name));
                assert_eq!(tensor.shape(), want.shape, "{file}: {}", want.name);
                assert_eq!(tensor.to_f32()[..], want.values[..], "{file}: {}", want.name);
            }
            if !file.ends_with(".safetensors") {
                let names: Vec<&str> = checkpoint.iter().map(|(name, _)| name).collect();
                assert_eq!(names, tensors.iter().map(|want| want.name.as_str()).collect::<Vec<_>>(), "{file}");
            }
        }
    }
}

#[test]
fn formats_are_told_apart_by_content() {
    for (file, format) in [
        ("zip.pth", Format::PthZip),
        ("deflated.pth", Format::PthZip),
        ("legacy.pth", Format::PthLegacy),
        ("types.safetensors", Format::Safetensors),
    ] {
        assert_eq!(open(file).format(), format, "{file}");
    }
}

#[test]
fn wrappers_are_taken_off_and_other_entries_counted() {
    for file in ["training_zip.pth", "training_legacy.pth"] {
        let checkpoint = open(file);
        assert_eq!(checkpoint.unwrapped(), ["state_dict", "module."], "{file}");
        assert_eq!(checkpoint.skipped(), 0, "{file}");
    }
    assert_eq!(open("model_key.pth").unwrapped(), ["model"]);
    assert!(open("zip.pth").unwrapped().is_empty());
}

#[test]
fn stored_f32_is_used_where_it_lies() {
    for file in ["zip.pth", "types.safetensors"] {
        let checkpoint = open(file);
        let borrowed = checkpoint.iter().filter(|(_, tensor)| matches!(tensor.to_f32(), Cow::Borrowed(_))).count();
        assert!(borrowed > 0, "{file}");
    }
}

#[test]
fn what_is_refused_says_why() {
    for (file, expected) in [
        ("malicious_zip.pth", "`posix.system`, which is refused; nothing was executed"),
        ("malicious_legacy.pth", "`posix.system`, which is refused; nothing was executed"),
        ("whole_module_zip.pth", "`__main__.Plain`"),
        ("whole_module_legacy.pth", "`__main__.Plain`"),
        ("torchscript.pt", "a TorchScript program"),
        ("complex.pth", "`torch.ComplexFloatStorage`"),
        ("expanded.pth", "tensor `w`: [1000] repeats the 1 numbers of its storage\n  help: save it with .contiguous()"),
    ] {
        let error = Checkpoint::open(&reference(file), &OpenOptions::default()).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(file) && error.contains("help:"), "{error}");
    }
    let error = Checkpoint::open(&reference("absent.pth"), &OpenOptions::default()).unwrap_err().to_string();
    assert!(error.contains("absent.pth: no such file"), "{error}");
}

const SMALL: [&str; 6] =
    ["zip.pth", "deflated.pth", "legacy.pth", "training_legacy.pth", "views_zip.pth", "types.safetensors"];

#[test]
fn every_truncation_is_an_error() {
    for file in SMALL {
        let whole = content(file);
        for len in 0..whole.len() {
            let error = read(whole[..len].to_vec()).err();
            assert!(error.is_some_and(|error| error.starts_with("w.pth: ")), "{file} cut to {len} bytes");
        }
        let longer = [&whole[..], b"more"].concat();
        if !file.ends_with(".safetensors") && !file.contains("legacy") {
            assert!(touch(&read(longer).unwrap()) > 0, "a zip file may have something behind it");
        } else {
            assert!(read(longer).unwrap_err().contains("4 bytes behind the last"), "{file}");
        }
    }
}

#[test]
fn damaged_zip_entries_are_named() {
    let whole = content("zip.pth");
    let flip = |at: usize, value: u8| {
        let mut damaged = whole.clone();
        damaged[at] = value;
        read(damaged)
    };
    let find = |what: &[u8]| whole.windows(what.len()).position(|w| w == what).unwrap();
    let order = find(b"little");
    let mut big = whole.clone();
    big[order..order + 6].copy_from_slice(b"big\0\0\0");
    assert!(read(big).unwrap_err().contains("big-endian"));
    // The count of a storage in the pickle, K 18 in front of the tuple of conv.weight's storage.
    let count = find(b"cpu") + 3 + 2;
    assert_eq!(whole[count..count + 2], [b'K', 18]);
    let error = flip(count + 1, 19).unwrap_err();
    assert!(error.contains("`conv.weight`: storage `0`: should hold 19 numbers of F32, but has 72 bytes"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damage_never_panics(
        which in 0..SMALL.len(),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut damaged = content(SMALL[which]);
        let len = damaged.len();
        for (at, byte) in flips {
            damaged[at.index(len)] = byte;
        }
        match read(damaged) {
            // No tensor has more numbers than its storage, and these files have at most ten tensors.
            Ok(checkpoint) => prop_assert!(touch(&checkpoint) <= 64 * len),
            Err(error) => prop_assert!(error.starts_with("w.pth: ")),
        }
    }

    #[test]
    fn no_bytes_panic(
        start in prop_oneof![Just(&b"PK\x03\x04"[..]), Just(&b"\x80\x02\x8a\x0a"[..]), Just(&b"\x10\0\0\0\0\0\0\0{"[..])],
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        prop_assert!(read([start, &rest].concat()).is_err());
    }
}
