//! A net whose first layers are frozen, in two parts: what these give is the same in every epoch.

use std::collections::HashSet;

use super::form;
use crate::ir::{Net, NodeId, Output, ValueId};
use crate::op::{Op, input::Input};
use crate::shape::{self, Shapes};

/// A net in two parts that one value joins.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The path of the layer that gives the value.
    pub at: String,
    /// From the inputs to the value, which is its output.
    pub front: (Net, Shapes),
    /// From the value, which is its input, to the outputs.
    pub back: (Net, Shapes),
}

/// Splits a net at the last value behind which all lies that training changes or draws at random. `None` where there is no
/// layer in front of that, or no single value joins it to the rest.
pub fn split(net: &Net, shapes: &Shapes, trained: &dyn Fn(&str) -> bool) -> Option<Parts> {
    let value = joint(net, shapes, trained)?;
    let at = net.node(value.node).path.clone();
    let span = net.outputs.first()?.span;
    let mut front = net.clone();
    front.outputs = vec![Output { name: "activations".to_owned(), value, train: None, span }];
    let mut back = net.clone();
    let input = Op::Input(Input { shape: shapes.of(value).clone() });
    let input = back.append(form::plain(input, "activations".to_owned(), net.node(value.node).origin.clone()), &[]);
    back.replace_uses(value, input.into());
    let [front, back] = [front, back].map(|net| {
        let net = pruned(net);
        let shapes = shape::infer(&net).unwrap_or_else(|_| unreachable!("sizes are as before"));
        (net, shapes)
    });
    let mut back = back;
    back.0.inputs = vec![input];
    Some(Parts { at, front, back })
}

/// The value that joins both parts.
fn joint(net: &Net, shapes: &Shapes, trained: &dyn Fn(&str) -> bool) -> Option<ValueId> {
    let order = net.topological();
    let mut changes = vec![false; net.bound()];
    for &id in &order {
        let own = form::changes(net, shapes, id, trained);
        changes[id.index()] = own || net.operands(id).iter().any(|operand| changes[operand.node.index()]);
    }
    let place = |order: &[NodeId]| {
        let mut place = vec![0; net.bound()];
        order.iter().enumerate().for_each(|(at, id)| place[id.index()] = at);
        place
    };
    // What does not change comes first: it takes nothing that does.
    let (still, rest): (Vec<NodeId>, Vec<NodeId>) = order.iter().partition(|id| !changes[id.index()]);
    let place = place(&[still.clone(), rest].concat());
    let shown = net.shown();
    let last_use = |value: ValueId| {
        let users = net.users(value.node).into_iter().filter(|&(output, ..)| output == value.output);
        let last = users.map(|(_, user, _)| place[user.index()]).max();
        if shown.contains(&value) { Some(usize::MAX) } else { last }
    };
    let (mut alive, mut found) = (HashSet::new(), None);
    for (at, &id) in still.iter().enumerate() {
        alive.retain(|&(_, last)| at < last);
        let results = (0u32..).take(shapes.results(id).len()).map(|output| ValueId { node: id, output });
        alive.extend(results.filter_map(|value| Some((value, last_use(value)?))));
        if let (1, Some(&(value, _))) = (alive.len(), alive.iter().next())
            && !matches!(net.node(value.node).op, Op::Input(_))
        {
            found = Some(value);
        }
    }
    found
}

/// Without what no output needs, and without what is said of the net as a whole.
fn pruned(mut net: Net) -> Net {
    for id in net.unneeded() {
        net.remove(id, None);
    }
    net.budgets.clear();
    net.conditions.clear();
    net
}
