//! Which nodes one step computes: a convolution with the batch norm in front of it, the sum it joins and the activation
//! behind it.

use std::collections::{HashMap, HashSet};

use super::Options;
use super::select::{self, Kernel};
use crate::ir::{Net, NodeId, ValueId};
use crate::kernel::product::Range;
use crate::op::Op;
use crate::op::activation::Activation;
use crate::op::gradient::{Differentiated, Gradient};
use crate::opt::Optimised;

/// The nodes of one step.
#[derive(Clone, Debug)]
pub struct Group {
    /// The node that does the work.
    pub node: NodeId,
    /// A batch norm that is applied to the operand on its way, and the range behind it.
    pub prologue: Option<(NodeId, Range)>,
    /// A value that the result is added to.
    pub residual: Option<ValueId>,
    /// A function of the result.
    pub activation: Option<Activation>,
    /// The range of an activation whose gradient is taken on the way; its results are read last.
    pub mask: Option<Range>,
    /// The operands.
    pub reads: Vec<ValueId>,
    /// The results.
    pub results: Vec<ValueId>,
    /// How it is computed.
    pub kernel: Kernel,
    /// Which operand the first result may be written over, where it is not used afterwards.
    pub overwritable: Option<usize>,
}

/// The range of an activation that only bounds its operand.
pub fn range(activation: Activation) -> Option<Range> {
    match activation {
        Activation::Relu => Some(Range { low: 0.0, ..Range::ALL }),
        Activation::Relu6 => Some(Range { low: 0.0, high: 6.0 }),
        Activation::Clip { low, high } => Some(Range { low: low as f32, high: high as f32 }),
        _ => None,
    }
}

/// Sizes of every value, batch first.
pub type Dims = HashMap<ValueId, Vec<usize>>;

/// The steps of a graph in this order, and for each value that only looks at another's memory which that is.
pub fn groups(
    optimised: &Optimised,
    order: &[NodeId],
    dims: &Dims,
    options: &Options,
) -> (Vec<Group>, HashMap<ValueId, ValueId>) {
    let net = &optimised.net;
    let mut place = vec![0; net.bound()];
    order.iter().enumerate().for_each(|(at, id)| place[id.index()] = at);
    let fuser = Fuser { net, dims, place, shown: net.shown() };
    let (mut groups, mut aliases, mut done) = (Vec::new(), HashMap::new(), vec![false; net.bound()]);
    for &id in order {
        let node = net.node(id);
        if done[id.index()] || matches!(node.op, Op::Input(_)) {
            continue;
        }
        let operands = net.operands(id);
        if select::is_view(&node.op, operands.first().map(|value| &*dims[value]), &dims[&id.into()]) {
            aliases.insert(ValueId::from(id), operands[0]);
            continue;
        }
        if fuser.prologue_of(id).is_some() || fuser.masks(id).is_some() {
            continue;
        }
        let group = fuser.group(id, options, optimised.shapes.results(id).len(), &mut done);
        groups.push(group);
    }
    (groups, aliases)
}

struct Fuser<'a> {
    net: &'a Net,
    dims: &'a Dims,
    place: Vec<usize>,
    shown: HashSet<ValueId>,
}

