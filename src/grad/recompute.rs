//! Which stretches of the forward pass are computed again for the backward pass.

use crate::ir::NodeId;
use crate::opt::Optimised;

/// Stretches of `forward`.
pub(super) fn segments(_graph: &Optimised, _forward: &[NodeId]) -> Vec<std::ops::Range<usize>> {
    Vec::new()
}
