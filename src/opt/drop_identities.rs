//! Drops what does nothing in inference: identity, dropout, and a padded shortcut that neither steps nor pads.

use std::collections::HashMap;

use super::Optimised;
use crate::op::Op;

pub(super) fn drop_identities(optimised: &mut Optimised) {
    let mut replaced = HashMap::new();
    for id in optimised.net.topological() {
        let Some(&operand) = optimised.net.operands(id).first() else { continue };
        let does_nothing = match &optimised.net.node(id).op {
            Op::Identity(_) | Op::Dropout(_) => true,
            Op::PadShortcut(shortcut) => {
                shortcut.stride == [1, 1] && optimised.shapes.of(operand) == optimised.shapes.of(id.into())
            }
            _ => false,
        };
        if !does_nothing {
            continue;
        }
        let path = optimised.net.node(id).path.clone();
        optimised.net.replace_operands(id.into(), operand);
        replaced.insert(id.into(), operand);
        optimised.net.remove(id, Some(operand.node));
        optimised.params.remove(&id);
        optimised.note("drop_identities", &path, true, "its value is its operand's".to_owned());
    }
    optimised.net.replace_outputs(&replaced);
}
