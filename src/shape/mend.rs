//! Edits of a single layer that does not fit its operand. Each is tried on the shapes before it is offered.

use super::error::Misfit;
use super::fix::padded;
use super::written::Written;
use crate::diag::{Edit, Help};
use crate::dim::Dim;
use crate::op::conv::Conv;
use crate::op::crop::Crop;
use crate::op::group_norm::{GroupNorm, Groups};
use crate::op::pool::{Extent, Pool};
use crate::op::shuffle::ChannelShuffle;
use crate::op::slice::Slice;
use crate::op::split::{Parts, Split};
use crate::op::{self, Op};

impl Misfit<'_> {
    /// Padding with which a window fits that is larger than its input.
    pub(super) fn mend_window(&self) -> Option<Help> {
        let (op, pad) = match self.op {
            Op::Conv(conv) => {
                let (windows, pad) = padded(&conv.windows)?;
                (Op::Conv(Conv { windows, ..conv.clone() }), pad)
            }
            Op::Pool(pool) => {
                let Extent::Windows(windows) = &pool.extent else { return None };
                let (windows, pad) = padded(windows)?;
                (Op::Pool(Pool { extent: Extent::Windows(windows), ..pool.clone() }), pad)
            }
            _ => return None,
        };
        self.fits(&op).then_some(())?;
        if !self.sources.text(self.span).starts_with(self.layer) {
            return None;
        }
        let params = op::signatures().find(|signature| signature.layer == self.layer)?.params;
        let params: Vec<&str> = params.iter().map(|param| param.name).collect();
        let edit = Written::at(self.sources, self.span)?.set(&params, "pad", &pad);
        Some(Help { text: "pad the input of the window".to_owned(), edits: vec![edit] })
    }

    /// The number of groups nearest to what is wanted with which the channels divide.
    pub(super) fn mend_groups(&self, attr: &str, divisors: &[u64], wanted: u64) -> Option<Help> {
        let mut near = divisors.to_vec();
        near.sort_by_key(|by| by.abs_diff(wanted));
        near.into_iter().find_map(|by| self.grouped(attr, by))
    }

    fn grouped(&self, attr: &str, by: u64) -> Option<Help> {
        let op = match self.op {
            Op::Conv(conv) => Op::Conv(Conv { groups: by, ..conv.clone() }),
            Op::GroupNorm(norm) => Op::GroupNorm(GroupNorm { groups: Groups::Of(by), ..norm.clone() }),
            Op::ChannelShuffle(_) => Op::ChannelShuffle(ChannelShuffle { groups: by }),
            _ => return None,
        };
        self.replaced(&op, attr, by.to_string(), format!("for example {by} groups"))
    }

    /// A range or a rectangle that ends with its input.
    pub(super) fn mend_range(&self, attr: &str) -> Option<Help> {
        let input = self.shape(0);
        match self.op {
            Op::Slice(slice) => {
                let end = input.0.get(slice.axis)?.clone();
                let text = format!("{}..{end}", slice.start);
                let op = Op::Slice(Slice { end, ..slice.clone() });
                (Dim::from(slice.start) != input.0[slice.axis]).then_some(())?;
                self.replaced(&op, attr, text, "end with the input".to_owned())
            }
            Op::Crop(crop) if attr == "to" => {
                let (_, h, w) = input.chw()?;
                let size = [h, w].map(Dim::as_u64);
                let wanted = [crop.size[0].as_u64()?, crop.size[1].as_u64()?];
                let most = [wanted[0].min(size[0]?), wanted[1].min(size[1]?)];
                let op = Op::Crop(Crop { size: most.map(Dim::from), ..crop.clone() });
                let text = if most[0] == most[1] { most[0].to_string() } else { format!("[{}, {}]", most[0], most[1]) };
                self.replaced(&op, attr, text, "crop to what there is".to_owned())
            }
            _ => None,
        }
    }

    /// Sizes of parts that are together the whole axis: the last one is what remains.
    pub(super) fn mend_parts(&self) -> Option<Help> {
        let Op::Split(Split { parts: Parts::Sizes(sizes), axis }) = self.op else { return None };
        let whole = self.shape(0).0.get(*axis)?.as_u64()?;
        let (_, first) = sizes.split_last()?;
        let rest = whole.checked_sub(first.iter().sum()).filter(|&rest| rest != 0)?;
        let sizes: Vec<u64> = first.iter().copied().chain([rest]).collect();
        let texts: Vec<String> = sizes.iter().map(u64::to_string).collect();
        let op = Op::Split(Split { parts: Parts::Sizes(sizes), axis: *axis });
        self.replaced(&op, "parts", format!("[{}]", texts.join(", ")), "let the last part be what remains".to_owned())
    }

    /// The edit that replaces an argument which is written in numbers.
    fn replaced(&self, op: &Op, attr: &str, replacement: String, text: String) -> Option<Help> {
        let &(_, span) = self.args.iter().find(|(name, _)| *name == attr)?;
        let written = self.sources.text(span);
        let is_plain = !written.is_empty() && written.chars().all(|c| c.is_ascii_digit() || "[]., ".contains(c));
        (is_plain && self.fits(op)).then(|| Help { text, edits: vec![Edit { span, replacement }] })
    }

    fn fits(&self, op: &Op) -> bool {
        let inputs: Vec<_> = (0..self.operands.len()).map(|at| self.shape(at).clone()).collect();
        op.infer(&inputs).is_ok()
    }
}
