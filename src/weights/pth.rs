//! Reads PyTorch checkpoints, both containers, into tensors.
//!
//! The zip container has `NAME/data.pkl`, `NAME/byteorder` and one entry `NAME/data/KEY` for each storage. The older
//! one is a row of pickles (a magic number, a version, facts about the system, the object, the keys of the storages),
//! then for each key a count of 8 bytes and the numbers. Both are described by PyTorch's `torch/serialization.py`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::archive::Archive;
use super::error::{GET_AGAIN, show};
use super::pickle::{ErrorKind, Pickle, PickleError, StorageRef, TensorRef, Value};
use super::stored::{MAX_RANK, element_count};
use super::write_pth::METADATA;
use super::{Bytes, Checkpoint, Format, StoredTensor, WeightsError};

/// What the first pickle of the older container holds: 0x1950a86a20f9469cfc6c.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// Dictionary keys under which training scripts keep the state dict, the likeliest first.
const WRAPPERS: [&str; 4] = ["state_dict", "model_state_dict", "model", "state_dict_ema"];
/// Wrappers inside wrappers that are taken off.
const MAX_WRAPPERS: usize = 4;
/// What `torch.nn.DataParallel` puts in front of every name.
const PARALLEL: &str = "module.";
const SAVE_STATE_DICT: &str = "in Python: torch.save(model.state_dict(), PATH), which holds only tensors";

/// The tensors of the zip container `bytes`.
pub(super) fn read_zip(bytes: &Bytes, path: &Path) -> Result<Checkpoint, WeightsError> {
    let file = File { path };
    let mut archive = Archive::open(bytes).map_err(|problem| file.malformed("zip directory", problem))?;
    let prefix = find_prefix(&archive, &file)?;
    let mut entry = |name: &str| {
        let name = format!("{prefix}{name}");
        archive.read(&name).map_err(|problem| file.malformed(format!("entry `{}`", show(&name)), problem))
    };
    if let Some(order) = entry("byteorder")?
        && &order[..] != b"little"
    {
        return Err(file.big_endian());
    }
    let place = format!("{}data.pkl", show(&prefix));
    let content = entry("data.pkl")?.ok_or_else(|| file.malformed(&place, "is not there"))?;
    let pickle = Pickle::read(&content).map_err(|error| file.pickle(&place, 0, error))?;
    let mut storages = HashMap::new();
    for storage in pickle.storages() {
        let key = pickle.text(storage.key).unwrap_or_default();
        if storages.contains_key(key) {
            continue;
        }
        let content = entry(&format!("data/{key}"))?
            .ok_or_else(|| file.malformed(format!("storage `{}`", show(key)), "its entry is not in the archive"))?;
        storages.insert(key, content);
    }
    collect(&pickle, &storages, Format::PthZip, &file)
}

/// The directory in the archive that holds `data.pkl`, with its slash.
fn find_prefix(archive: &Archive, file: &File) -> Result<String, WeightsError> {
    let mut prefixes = archive.names().filter_map(|name| {
        let prefix = name.strip_suffix("data.pkl")?;
        let root = prefix.is_empty() || prefix.ends_with('/') && prefix.matches('/').count() == 1;
        root.then(|| prefix.to_owned())
    });
    let found = |found: &str, help: &str| {
        Err(WeightsError::Format { path: file.path.to_owned(), found: found.into(), help: help.into() })
    };
    let Some(prefix) = prefixes.next() else {
        return found("a zip archive without data.pkl, so no PyTorch checkpoint", SAVE_STATE_DICT);
    };
    if prefixes.next().is_some() {
        return found("a zip archive with more than one data.pkl", SAVE_STATE_DICT);
    }
    if archive.names().any(|name| name.strip_prefix(&prefix[..]) == Some("constants.pkl")) {
        return found("a TorchScript program, not a checkpoint", SAVE_STATE_DICT);
    }
    Ok(prefix)
}

