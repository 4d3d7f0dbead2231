//! Drops what no output needs: heads that exist in training only, and values that nobody uses. Inputs stay, so that a
//! caller can pass what the net declares.

use super::Optimised;
use crate::op::Op;

pub(super) fn prune(optimised: &mut Optimised) {
    let needed = optimised.net.needed_by(optimised.net.outputs.iter().map(|output| output.value));
    let order = optimised.net.topological();
    for id in order.into_iter().rev() {
        if needed[id.index()] || matches!(optimised.net.node(id).op, Op::Input(_)) {
            continue;
        }
        let path = optimised.net.node(id).path.clone();
        optimised.net.remove(id, None);
        optimised.params.remove(&id);
        optimised.note("prune", &path, true, "no output needs it".to_owned());
    }
}
