//! A graph as stable text, one node a line, for snapshots and bug reports.

use std::fmt::Write;

use super::{Net, ValueId};
use crate::op::Op;

/// `path: layer(arguments) <- operands`, in topological order, then the outputs.
pub fn text(net: &Net) -> String {
    let mut text = format!("net {}\n", net.name);
    for id in net.topological() {
        let node = net.node(id);
        let operands: Vec<String> = net.operands(id).into_iter().map(|value| value_name(net, value)).collect();
        let from = if operands.is_empty() { String::new() } else { format!(" <- {}", operands.join(", ")) };
        let _ = writeln!(text, "  {}: {}{from}", node.path, op_text(&node.op));
    }
    for output in &net.outputs {
        let train = output.train.map_or(String::new(), |weight| format!(" train {weight}"));
        let _ = writeln!(text, "  output {} = {}{train}", output.name, value_name(net, output.value));
    }
    text
}

/// A value by its node's path, with the slot where the node has several: `split1#2`.
pub fn value_name(net: &Net, value: ValueId) -> String {
    let path = &net.node(value.node).path;
    if value.output == 0 { path.clone() } else { format!("{path}#{}", value.output) }
}

/// An operator with all its arguments, as it can be written.
pub fn op_text(op: &Op) -> String {
    let (layer, args) = op.describe();
    if args.is_empty() {
        return layer.to_owned();
    }
    let args: Vec<String> = args.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    format!("{layer}({})", args.join(", "))
}