/// The tensors of the older container `bytes`.
pub(super) fn read_legacy(bytes: &Bytes, path: &Path) -> Result<Checkpoint, WeightsError> {
    let file = File { path };
    let mut at = 0;
    let mut next = || {
        let start = at;
        let pickle = Pickle::read(&bytes[start..]).map_err(|error| file.pickle("the file", start, error))?;
        at += pickle.len;
        Ok(pickle)
    };
    let magic = next()?;
    if magic.long(magic.root) != Some(&MAGIC[..]) {
        return Err(WeightsError::Format {
            path: path.to_owned(),
            found: "a pickle that torch.save did not write".into(),
            help: SAVE_STATE_DICT.into(),
        });
    }
    let version = next()?;
    if version.root != Value::Int(1001) {
        return Err(file.malformed("version", "is not 1001, the only one there is"));
    }
    let system = next()?;
    if system.entry(system.root, "little_endian") == Some(Value::Bool(false)) {
        return Err(file.big_endian());
    }
    let (object, keys) = (next()?, next()?);
    let storages = read_storages(bytes, at, &object, &keys, &file)?;
    collect(&object, &storages, Format::PthLegacy, &file)
}

/// The storages behind the last pickle: for each key the count of its numbers, then the numbers.
fn read_storages<'p>(
    bytes: &Bytes,
    mut at: usize,
    object: &Pickle<'p>,
    keys: &Pickle<'p>,
    file: &File,
) -> Result<HashMap<&'p str, Bytes>, WeightsError> {
    let mut sizes = HashMap::new();
    for storage in object.storages() {
        sizes.insert(object.text(storage.key).unwrap_or_default(), storage.dtype.size());
    }
    let place = "the list of storages";
    let Some(list) = keys.sequence(keys.root) else { return Err(file.malformed(place, "is not a list")) };
    let mut storages = HashMap::new();
    for &key in list {
        let Some((key, &size)) = keys.text(key).and_then(|key| Some((key, sizes.get(key)?))) else {
            return Err(file.malformed(place, "names a storage that no tensor uses"));
        };
        let place = format!("storage `{}`", show(key));
        let data = at + 8;
        let Some(count) = bytes.get(at..data).and_then(|count| count.first_chunk()).copied() else {
            return Err(file.malformed(place, "the file ends in front of it"));
        };
        let count = u64::from_le_bytes(count);
        let end = usize::try_from(count).ok().and_then(|n| n.checked_mul(size)?.checked_add(data));
        let Some((end, content)) = end.and_then(|end| Some((end, bytes.slice(data..end)?))) else {
            return Err(file.malformed(place, format!("its {count} numbers reach beyond the end of the file")));
        };
        at = end;
        if storages.insert(key, content).is_some() {
            return Err(file.malformed(place, "is listed twice"));
        }
    }
    match bytes.len() - at {
        0 => Ok(storages),
        left => Err(file.malformed("end of the file", format!("{left} bytes behind the last storage belong to none"))),
    }
}

/// The named tensors of the object, without what stands around them.
fn collect(
    pickle: &Pickle,
    storages: &HashMap<&str, Bytes>,
    format: Format,
    file: &File,
) -> Result<Checkpoint, WeightsError> {
    let (root, mut unwrapped) = peel(pickle);
    let no_tensors =
        |found: String| Err(WeightsError::Format { path: file.path.to_owned(), found, help: SAVE_STATE_DICT.into() });
    let Some(entries) = pickle.dict(root) else {
        return no_tensors("the object saved is not a dictionary of tensors".into());
    };
    // As in Python, the last entry of a name counts, at the place of the first.
    let mut positions: HashMap<&str, usize> = HashMap::new();
    let mut tensors: Vec<(&str, TensorRef)> = Vec::new();
    let mut skipped = 0;
    for &(key, value) in entries {
        match (pickle.text(key), pickle.tensor(value)) {
            (Some(name), Some(tensor)) => match positions.get(name) {
                Some(&i) => tensors[i].1 = tensor,
                None => {
                    positions.insert(name, tensors.len());
                    tensors.push((name, tensor));
                }
            },
            _ => skipped += 1,
        }
    }
    if tensors.is_empty() && !entries.is_empty() {
        return no_tensors(format!("no tensors by name; the dictionary has the keys {}", key_list(pickle, entries)));
    }
    let parallel = !tensors.is_empty() && tensors.iter().all(|(name, _)| name.starts_with(PARALLEL));
    if parallel {
        unwrapped.push(PARALLEL.into());
    }
    let metadata = metadata(pickle, root);
    let mut checkpoint = Checkpoint { format, unwrapped, skipped, metadata, ..Checkpoint::new() };
    for (name, tensor) in tensors {
        let stored = resolve(pickle, storages, tensor)
            .map_err(|(problem, help)| file.damaged(format!("tensor `{}`", show(name)), problem, help))?;
        checkpoint.insert(if parallel { &name[PARALLEL.len()..] } else { name }, stored);
    }
    Ok(checkpoint)
}