impl Fuser<'_> {
    /// The only user of a value that nothing else looks at.
    fn only_user(&self, value: ValueId) -> Option<NodeId> {
        if self.shown.contains(&value) {
            return None;
        }
        let users = self.net.users(value.node);
        let mut users = users.iter().filter(|&&(output, ..)| output == value.output);
        match (users.next(), users.next()) {
            (Some(&(_, user, _)), None) => Some(user),
            _ => None,
        }
    }

    /// The convolution that applies this batch norm, or the activation behind it, to its own operand.
    fn prologue_of(&self, id: NodeId) -> Option<NodeId> {
        let user = self.only_user(id.into())?;
        let conv = match &self.net.node(id).op {
            Op::BatchNorm(_) => match &self.net.node(user).op {
                Op::Activation(activation) if range(*activation).is_some() => self.only_user(user.into())?,
                _ => user,
            },
            Op::Activation(activation) if range(*activation).is_some() => {
                let front = self.net.operands(id)[0].node;
                let is_norm = matches!(self.net.node(front).op, Op::BatchNorm(_));
                (is_norm && self.only_user(front.into()) == Some(id)).then_some(user)?
            }
            _ => return None,
        };
        match &self.net.node(conv).op {
            Op::Conv(op) if select::is_pointwise(op, &self.dims[&self.net.operands(conv)[0]]) => Some(conv),
            _ => None,
        }
    }

    fn group(&self, id: NodeId, options: &Options, results: usize, done: &mut [bool]) -> Group {
        let net = self.net;
        let op = &net.node(id).op;
        let mut reads = net.operands(id);
        let mut prologue = None;
        if let (Op::Conv(_), Some(&operand)) = (op, reads.first())
            && self.prologue_of(operand.node) == Some(id)
        {
            let (norm, bounds) = match &net.node(operand.node).op {
                Op::Activation(activation) => (net.operands(operand.node)[0].node, range(*activation)),
                _ => (operand.node, None),
            };
            prologue = Some((norm, bounds.unwrap_or(Range::ALL)));
            reads = net.operands(norm);
        }
        let mask = self.mask_of(id);
        if let (Some((slope, _)), Some(gradient)) = (mask, reads.last_mut()) {
            // The gradient behind the activation.
            *gradient = net.operands(slope)[1];
        }
        let mut results: Vec<ValueId> = (0u32..).take(results).map(|output| ValueId { node: id, output }).collect();
        let kernel = select::kernel(op, &reads, &results, self.dims, prologue.is_some(), options);
        let (mut residual, mut activation) = (None, None);
        let mut tail = id;
        if select::adds_a_value(kernel, op)
            && let Some(user) = self.only_user(tail.into())
            && let Some(other) = self.joins(tail, user, id)
        {
            residual = Some(other);
            reads.push(other);
            done[user.index()] = true;
            tail = user;
        }
        if kernel.ends_with_an_activation()
            && let Some(user) = self.only_user(tail.into())
            && let Op::Activation(function) = &net.node(user).op
        {
            activation = Some(*function);
            done[user.index()] = true;
            tail = user;
        }
        if tail != id {
            results[0] = tail.into();
        }
        let (mask, overwritable) = (mask.map(|(_, range)| range), select::overwritable(kernel, op));
        Group { node: id, prologue, residual, activation, mask, reads, results, kernel, overwritable }
    }

    /// The gradient of a batch norm that takes that of an activation behind it on its way.
    fn masks(&self, id: NodeId) -> Option<NodeId> {
        self.range_of_mask(id)?;
        let user = self.only_user(id.into())?;
        let Op::Gradient(Gradient { of: Differentiated::Normalise(_), .. }) = &self.net.node(user).op else {
            return None;
        };
        // What the activation took is the batch norm's own result, of whose mean this gradient knows.
        let results = self.net.operands(id)[0].node;
        let took = self.net.operands(results).first()?.node;
        let is_own = matches!(self.net.node(results).op, Op::Activation(_)) && took == self.net.operands(user)[1].node;
        is_own.then_some(user)
    }

    /// The range of an activation whose gradient this is, where it has one.
    fn range_of_mask(&self, id: NodeId) -> Option<Range> {
        match &self.net.node(id).op {
            Op::Gradient(Gradient { of: Differentiated::Activation(activation), .. }) => range(*activation),
            _ => None,
        }
    }

    /// For the gradient of a batch norm, that of an activation which it takes on its way, and its range.
    fn mask_of(&self, id: NodeId) -> Option<(NodeId, Range)> {
        let Op::Gradient(Gradient { of: Differentiated::Normalise(_), .. }) = &self.net.node(id).op else {
            return None;
        };
        let slope = self.net.operands(id).last()?.node;
        (self.masks(slope) == Some(id)).then_some(())?;
        Some((slope, self.range_of_mask(slope)?))
    }

    /// The other summand, where `sum` adds the value of `tail` to one that is there before `host` is computed.
    fn joins(&self, tail: NodeId, sum: NodeId, host: NodeId) -> Option<ValueId> {
        if !matches!(self.net.node(sum).op, Op::Add(_)) {
            return None;
        }
        let operands = self.net.operands(sum);
        let [a, b] = operands[..] else { return None };
        let other = if a.node == tail { b } else { a };
        (other.node != tail && self.place[other.node.index()] < self.place[host.index()]).then_some(other)
    }
}
