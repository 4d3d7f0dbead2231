//! The counts of a layer, a group of layers or a net.

use super::{Convention, CostError};
use crate::dim::{self, Dim, DimError};
use crate::ir::{Net, NodeId};
use crate::op::{Op, Role};
use crate::shape::Shapes;

/// Bytes of an element; everything is computed in `f32`.
pub const BYTES: u64 = 4;

/// What something costs. Operations, activations and bytes moved are those of the whole batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Numbers that training changes by their gradient.
    pub params: u64,
    /// Running statistics, and one for each counter of batches.
    pub buffers: u64,
    /// Multiply-accumulates of convolutions and linear layers.
    pub macs: Dim,
    /// Two for each multiply-accumulate, and everything else.
    pub flops: Dim,
    /// What fvcore counts.
    pub fvcore: Dim,
    /// Elements written by convolutions and linear layers.
    pub activations: Dim,
    /// Bytes of all results, of every operator.
    pub activation_bytes: Dim,
    /// Bytes of parameters and running statistics; the counter of batches is left out.
    pub weight_bytes: u64,
    /// Bytes read and written: operands, results and weights once each; nothing where a value is only renamed.
    pub moved_bytes: Dim,
}

impl Counts {
    /// Nothing.
    pub const ZERO: Counts = Counts {
        params: 0,
        buffers: 0,
        macs: Dim::ZERO,
        flops: Dim::ZERO,
        fvcore: Dim::ZERO,
        activations: Dim::ZERO,
        activation_bytes: Dim::ZERO,
        weight_bytes: 0,
        moved_bytes: Dim::ZERO,
    };

    /// The counts of one node.
    pub(super) fn of(net: &Net, shapes: &Shapes, id: NodeId, batch: u64) -> Result<Counts, CostError> {
        let node = net.node(id);
        let failed = |source| CostError::Layer { path: node.path.clone(), span: node.origin.span, source };
        Counts::try_of(net, shapes, id, batch).map_err(failed)
    }

    fn try_of(net: &Net, shapes: &Shapes, id: NodeId, batch: u64) -> Result<Counts, DimError> {
        let op = &net.node(id).op;
        let (operands, results) = (shapes.operands(net, id), shapes.results(id));
        let (params, buffers, weight_bytes) = weights(op, &operands)?;
        let batch = Dim::from(batch);
        let cost = op.cost(&operands, results)?;
        let elements = |shapes: &[crate::tensor::Shape]| {
            shapes.iter().try_fold(Dim::ZERO, |sum, shape| sum.add(&shape.elements()?))?.mul(&batch)
        };
        let (read, written) = (elements(&operands)?, elements(results)?);
        let bytes = Dim::from(BYTES);
        let moved_bytes =
            if is_view(op) { Dim::ZERO } else { read.add(&written)?.mul(&bytes)?.add(&Dim::from(weight_bytes))? };
        Ok(Counts {
            params,
            buffers,
            activations: if cost.macs == Dim::ZERO { Dim::ZERO } else { written.clone() },
            macs: cost.macs.mul(&batch)?,
            flops: cost.flops.mul(&batch)?,
            fvcore: cost.fvcore.mul(&batch)?,
            activation_bytes: written.mul(&bytes)?,
            weight_bytes,
            moved_bytes,
        })
    }

    /// The figure that a convention calls the operations.
    pub fn ops(&self, convention: Convention) -> &Dim {
        match convention {
            Convention::Torchvision => &self.macs,
            Convention::Fvcore => &self.fvcore,
            Convention::Flops => &self.flops,
        }
    }

    /// Floating-point operations for each byte moved; `None` where nothing is moved or a count is symbolic.
    pub fn intensity(&self) -> Option<f64> {
        let (flops, bytes) = (self.flops.as_u64()?, self.moved_bytes.as_u64()?);
        (bytes != 0).then(|| flops as f64 / bytes as f64)
    }

    /// The sum of all.
    ///
    /// # Errors
    /// When a count overflows.
    pub fn sum<'a>(all: impl IntoIterator<Item = &'a Counts>) -> Result<Counts, DimError> {
        let all: Vec<&Counts> = all.into_iter().collect();
        let number = |of: fn(&Counts) -> u64| {
            all.iter().try_fold(0u64, |sum, counts| sum.checked_add(of(counts))).ok_or(DimError::Overflow)
        };
        let size = |of: fn(&Counts) -> &Dim| dim::sum(all.iter().map(|counts| of(counts)));
        Ok(Counts {
            params: number(|counts| counts.params)?,
            buffers: number(|counts| counts.buffers)?,
            macs: size(|counts| &counts.macs)?,
            flops: size(|counts| &counts.flops)?,
            fvcore: size(|counts| &counts.fvcore)?,
            activations: size(|counts| &counts.activations)?,
            activation_bytes: size(|counts| &counts.activation_bytes)?,
            weight_bytes: number(|counts| counts.weight_bytes)?,
            moved_bytes: size(|counts| &counts.moved_bytes)?,
        })
    }

    /// The first count that is a number and does not fit 64 bits.
    pub(super) fn too_large(&self) -> Option<&'static str> {
        let sizes = [
            (&self.macs, "multiply-accumulates"),
            (&self.flops, "floating-point operations"),
            (&self.fvcore, "operations"),
            (&self.activations, "activations"),
            (&self.activation_bytes, "bytes of activations"),
            (&self.moved_bytes, "bytes moved"),
        ];
        sizes.into_iter().find(|(size, _)| !size.is_symbolic() && size.as_u64().is_none()).map(|(_, what)| what)
    }
}

/// Parameters, buffers and weight bytes.
fn weights(op: &Op, operands: &[crate::tensor::Shape]) -> Result<(u64, u64, u64), DimError> {
    let (mut params, mut buffers, mut floats) = (0u64, 0u64, 0u64);
    for spec in op.params(operands) {
        let elements = spec.elements().ok_or(DimError::Overflow)?;
        let sum = if spec.role.trainable() { &mut params } else { &mut buffers };
        *sum = sum.checked_add(elements).ok_or(DimError::Overflow)?;
        if spec.role != Role::Counter {
            floats = floats.checked_add(elements).ok_or(DimError::Overflow)?;
        }
    }
    Ok((params, buffers, floats.checked_mul(BYTES).ok_or(DimError::Overflow)?))
}

/// Whether the result is the operand's memory under another name or shape.
pub(crate) fn is_view(op: &Op) -> bool {
    matches!(op, Op::Identity(_) | Op::Dropout(_) | Op::Flatten(_) | Op::Reshape(_))
}