/// What [`Checkpoint::write_pth`] says beside the tensors.
fn metadata(pickle: &Pickle, root: Value) -> BTreeMap<String, String> {
    let said = pickle.attribute(root, METADATA).and_then(|said| pickle.dict(said)).unwrap_or_default();
    let text = |value| pickle.text(value).map(str::to_owned);
    said.iter().filter_map(|&(key, value)| Some((text(key)?, text(value)?))).collect()
}

/// The state dict inside the dictionaries of a training script, and the keys that led to it.
fn peel(pickle: &Pickle) -> (Value, Vec<String>) {
    let mut root = pickle.root;
    let mut keys = Vec::new();
    for _ in 0..MAX_WRAPPERS {
        let inner = WRAPPERS.iter().find_map(|key| {
            let inner = pickle.entry(root, key)?;
            pickle.dict(inner).is_some().then_some((*key, inner))
        });
        let Some((key, inner)) = inner else { break };
        keys.push(key.to_owned());
        root = inner;
    }
    (root, keys)
}

fn key_list(pickle: &Pickle, entries: &[(Value, Value)]) -> String {
    const SHOWN: usize = 8;
    let mut keys: Vec<String> = entries
        .iter()
        .take(SHOWN)
        .map(|&(key, _)| pickle.text(key).map_or("(not text)".into(), |key| format!("`{}`", show(key))))
        .collect();
    if entries.len() > SHOWN {
        keys.push(format!("and {} more", entries.len() - SHOWN));
    }
    keys.join(", ")
}

/// The tensor as a window on its storage; the error says what does not fit and what to do.
fn resolve(
    pickle: &Pickle,
    storages: &HashMap<&str, Bytes>,
    tensor: TensorRef,
) -> Result<StoredTensor, (String, &'static str)> {
    let missing = || ("its storage is not in the file".to_string(), GET_AGAIN);
    let storage = pickle.storage(tensor).ok_or_else(missing)?;
    let key = pickle.text(storage.key).ok_or_else(missing)?;
    let content = window(storage, storages.get(key).ok_or_else(missing)?)
        .map_err(|problem| (format!("storage `{}`: {problem}", show(key)), GET_AGAIN))?;
    let counts = |value, what| {
        sizes(pickle, value)
            .ok_or_else(|| (format!("its {what} is not a tuple of at most {MAX_RANK} counts"), GET_AGAIN))
    };
    let (shape, strides) = (counts(tensor.size, "size")?, counts(tensor.stride, "stride")?);
    let held = content.len() / storage.dtype.size();
    if element_count(&shape).is_some_and(|count| count > held) {
        let problem = format!("{shape:?} repeats the {held} numbers of its storage");
        return Err((problem, "save it with .contiguous()"));
    }
    StoredTensor::view(storage.dtype, shape.clone(), &strides, tensor.offset, &content).ok_or_else(|| {
        let offset = tensor.offset;
        let problem = format!("{shape:?} with strides {strides:?} from {offset} reaches beyond its {held} numbers");
        (problem, GET_AGAIN)
    })
}

