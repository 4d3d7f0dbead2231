//! The numbers of a tensor in a file, or in another file beside it.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use ndarray::{ArrayD, IxDyn};

use super::error::{OnnxError, show};
use super::proto::Tensor;
use crate::kernel::map::Bytes;
use crate::op::onnx::{Constant, Data};

/// Axes that a tensor may have.
const MAX_RANK: usize = 16;

/// Files beside the model that hold tensors.
#[derive(Debug, Default)]
pub struct External {
    /// The folder of the model; `None` for a model that was read from memory.
    folder: Option<PathBuf>,
    files: HashMap<String, Bytes>,
}

impl External {
    /// Files in the folder of a model.
    pub fn beside(model: &Path) -> External {
        let folder = model.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        External { folder: folder.map(Path::to_owned), files: HashMap::new() }
    }

    /// The bytes of a tensor.
    fn bytes(&mut self, tensor: &Tensor) -> Result<Bytes, OnnxError> {
        let entry = |key: &str| tensor.external.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        let name = show(tensor.name);
        let number = |key: &str| -> Result<Option<usize>, OnnxError> {
            let Some(text) = entry(key) else { return Ok(None) };
            let wrong = |_| OnnxError::wrong(format!("`{key}` of tensor `{name}` is no number: {text}"), EXPORT_AGAIN);
            text.parse().map(Some).map_err(wrong)
        };
        let location = entry("location").unwrap_or_default();
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let file = self.file(location, &name)?;
        let end = length.map_or(Some(file.len()), |length| offset.checked_add(length));
        end.and_then(|end| file.slice(offset..end)).ok_or_else(|| {
            let what = format!("tensor `{name}` lies outside {}, which has {} bytes", show(location), file.len());
            OnnxError::wrong(what, "fetch the file of tensors again; it belongs beside the model")
        })
    }

    /// A file beside the model: of the same folder or one below it.
    fn file(&mut self, location: &str, tensor: &str) -> Result<Bytes, OnnxError> {
        if let Some(bytes) = self.files.get(location) {
            return Ok(bytes.clone());
        }
        let Some(folder) = &self.folder else {
            let what = format!("tensor `{tensor}` is in the file {}, and the model is no file", show(location));
            return Err(OnnxError::wrong(what, "read the model from its file"));
        };
        let leaves = || {
            let what = format!("tensor `{tensor}` is said to be in {}, outside the model's folder", show(location));
            OnnxError::wrong(what, "such models are refused; put the file of tensors beside the model and name it so")
        };
        let inside =
            Path::new(location).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside || location.is_empty() {
            return Err(leaves());
        }
        let path = folder.join(location);
        let missing = |error: std::io::Error| {
            let what = format!("tensor `{tensor}` is in {}, which cannot be read: {error}", path.display());
            OnnxError::wrong(what, "fetch the file of tensors; it belongs beside the model")
        };
        let real = path.canonicalize().map_err(missing)?;
        if !real.starts_with(folder.canonicalize().map_err(OnnxError::Read)?) {
            return Err(leaves());
        }
        let bytes = Bytes::open(&real, true).map_err(missing)?;
        self.files.insert(location.to_owned(), bytes.clone());
        Ok(bytes)
    }
}

const EXPORT_AGAIN: &str = "the file is damaged; fetch or export it again";

/// The tensor; `None` where its elements are of a type that no net computes with, as text is.
///
/// # Errors
/// When its sizes and its data contradict each other, or a file of tensors cannot be read.
pub fn decode(tensor: &Tensor, external: &mut External) -> Result<Option<Constant>, OnnxError> {
    let name = show(tensor.name);
    let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
    let elements =
        dims.as_ref().and_then(|dims| dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim)));
    let (Some(dims), Some(elements), true) = (dims, elements, tensor.dims.len() <= MAX_RANK) else {
        return Err(OnnxError::wrong(format!("tensor `{name}` has impossible sizes {:?}", tensor.dims), EXPORT_AGAIN));
    };
    let held;
    let raw = if tensor.is_external {
        held = external.bytes(tensor)?;
        Some(&held[..])
    } else {
        tensor.raw
    };
    let Some(numbers) = numbers(tensor, raw, elements)? else { return Ok(None) };
    let wrong = |found: usize| {
        let what = format!("tensor `{name}` has {found} elements where its sizes {dims:?} say {elements}");
        OnnxError::wrong(what, EXPORT_AGAIN)
    };
    let data: Data = match numbers {
        Numbers::Floats(values) => {
            let found = values.len();
            ArrayD::from_shape_vec(IxDyn(&dims), values).map_err(|_| wrong(found))?.into()
        }
        Numbers::Ints(values) => {
            let found = values.len();
            ArrayD::from_shape_vec(IxDyn(&dims), values).map_err(|_| wrong(found))?.into()
        }
    };
    Ok(Some(Constant { name: tensor.name.into(), data }))
}

