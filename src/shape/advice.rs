//! What fits but is hardly meant. Each piece of advice has a name by which `#[allow(name)]` silences it.

use std::collections::HashSet;

use crate::diag::{Code, Diagnostic, Sink, codes};
use crate::dim::Dim;
use crate::ir::{Net, Node, NodeId};
use crate::op::Op;
use crate::op::geom::{AXES, Padding, Windows};
use crate::op::pool::Extent;
use crate::shape::Shapes;

/// Adds all advice on a net whose shapes are known to be right.
pub fn advise(net: &Net, shapes: &Shapes, sink: &mut Sink) {
    let outputs: HashSet<NodeId> = net.shown().into_iter().map(|value| value.node).collect();
    for id in net.nodes() {
        bias_before_norm(net, shapes, id, &outputs, sink);
        unlabelled_weights(net, shapes, id, sink);
        all_padding_window(net, shapes, id, sink);
        unused_output(net, id, &outputs, sink);
        lost_border(net, shapes, id, sink);
    }
}

fn push(sink: &mut Sink, node: &Node, code: Code, advice: impl FnOnce() -> Diagnostic) {
    let name = code.row().map_or("", |row| row.name);
    if node.origin.allows.iter().any(|allowed| allowed == name) || sink.has(code, node.origin.span) {
        return;
    }
    let mut diagnostic = advice();
    let mut call = node.origin.call.clone();
    while let Some(site) = call {
        diagnostic = diagnostic.also(site.span, site.words());
        call = site.caller.clone();
    }
    sink.push(diagnostic);
}

fn bias_before_norm(net: &Net, shapes: &Shapes, id: NodeId, outputs: &HashSet<NodeId>, sink: &mut Sink) {
    let node = net.node(id);
    let biased = match &node.op {
        Op::Conv(conv) => conv.bias,
        Op::Linear(linear) => linear.bias,
        Op::ConvTranspose(conv) => conv.bias,
        Op::TableConv(conv) => conv.bias,
        _ => false,
    };
    if !biased {
        return;
    }
    let users = net.users(id);
    let [(_, norm, _)] = users.as_slice() else { return };
    if !matches!(&net.node(*norm).op, Op::BatchNorm(_)) || outputs.contains(&id) {
        return;
    }
    let (layer, span) = (node.op.describe().0, node.origin.span);
    push(sink, node, codes::W0501, || {
        let channels = shapes.results(id)[0].0[0].clone();
        Diagnostic::new(codes::W0501, span, format!("the bias of `{layer}` does nothing in front of batch norm"))
            .label(format!("its {channels} biases are subtracted again"))
            .also(net.node(*norm).origin.span, "by the mean taken here")
            .help("write `bias = false`")
    });
}

fn unlabelled_weights(net: &Net, shapes: &Shapes, id: NodeId, sink: &mut Sink) {
    let node = net.node(id);
    if node.labelled || shapes.params(net, id).is_empty() {
        return;
    }
    let label = node.path.rsplit('.').next().unwrap_or(&node.path).to_owned();
    push(sink, node, codes::W0502, || {
        let title = format!("`{}` has weights and no label", node.op.describe().0);
        let diagnostic = Diagnostic::new(codes::W0502, node.origin.span, title)
            .label(format!("its parameters are named `{}`, by its place", node.path));
        if node.origin.call.is_none() {
            diagnostic.fix("label it", node.origin.span.before(), format!("{label}: "))
        } else {
            diagnostic.help(format!("label it, for example `{label}: …`"))
        }
    });
}

fn windows(op: &Op) -> Option<&Windows> {
    match op {
        Op::Conv(conv) => Some(&conv.windows),
        Op::TableConv(conv) => Some(&conv.windows),
        Op::Pool(pool) => match &pool.extent {
            Extent::Windows(windows) => Some(windows),
            Extent::Global | Extent::Adaptive(_) => None,
        },
        _ => None,
    }
}

fn all_padding_window(net: &Net, shapes: &Shapes, id: NodeId, sink: &mut Sink) {
    let node = net.node(id);
    let Some(windows) = windows(&node.op) else { return };
    let input = &shapes.operands(net, id)[0];
    let Some((_, h, w)) = input.chw() else { return };
    let Some(axis) = windows.all_padding([h, w]) else { return };
    push(sink, node, codes::W0503, || {
        let title = format!("some windows of `{}` see nothing but padding", node.op.describe().0);
        Diagnostic::new(codes::W0503, node.origin.span, title)
            .label(format!("on the {axis} of its input, {input}"))
            .help("use less padding or a smaller stride")
    });
}

fn unused_output(net: &Net, id: NodeId, outputs: &HashSet<NodeId>, sink: &mut Sink) {
    let node = net.node(id);
    let used = outputs.contains(&id) || !net.users(id).is_empty();
    if used {
        return;
    }
    push(sink, node, codes::W0504, || {
        let layer = node.op.describe().0;
        let title = format!("nobody uses the value of `{}`", if layer == "input" { &node.path } else { layer });
        Diagnostic::new(codes::W0504, node.origin.span, title)
            .label("computed for nothing")
            .help("name it with `output NAME`, use it by its label, or delete the line")
    });
}

fn lost_border(net: &Net, shapes: &Shapes, id: NodeId, sink: &mut Sink) {
    let node = net.node(id);
    let Op::Pool(pool) = &node.op else { return };
    let Extent::Windows(windows) = &pool.extent else { return };
    let input = &shapes.operands(net, id)[0];
    let Some((_, h, w)) = input.chw() else { return };
    let Some((axis, cells)) = lost_cells(windows, [h, w]) else { return };
    push(sink, node, codes::W0505, || {
        let title = format!("`{}` leaves out a border of its input", node.op.describe().0);
        Diagnostic::new(codes::W0505, node.origin.span, title)
            .label(format!("the last {cells} of the {axis} of {input} fall in no window"))
            .help("write `ceil = true` to count the last partial window, or pad the input")
    });
}

/// The axis on which floor rounding leaves cells of the input in no window, and how many.
fn lost_cells(windows: &Windows, sizes: [&Dim; 2]) -> Option<(&'static str, u64)> {
    let Padding::Sides(sides) = windows.padding else { return None };
    if windows.ceil {
        return None;
    }
    (0..2).find_map(|axis| {
        let (before, after) = (sides[axis], sides[axis + 2]);
        let room = (sizes[axis].as_u64()? + before + after).checked_sub(windows.extent(axis))?;
        let cells = (room % windows.stride[axis]).checked_sub(after)?;
        (cells != 0).then_some((AXES[axis], cells))
    })
}