/// The part of a storage that a reference means.
fn window(storage: StorageRef, content: &Bytes) -> Result<Bytes, String> {
    let size = storage.dtype.size();
    let bytes = |count: u64| usize::try_from(count).ok()?.checked_mul(size);
    if bytes(storage.count) != Some(content.len()) {
        let (count, dtype, found) = (storage.count, storage.dtype, content.len());
        return Err(format!("should hold {count} numbers of {dtype}, but has {found} bytes"));
    }
    let Some((offset, count)) = storage.part else { return Ok(content.clone()) };
    let part = (|| content.slice(bytes(offset)?..bytes(offset.checked_add(count)?)?))();
    part.ok_or_else(|| format!("its part of {count} numbers from {offset} reaches beyond its end"))
}

fn sizes(pickle: &Pickle, value: Value) -> Option<Vec<u64>> {
    let items = pickle.sequence(value).filter(|items| items.len() <= MAX_RANK)?;
    items.iter().map(|&item| if let Value::Int(n) = item { u64::try_from(n).ok() } else { None }).collect()
}

/// The file, to word errors.
struct File<'a> {
    path: &'a Path,
}

impl File<'_> {
    fn malformed(&self, place: impl Into<String>, problem: impl Into<String>) -> WeightsError {
        self.damaged(place.into(), problem.into(), GET_AGAIN)
    }

    fn damaged(&self, place: String, problem: String, help: &str) -> WeightsError {
        WeightsError::Malformed { path: self.path.to_owned(), place, problem, help: help.into() }
    }

    fn big_endian(&self) -> WeightsError {
        WeightsError::Format {
            path: self.path.to_owned(),
            found: "a checkpoint in big-endian byte order, which is not read".into(),
            help: "load it with PyTorch and save it on a little-endian machine".into(),
        }
    }

    /// An error of the pickle `place`, which starts at byte `start` of the file or entry.
    fn pickle(&self, place: &str, start: usize, error: PickleError) -> WeightsError {
        let at = start + error.at;
        match error.kind {
            ErrorKind::Global(global) => WeightsError::Global {
                path: self.path.to_owned(),
                place: place.into(),
                at,
                global: show(&global),
                help: SAVE_STATE_DICT.into(),
            },
            ErrorKind::Broken(problem) => self.malformed(format!("byte {at} of {place}"), problem),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::OpenOptions;
    use super::*;
    use std::io::{Cursor, Write};

    fn text(text: &str) -> Vec<u8> {
        [b"U", &[text.len() as u8][..], text.as_bytes()].concat()
    }

    fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
        [b"(".to_vec(), items.concat(), b"t".to_vec()].concat()
    }

    fn counts(counts: &[u8]) -> Vec<u8> {
        tuple(&counts.iter().map(|&n| vec![b'K', n]).collect::<Vec<_>>())
    }

    /// A tensor of bytes over storage `key`.
    fn tensor(key: &str, len: u8, part: Option<(u8, u8)>, size: &[u8], stride: &[u8]) -> Vec<u8> {
        let part = part.map_or(b"N".to_vec(), |(at, n)| tuple(&[text("view"), vec![b'K', at], vec![b'K', n]]));
        let kind = b"ctorch\nByteStorage\n".to_vec();
        let id = tuple(&[text("storage"), kind, text(key), text("cpu"), vec![b'K', len], part]);
        let arguments = tuple(&[[&id[..], b"Q"].concat(), b"K\0".to_vec(), counts(size), counts(stride)]);
        [&b"ctorch._utils\n_rebuild_tensor\n"[..], &arguments, b"R"].concat()
    }

    fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let entries: Vec<u8> = entries.iter().flat_map(|(key, value)| [text(key), value.clone()].concat()).collect();
        [b"}(", &entries[..], b"u"].concat()
    }

    fn legacy_with(version: u8, endian: u8, object: &[u8], keys: &[&str], storages: &[&[u8]]) -> Vec<u8> {
        let mut file = [&b"\x80\x02\x8a\x0a"[..], &MAGIC, b".\x80\x02M", &[version, 3], b"."].concat();
        file.extend([&b"}"[..], &text("little_endian"), &[endian, b's', b'.']].concat());
        file.extend([object, b".]("].concat());
        file.extend(keys.iter().flat_map(|key| text(key)).chain(*b"e."));
        for storage in storages {
            file.extend((storage.len() as u64).to_le_bytes());
            file.extend(*storage);
        }
        file
    }

    fn legacy(object: &[u8], keys: &[&str], storages: &[&[u8]]) -> Result<Checkpoint, String> {
        read(legacy_with(0xe9, 0x88, object, keys, storages))
    }

    fn read(file: Vec<u8>) -> Result<Checkpoint, String> {
        Checkpoint::from_bytes(&Bytes::from(file), Path::new("w.pth")).map_err(|error| error.to_string())
    }

    fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = ::zip::write::SimpleFileOptions::default().compression_method(::zip::CompressionMethod::Stored);
        for (name, content) in entries {
            zip.start_file(*name, options).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[track_caller]
    fn refused(result: Result<Checkpoint, String>, expected: &str) {
        let error = result.err().unwrap();
        assert!(error.starts_with("w.pth: ") && error.contains("\n  help: ") && error.contains(expected), "{error}");
    }

    #[test]
    fn parts_of_storages_are_windows() {
        let object = dict(&[("w", tensor("k", 6, Some((2, 3)), &[3], &[1])), ("v", tensor("k", 6, None, &[2], &[3]))]);
        let checkpoint = legacy(&object, &["k"], &[&[0, 1, 2, 3, 4, 5]]).unwrap();
        assert_eq!(checkpoint.get("w").unwrap().to_f32()[..], [2.0, 3.0, 4.0]);
        assert_eq!(checkpoint.get("v").unwrap().to_f32()[..], [0.0, 3.0]);
        let beyond = dict(&[("w", tensor("k", 6, Some((4, 3)), &[3], &[1]))]);
        refused(legacy(&beyond, &["k"], &[&[0; 6]]), "its part of 3 numbers from 4 reaches beyond its end");
    }

    #[test]
    fn tensors_have_to_fit_their_storage() {
        let one = |len, size: &[u8], stride: &[u8]| dict(&[("w", tensor("k", len, None, size, stride))]);
        refused(legacy(&one(4, &[2, 2], &[3, 1]), &["k"], &[&[0; 4]]), "[2, 2] with strides [3, 1] from 0 reaches");
        refused(legacy(&one(4, &[2], &[1, 1]), &["k"], &[&[0; 4]]), "with strides [1, 1]");
        refused(legacy(&one(4, &[1; 17], &[1; 17]), &["k"], &[&[0; 4]]), "a tuple of at most 16 counts");
        refused(legacy(&one(5, &[2], &[1]), &["k"], &[&[0; 4]]), "should hold 5 numbers of U8, but has 4 bytes");
        refused(legacy(&one(4, &[5], &[0]), &["k"], &[&[0; 4]]), "repeats the 4 numbers");
    }

    #[test]
    fn the_list_of_storages_has_to_be_that_of_the_tensors() {
        let object = dict(&[("w", tensor("k", 1, None, &[1], &[1]))]);
        refused(legacy(&object, &[], &[]), "tensor `w`: its storage is not in the file");
        refused(legacy(&object, &["k", "k"], &[&[0], &[0]]), "storage `k`: is listed twice");
        refused(legacy(&object, &["z"], &[&[0]]), "names a storage that no tensor uses");
        refused(legacy(&object, &["k"], &[]), "the file ends in front of it");
        refused(legacy(&object, &["k"], &[&[0], &[0]]), "9 bytes behind the last storage");
        let mut huge = legacy_with(0xe9, 0x88, &object, &["k"], &[&[0]]);
        let at = huge.len() - 9;
        huge[at..at + 8].fill(0xff);
        refused(read(huge), "its 18446744073709551615 numbers reach beyond");
    }

    #[test]
    fn other_pickles_and_versions_are_refused() {
        refused(read(b"\x80\x02}.".to_vec()), "a pickle that torch.save did not write");
        refused(read(legacy_with(0xe8, 0x88, b"}", &[], &[])), "is not 1001");
        refused(read(legacy_with(0xe9, 0x89, b"}", &[], &[])), "big-endian");
        refused(legacy(b"]", &[], &[]), "not a dictionary of tensors");
        refused(legacy(&dict(&[("encoder", b"}".to_vec())]), &[], &[]), "the dictionary has the keys `encoder`");
        assert!(legacy(b"}", &[], &[]).unwrap().is_empty());
    }

    #[test]
    fn the_likeliest_wrapper_is_taken_off_and_only_where_it_is_one() {
        let one = |name: &str| dict(&[(name, tensor("k", 1, None, &[1], &[1]))]);
        let both =
            dict(&[("model", one("a")), ("state_dict", dict(&[("model", one("b"))])), ("epoch", b"K\x01".to_vec())]);
        let checkpoint = legacy(&both, &["k"], &[&[7]]).unwrap();
        assert_eq!((checkpoint.unwrapped(), checkpoint.len()), (&["state_dict".into(), "model".into()][..], 1));
        assert!(checkpoint.get("b").is_some());
        let named = dict(&[("model", tensor("k", 1, None, &[1], &[1])), ("epoch", b"K\x01".to_vec())]);
        let checkpoint = legacy(&named, &["k"], &[&[7]]).unwrap();
        assert_eq!((checkpoint.get("model").is_some(), checkpoint.skipped()), (true, 1));
    }

    #[test]
    fn module_is_taken_off_only_where_all_names_have_it() {
        let w = || tensor("k", 1, None, &[1], &[1]);
        let all = legacy(&dict(&[("module.a", w()), ("module.b", w())]), &["k"], &[&[7]]).unwrap();
        assert!(all.get("a").is_some() && all.get("b").is_some());
        let some = legacy(&dict(&[("module.a", w()), ("b", w())]), &["k"], &[&[7]]).unwrap();
        assert!(some.get("module.a").is_some() && some.unwrapped().is_empty());
    }

    #[test]
    fn the_last_of_two_equal_names_counts() {
        let object = dict(&[
            ("a", tensor("k", 2, None, &[1], &[1])),
            ("b", tensor("k", 2, None, &[1], &[1])),
            ("a", tensor("k", 2, None, &[2], &[1])),
        ]);
        let checkpoint = legacy(&object, &["k"], &[&[7, 8]]).unwrap();
        let all: Vec<_> = checkpoint.iter().map(|(name, tensor)| (name, tensor.len())).collect();
        assert_eq!(all, [("a", 2), ("b", 1)]);
    }

    #[test]
    fn zip_archives_that_are_no_checkpoints_are_named() {
        let pickle = [&dict(&[("w", tensor("0", 1, None, &[1], &[1]))])[..], b"."].concat();
        let good = read(zip(&[("x/data.pkl", &pickle), ("x/data/0", &[7])])).unwrap();
        assert_eq!(good.get("w").unwrap().to_f32()[..], [7.0]);
        assert_eq!(read(zip(&[("data.pkl", &pickle), ("data/0", &[7])])).unwrap().len(), 1);
        refused(read(zip(&[("word/document.xml", b"")])), "a zip archive without data.pkl");
        refused(read(zip(&[("a/b/data.pkl", &pickle)])), "a zip archive without data.pkl");
        refused(read(zip(&[("x/data.pkl", &pickle), ("y/data.pkl", &pickle)])), "more than one data.pkl");
        refused(read(zip(&[("x/data.pkl", &pickle)])), "storage `0`: its entry is not in the archive");
        refused(read(zip(&[("x/data.pkl", &pickle), ("x/byteorder", b"big")])), "big-endian");
        refused(read(zip(&[("x/data.pkl", b"}")])), "byte 1 of x/data.pkl: it ends in the middle");
        refused(read(b"PK\x03\x04".to_vec()), "zip directory");
    }

    #[test]
    fn a_checkpoint_knows_its_file() {
        let object = dict(&[("w", tensor("k", 1, None, &[1], &[1]))]);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&legacy_with(0xe9, 0x88, &object, &["k"], &[&[7]])).unwrap();
        let checkpoint = Checkpoint::open(file.path(), &OpenOptions::default()).unwrap();
        assert_eq!((checkpoint.len(), checkpoint.path()), (1, file.path()));
    }
}
