//! Drops what no output needs: heads that exist in training only, and values that nobody uses. Inputs stay, so that a
//! caller can pass what the net declares.

use super::Optimised;
use crate::op::Op;

pub(super) fn prune(optimised: &mut Optimised) {
    for id in optimised.net.unneeded() {
        let node = optimised.net.node(id);
        if matches!(node.op, Op::Input(_)) {
            continue;
        }
        let path = node.path.clone();
        optimised.net.remove(id, None);
        optimised.params.remove(&id);
        optimised.note("prune", &path, true, "no output needs it".to_owned());
    }
}
