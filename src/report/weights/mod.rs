//! Checkpoints on paper: what is in one, and how two differ.

pub mod diff;
pub mod list;

use serde_json::{Value, json};

use crate::weights::StoredTensor;

/// `64x3x7x7`.
fn sizes(tensor: &StoredTensor) -> String {
    if tensor.shape().is_empty() {
        return "scalar".to_owned();
    }
    tensor.shape().iter().map(u64::to_string).collect::<Vec<_>>().join("x")
}

/// Type and shape of a tensor.
fn facts(tensor: &StoredTensor) -> Value {
    json!({ "dtype": tensor.dtype().name(), "shape": tensor.shape() })
}

/// `1 tensor`, `62 tensors`.
fn tensors(count: usize) -> String {
    if count == 1 { "1 tensor".to_owned() } else { format!("{count} tensors") }
}
