//! Lets a convolution pad its own input where a layer of zeros stands in front of it.

use std::collections::HashSet;

use super::Optimised;
use crate::ir::{NodeId, ValueId};
use crate::op::Op;
use crate::op::conv::Conv;
use crate::op::geom::{Padding, Windows};
use crate::op::pad::{Fill, Pad};

pub(super) fn fold_pad(optimised: &mut Optimised) {
    let shown = optimised.net.shown();
    for id in optimised.net.topological() {
        let node = optimised.net.node(id);
        let Op::Pad(pad) = &node.op else { continue };
        let path = node.path.clone();
        match foldable(optimised, id, pad, &shown) {
            Ok((user, conv)) => {
                let operand = optimised.net.operands(id)[0];
                let into = optimised.net.node(user).path.clone();
                optimised.net.set_op(user, Op::Conv(conv));
                optimised.net.replace_operands(id.into(), operand);
                optimised.net.remove(id, Some(operand.node));
                optimised.params.remove(&id);
                optimised.note("fold_pad", &path, true, format!("padding of `{into}`"));
            }
            Err(why) => optimised.note("fold_pad", &path, false, why),
        }
    }
}

/// The convolution behind, with the padding of both; or why not.
fn foldable(optimised: &Optimised, id: NodeId, pad: &Pad, shown: &HashSet<ValueId>) -> Result<(NodeId, Conv), String> {
    let net = &optimised.net;
    if pad.fill != Fill::Constant(0.0) {
        return Err("it does not pad with zeros".to_owned());
    }
    if !net.has_one_use(id) || shown.contains(&id.into()) {
        return Err("its value is used elsewhere too".to_owned());
    }
    let Some(&(_, user, _)) = net.users(id).first() else { return Err("nothing uses it".to_owned()) };
    let Op::Conv(conv) = &net.node(user).op else {
        return Err(format!("`{}` behind it is no convolution", net.node(user).path));
    };
    let Padding::Sides(own) = conv.windows.padding else {
        return Err(format!("the padding of `{}` depends on its input", net.node(user).path));
    };
    let mut sides = own;
    for (side, more) in sides.iter_mut().zip(pad.sides) {
        *side = side.checked_add(more).ok_or("the sum of both is too large")?;
    }
    let conv = Conv { windows: Windows { padding: Padding::Sides(sides), ..conv.windows }, ..conv.clone() };
    // With `ceil` a window may begin in what one of them padded.
    let inputs = [optimised.shapes.of(net.operands(id)[0]).clone()];
    match Op::Conv(conv.clone()).infer(&inputs) {
        Ok(results) if results == optimised.shapes.results(user) => Ok((user, conv)),
        _ => Err(format!("`{}` would have another result", net.node(user).path)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::optimise;

    /// The log's line on the padding, with the steps that are left.
    fn folded(body: &str) -> (bool, String, usize) {
        let compiled = crate::compile_text("pad.net", &format!("net padded {{\n{body}\n}}")).unwrap();
        let optimised = optimise(&compiled.net, &compiled.shapes);
        let entry = optimised.log.iter().find(|entry| entry.rewrite == "fold_pad").unwrap();
        (entry.applied, entry.outcome.clone(), optimised.net.topological().len())
    }

    #[test]
    fn zeros_in_front_of_a_convolution_become_its_padding() {
        let input = "input x: [3, 9, 8]\np: pad([1, 2, 0, 3])";
        let (applied, outcome, left) = folded(&format!("{input}\nc: conv(4, 3, pad = [0, 1, 1, 0])\noutput y"));
        assert!(applied && outcome.contains("`c`") && left == 2, "{outcome}");
        for (body, why) in [
            ("input x: [3, 9, 8]\np: pad(1, mode = reflect)\nc: conv(4, 3)\noutput y", "zeros"),
            ("input x: [3, 9, 8]\np: pad(1, value = 2.0)\nc: conv(4, 3)\noutput y", "zeros"),
            (&format!("{input}\nc: conv(4, 3)\noutput y\noutput z = p"), "elsewhere"),
            (&format!("{input}\nmaxpool(2)\noutput y"), "no convolution"),
            (&format!("{input}\nc: conv(4, 3, stride = 2, pad = same_upper)\noutput y"), "depends"),
        ] {
            let (applied, outcome, left) = folded(body);
            assert!(!applied && outcome.contains(why) && left == 3, "{body}: {outcome}");
        }
    }
}
