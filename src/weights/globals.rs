//! The Python objects that a pickle may name. None is ever called; each only says how to read what is built with it.

use super::Dtype;

/// A Python object that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`, whose first four arguments are the same.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter` and its form with attributes.
    RebuildParameter,
    /// `torch._tensor._rebuild_from_type_v2`: a tensor with attributes or of a subclass.
    RebuildFromType,
    /// `torch.Size`.
    Size,
    /// A typed storage.
    Storage(Dtype),
    /// Harmless, and of no use for weights.
    Opaque,
}

/// Modules with names that checkpoints hold beside their tensors.
const OPAQUE: &[(&str, &[&str])] = &[
    ("argparse", &["Namespace"]),
    ("builtins", PLAIN),
    ("__builtin__", PLAIN),
    ("_codecs", &["encode"]),
    ("collections", &["Counter", "defaultdict"]),
    ("datetime", &["date", "datetime", "timedelta", "timezone"]),
    ("numpy", &["dtype", "ndarray"]),
    ("numpy.core.multiarray", &["_reconstruct", "scalar"]),
    ("numpy._core.multiarray", &["_reconstruct", "scalar"]),
    ("pathlib", &["Path", "PosixPath", "PurePosixPath", "WindowsPath"]),
    ("pathlib._local", &["Path", "PosixPath", "PurePosixPath", "WindowsPath"]),
    (
        "torch",
        &[
            "Tensor",
            "bfloat16",
            "bool",
            "channels_last",
            "contiguous_format",
            "device",
            "float16",
            "float32",
            "float64",
            "int16",
            "int32",
            "int64",
            "int8",
            "strided",
            "uint8",
        ],
    ),
    ("torch.nn.parameter", &["Buffer", "Parameter"]),
    ("torch.serialization", &["_get_layout"]),
    ("types", &["SimpleNamespace"]),
];

const PLAIN: &[&str] = &[
    "bool",
    "bytearray",
    "bytes",
    "complex",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "long",
    "object",
    "range",
    "set",
    "slice",
    "str",
    "tuple",
    "unicode",
];

impl Global {
    /// The object `name` of `module`, if it is on the list.
    pub(super) fn find(module: &str, name: &str) -> Option<Global> {
        match (module, name) {
            ("collections", "OrderedDict") => Some(Global::OrderedDict),
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Some(Global::RebuildTensor),
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Some(Global::RebuildParameter),
            ("torch._tensor", "_rebuild_from_type_v2") => Some(Global::RebuildFromType),
            ("torch", "Size") => Some(Global::Size),
            ("torch" | "torch.storage", "UntypedStorage") => Some(Global::Storage(Dtype::U8)),
            ("torch", storage) if storage.ends_with("Storage") => {
                storage.strip_suffix("Storage").and_then(storage_type).map(Global::Storage)
            }
            _ => {
                let (_, names) = OPAQUE.iter().find(|(known, _)| *known == module)?;
                names.contains(&name).then_some(Global::Opaque)
            }
        }
    }
}

/// The numbers of PyTorch's typed storages.
fn storage_type(name: &str) -> Option<Dtype> {
    Some(match name {
        "Float" => Dtype::F32,
        "Half" => Dtype::F16,
        "BFloat16" => Dtype::BF16,
        "Double" => Dtype::F64,
        "Long" => Dtype::I64,
        "Int" => Dtype::I32,
        "Short" => Dtype::I16,
        "Char" => Dtype::I8,
        "Byte" => Dtype::U8,
        "Bool" => Dtype::Bool,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_closed() {
        assert_eq!(Global::find("torch", "HalfStorage"), Some(Global::Storage(Dtype::F16)));
        assert_eq!(Global::find("argparse", "Namespace"), Some(Global::Opaque));
        for (module, name) in [
            ("os", "system"),
            ("posix", "system"),
            ("builtins", "eval"),
            ("builtins", "getattr"),
            ("torch", "load"),
            ("torch", "Storage"),
            ("torch", "ComplexFloatStorage"),
            ("torch.storage", "_load_from_bytes"),
            ("torch.nn", "Module"),
            ("", ""),
        ] {
            assert_eq!(Global::find(module, name), None, "{module}.{name}");
        }
    }
}
