//! The parameters of a net, as the bridge from the graph to checkpoints.

use super::{InitSpec, Wanted};
use crate::ir::{Net, NodeId};
use crate::op::{ParamSpec, Role};
use crate::shape::Shapes;

/// One parameter or buffer of a net.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The node that owns it.
    pub node: NodeId,
    /// Its path in the net: the node's path, a dot, the leaf name.
    pub name: String,
    /// What the operator says about it.
    pub spec: ParamSpec,
    /// Whether its node exists only for outputs that exist only in training.
    pub train_only: bool,
}

/// The parameters and buffers of `net` in the order of its nodes, those of one node in the order of its operator.
///
/// Sizes that depend on a height or width without a value are 0, so `shapes` should not be symbolic.
#[must_use]
pub fn parameters(net: &Net, shapes: &Shapes) -> Vec<Parameter> {
    let train_only = net.train_only();
    let of_node = |node: NodeId| {
        let (path, train_only) = (&net.node(node).path, train_only[node.index()]);
        shapes.params(net, node).into_iter().map(move |spec| {
            let name = format!("{path}.{}", spec.leaf);
            Parameter { node, name, spec, train_only }
        })
    };
    net.nodes().flat_map(of_node).collect()
}

impl Parameter {
    /// What a checkpoint has to have for it: everything but counters, and nothing for heads of training.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        Wanted {
            name: self.name.clone(),
            shape: self.spec.shape.clone(),
            required: self.spec.role != Role::Counter,
            train_only: self.train_only,
        }
    }

    /// What [`init`](fn@super::init) has to make for it.
    #[must_use]
    pub fn init_spec(&self) -> InitSpec {
        InitSpec {
            name: self.name.clone(),
            shape: self.spec.shape.clone(),
            fan_in: self.spec.fan_in,
            fan_out: self.spec.fan_out,
            role: self.spec.role,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{BindOptions, Scheme, bind, init};
    use super::*;

    const NET: &str = "net two {
      input x: [3, 8, 8]
      conv1: conv(4, 3, pad = 1, bias = false)
      bn1: bn
      from conv1 {
        avgpool(global)
        flatten
        aux_fc: linear(5)
        output aux: train weight 0.3
      }
      avgpool(global)
      flatten
      fc: linear(2)
      output logits
    }";

    #[test]
    fn a_net_binds_what_is_made_for_it() {
        let compiled = crate::compile_text("two.net", NET).unwrap();
        let params = parameters(&compiled.net, &compiled.shapes);
        let names: Vec<&str> = params.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names[0], "conv1.weight");
        assert_eq!(names.len(), 1 + 5 + 2 + 2);
        let heads: Vec<&str> = params.iter().filter(|p| p.train_only).map(|p| p.name.as_str()).collect();
        assert_eq!(heads, ["aux_fc.weight", "aux_fc.bias"]);

        let specs: Vec<InitSpec> = params.iter().map(Parameter::init_spec).collect();
        let made = init(&specs, Scheme::He, 1).unwrap();
        let wanted: Vec<Wanted> = params.iter().map(Parameter::wanted).collect();
        let bound = bind(&made, &wanted, &BindOptions::default()).unwrap();
        assert!(bound.tensors.iter().all(Option::is_some));
        let optional: Vec<&str> = wanted.iter().filter(|w| !w.required).map(|w| w.name.as_str()).collect();
        assert_eq!(optional, ["bn1.num_batches_tracked"]);
        let largest = made.get("conv1.weight").unwrap().to_f32().iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let bound = (6.0f32 / 27.0).sqrt();
        assert!(0.9 * bound < largest && largest <= bound, "{largest} of {bound}");
    }
}