enum Numbers {
    Floats(Vec<f32>),
    Ints(Vec<i64>),
}

/// The elements in the order of the file; `None` for types that no net computes with.
fn numbers(tensor: &Tensor, raw: Option<&[u8]>, elements: usize) -> Result<Option<Numbers>, OnnxError> {
    if let Some(raw) = raw {
        return Ok(from_bytes(tensor.element, raw, elements));
    }
    let (mut ints, mut floats, mut doubles) = (Vec::new(), Vec::new(), Vec::new());
    for (number, value) in &tensor.listed {
        match number {
            4 => value.floats(&mut floats)?,
            10 => value.doubles(&mut doubles)?,
            _ => value.ints(&mut ints)?,
        }
    }
    let half = |bits: &i64| *bits as u16;
    Ok(match tensor.element {
        FLOAT => Some(Numbers::Floats(floats)),
        DOUBLE => Some(Numbers::Floats(doubles.into_iter().map(|value| value as f32).collect())),
        FLOAT16 => Some(Numbers::Floats(ints.iter().map(|bits| half::f16::from_bits(half(bits)).to_f32()).collect())),
        BFLOAT16 => Some(Numbers::Floats(ints.iter().map(|bits| half::bf16::from_bits(half(bits)).to_f32()).collect())),
        UINT8 | INT8 | UINT16 | INT16 | INT32 | INT64 | BOOL | UINT32 | UINT64 => Some(Numbers::Ints(ints)),
        UINT4 | INT4 => {
            let bytes: Vec<u8> = ints.iter().map(|&byte| byte as u8).collect();
            from_bytes(tensor.element, &bytes, elements)
        }
        _ => None,
    })
}

const FLOAT: i64 = 1;
const UINT8: i64 = 2;
const INT8: i64 = 3;
const UINT16: i64 = 4;
const INT16: i64 = 5;
const INT32: i64 = 6;
const INT64: i64 = 7;
const BOOL: i64 = 9;
const FLOAT16: i64 = 10;
const DOUBLE: i64 = 11;
const UINT32: i64 = 12;
const UINT64: i64 = 13;
const BFLOAT16: i64 = 16;
const UINT4: i64 = 21;
const INT4: i64 = 22;

/// Whether elements of this type are floats.
pub fn is_float(element: i64) -> bool {
    matches!(element, FLOAT | FLOAT16 | DOUBLE | BFLOAT16)
}

/// Little-endian elements; four-bit ones lie two a byte, the lower half first.
fn from_bytes(element: i64, raw: &[u8], elements: usize) -> Option<Numbers> {
    Some(match element {
        FLOAT => Numbers::Floats(each(raw, f32::from_le_bytes)),
        DOUBLE => Numbers::Floats(each(raw, |bytes| f64::from_le_bytes(bytes) as f32)),
        FLOAT16 => Numbers::Floats(each(raw, |bytes| half::f16::from_le_bytes(bytes).to_f32())),
        BFLOAT16 => Numbers::Floats(each(raw, |bytes| half::bf16::from_le_bytes(bytes).to_f32())),
        UINT8 | BOOL => Numbers::Ints(raw.iter().map(|&byte| i64::from(byte)).collect()),
        INT8 => Numbers::Ints(raw.iter().map(|&byte| i64::from(byte.cast_signed())).collect()),
        UINT16 => Numbers::Ints(each(raw, |bytes| i64::from(u16::from_le_bytes(bytes)))),
        INT16 => Numbers::Ints(each(raw, |bytes| i64::from(i16::from_le_bytes(bytes)))),
        UINT32 => Numbers::Ints(each(raw, |bytes| i64::from(u32::from_le_bytes(bytes)))),
        INT32 => Numbers::Ints(each(raw, |bytes| i64::from(i32::from_le_bytes(bytes)))),
        UINT64 | INT64 => Numbers::Ints(each(raw, i64::from_le_bytes)),
        UINT4 | INT4 => {
            let halves = raw.iter().flat_map(|&byte| [byte & 15, byte >> 4]);
            let signed = |half: u8| if element == INT4 && half > 7 { i64::from(half) - 16 } else { i64::from(half) };
            Numbers::Ints(halves.map(signed).take(elements).collect())
        }
        _ => return None,
    })
}

/// Numbers of so many bytes each; bytes that are left over count as one more, so that the number of elements is wrong.
fn each<const N: usize, T: Default>(raw: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, rest) = raw.as_chunks::<N>();
    let over = (!rest.is_empty()).then(T::default);
    chunks.iter().map(|&bytes| read(bytes)).chain(over).collect()
}
