//! Paths of layers, from the names that a model has for tensors and nodes.
//!
//! The names of tensors come first (`layer1.0.conv1.weight`, `conv1/7x7_s2_w_0`), then those of nodes
//! (`/layer1/layer1.0/conv1/Conv`); numbers that an exporter has given are no names. What is left is a dotted path of words.

use std::collections::{HashMap, HashSet};

use crate::ir::NodeId;
use crate::op::Op;
use crate::syntax::KEYWORDS;

use super::lower::Lowered;

/// Scopes inside one another; what a name has more of is one part.
const MOST_PARTS: usize = 32;

/// What stands behind the name of a layer in the names of its tensors.
const LEAVES: &[&str] = &[
    "weight",
    "weights",
    "bias",
    "biases",
    "w",
    "b",
    "W",
    "B",
    "s",
    "kernel",
    "scale",
    "shift",
    "gamma",
    "beta",
    "mean",
    "var",
    "variance",
    "moving_mean",
    "moving_variance",
    "running_mean",
    "running_var",
    "rm",
    "riv",
    "R",
];

/// Gives every node its final path, and inputs and outputs their names.
pub fn name(made: &mut Lowered) {
    let mut found: Vec<(NodeId, Vec<String>)> = Vec::new();
    for id in made.net.nodes() {
        if !matches!(made.net.node(id).op, Op::Input(_)) {
            found.push((id, parts(made, id)));
        }
    }
    strip_common(&mut found, made);
    let mut taken = Taken::default();
    name_ends(made, &mut taken);
    // A layer that is named as a scope of others stands in that scope.
    let scopes: HashSet<String> =
        found.iter().flat_map(|(_, parts)| (1..parts.len()).map(|end| parts[..end].join("."))).collect();
    let mut counts: HashMap<&'static str, usize> = HashMap::new();
    for (id, mut parts) in found {
        let layer = made.net.node(id).op.describe().0;
        made.net.set_labelled(id, !parts.is_empty());
        if scopes.contains(&parts.join(".")) {
            parts.push(layer.to_owned());
        }
        let path = if parts.is_empty() {
            let count = counts.entry(layer).or_default();
            loop {
                *count += 1;
                let path = format!("{layer}{count}");
                if !scopes.contains(&path) && taken.names.insert(path.clone()) {
                    break path;
                }
            }
        } else {
            taken.take(&parts.join("."))
        };
        made.net.set_path(id, path);
    }
}

/// Gives every node the path that netc has written as its name; layers of several nodes are named by what stands in front
/// of the slash.
pub fn name_as_written(made: &mut Lowered) {
    let mut taken = Taken::default();
    name_ends(made, &mut taken);
    for id in made.net.nodes().collect::<Vec<_>>() {
        if matches!(made.net.node(id).op, Op::Input(_)) {
            continue;
        }
        let layer = made.net.node(id).op.describe().0;
        let written = made.origins.get(&id).map(|name| name.to_string()).unwrap_or_default();
        let path = written.split('/').next().unwrap_or_default();
        // Another program may have given other names since.
        let is_path = path.split('.').all(|part| !part.is_empty())
            && path.chars().all(|c| c == ' ' || c.is_ascii_graphic() && !"\"\\".contains(c));
        let path = taken.take(&if is_path { path.to_owned() } else { word(path, layer) });
        // A layer without a label is named by its kind and a number.
        let last = path.rsplit('.').next().unwrap_or_default();
        let is_counted = last.strip_prefix(layer).is_some_and(is_number);
        made.net.set_labelled(id, !is_counted);
        made.net.set_path(id, path);
    }
}

/// Names that are taken, each of which is given out once.
#[derive(Debug, Default)]
pub(super) struct Taken {
    names: HashSet<String>,
    /// How often each name has been asked for.
    asked: HashMap<String, u64>,
}

impl Taken {
    /// The first of `name`, `name_2`, `name_3`, … that is not taken; now it is.
    pub(super) fn take(&mut self, name: &str) -> String {
        let asked = self.asked.entry(name.to_owned()).or_default();
        loop {
            *asked += 1;
            let numbered = if *asked == 1 { name.to_owned() } else { format!("{name}_{asked}") };
            if self.names.insert(numbered.clone()) {
                return numbered;
            }
        }
    }
}

/// Names of inputs and outputs as words, different from each other.
fn name_ends(made: &mut Lowered, taken: &mut Taken) {
    for id in made.net.inputs.clone() {
        let own = made.origins.get(&id).map(|name| name.to_string()).unwrap_or_default();
        let name = taken.take(&word(strip_number(own.rsplit('/').next().unwrap_or("")), "input"));
        rename(made, &own, &name);
        made.net.set_path(id, name);
    }
    let mut names = Taken::default();
    let outputs: Vec<String> = made.net.outputs.iter().map(|output| output.name.clone()).collect();
    for (at, own) in outputs.iter().enumerate() {
        let name = names.take(&word(strip_number(own.rsplit('/').next().unwrap_or("")), "output"));
        made.net.outputs[at].name = name.clone();
        rename(made, own, &name);
    }
    let name = word(&made.net.name.clone(), "graph");
    made.net.name = name;
}

/// Lets what is known of the axes of an input or output be known under its new name.
fn rename(made: &mut Lowered, old: &str, new: &str) {
    made.turned.iter_mut().filter(|turned| turned.name == old).for_each(|turned| new.clone_into(&mut turned.name));
}

/// `data_0`, `prob_1` and `logits:0` without the number that tells versions of a tensor apart.
fn strip_number(name: &str) -> &str {
    ["_0", "_1", ":0"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// A name as a word of the language: letters, digits and `_`, no digit in front, no keyword.
pub(super) fn word(name: &str, kind: &str) -> String {
    let mut clean: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    while clean.contains("__") {
        clean = clean.replace("__", "_");
    }
    let clean = match clean.trim_matches('_') {
        "" => kind,
        clean => clean,
    };
    if is_kernel(clean) {
        format!("conv_{clean}")
    } else if clean.starts_with(|c: char| c.is_ascii_digit()) {
        format!("{kind}_{clean}")
    } else if KEYWORDS.contains(&clean) {
        format!("{clean}_")
    } else {
        clean.to_owned()
    }
}

/// Whether a name begins with the sizes of a kernel: `7x7_s2`.
fn is_kernel(name: &str) -> bool {
    let rest = name.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.len() < name.len() && rest.strip_prefix('x').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The parts of a layer's path; empty where the model has no name for it.
fn parts(made: &Lowered, id: NodeId) -> Vec<String> {
    let layer = made.net.node(id).op.describe().0;
    let params = made.params.get(&id).map(Vec::as_slice).unwrap_or_default();
    let of_tensors = params.iter().map(|param| of_tensor(&param.value.name)).find(|parts| !parts.is_empty());
    let raw = of_tensors.unwrap_or_else(|| made.origins.get(&id).map(|name| of_node(name)).unwrap_or_default());
    let clean = |part: &String| if part.chars().all(|c| c.is_ascii_digit()) { part.clone() } else { word(part, layer) };
    let mut parts: Vec<String> = raw.iter().filter(|part| !part.is_empty()).map(clean).collect();
    if MOST_PARTS < parts.len() {
        let rest = parts.split_off(MOST_PARTS - 1).join("_");
        parts.push(rest);
    }
    parts
}

/// What exporters put behind the name of a tensor that they have changed.
const CHANGED: &[&str] =
    &["_deepcopy", "_weights_fused_bn", "_bias_fused_bn", "_quantized", "_dequantized", "_DequantizeLinear"];
/// What TensorFlow puts behind the name of a layer for what it computes.
const STEPS: &[&str] = &["ReadVariableOp", "BiasAdd", "Conv2D", "MatMul", "depthwise", "FusedBatchNormV3"];

/// `layer1.0.conv1` of `layer1.0.conv1.weight`, `conv1`, `7x7_s2` of `conv1/7x7_s2_w_0`.
fn of_tensor(name: &str) -> Vec<String> {
    if name.starts_with("onnx::") || name.starts_with("val_") || name.starts_with("const") || is_number(name) {
        return Vec::new();
    }
    let name = name.split_once(':').map_or(name, |(name, _)| name);
    let end = CHANGED.iter().filter_map(|suffix| name.rfind(suffix)).min().filter(|&end| 0 < end);
    let name = &name[..end.unwrap_or(name.len())];
    if end.is_some() && plain(name).is_empty() {
        return Vec::new();
    }
    let mut parts: Vec<String> = split(name);
    while 1 < parts.len() && parts.last().is_some_and(|last| STEPS.contains(&last.as_str())) {
        parts.pop();
    }
    let Some(last) = parts.pop() else { return parts };
    let mut tokens: Vec<&str> = if LEAVES.contains(&last.as_str()) { vec![&last] } else { last.split('_').collect() };
    let is_leaf = |token: &str| LEAVES.contains(&token);
    if let [.., leaf, number] = tokens.as_slice()
        && is_leaf(leaf)
        && is_number(number)
    {
        tokens.pop();
    }
    if tokens.last().is_some_and(|token| is_leaf(token)) {
        tokens.pop();
    }
    if !tokens.is_empty() {
        parts.push(tokens.join("_"));
    }
    if let [only] = parts.as_slice()
        && is_number(only)
    {
        return Vec::new();
    }
    parts
}

/// `layer1.0.conv1` of `/layer1/layer1.0/conv1/Conv`; nothing of `Conv_12`, `node_Conv_12` or `n3`.
fn of_node(name: &str) -> Vec<String> {
    let (scopes, _) = match name.strip_prefix('/').and_then(|path| path.rsplit_once('/')) {
        Some(split) => split,
        None => return plain(name),
    };
    let mut parts: Vec<String> = Vec::new();
    for scope in scopes.split('/') {
        // A scope repeats the name of the one around it: `layer1/layer1.0`.
        let around = parts.join(".");
        if !around.is_empty() && scope.strip_prefix(&around).is_some_and(|rest| rest.starts_with('.')) {
            parts = split(scope);
        } else if let Some(last) = parts.last().cloned()
            && let Some(rest) = scope.strip_prefix(&last).and_then(|rest| rest.strip_prefix('.'))
        {
            parts.extend(split(rest));
        } else {
            parts.extend(split(scope));
        }
    }
    parts
}

/// The name of a node that is a name and no number given to an operator.
fn plain(name: &str) -> Vec<String> {
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_' || c == '.');
    let numbered = letters.len() < name.len()
        && (letters.len() <= 1
            || letters.starts_with("node_")
            || letters.starts_with("p2o.")
            || letters.chars().next().is_some_and(char::is_uppercase));
    if numbered || letters.is_empty() { Vec::new() } else { split(name) }
}

fn split(name: &str) -> Vec<String> {
    name.split(['/', '.']).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

/// Takes off what stands in front of all names of layers with tensors.
fn strip_common(found: &mut [(NodeId, Vec<String>)], made: &Lowered) {
    loop {
        let weighted: Vec<&Vec<String>> =
            found.iter().filter(|(id, _)| made.params.contains_key(id)).map(|(_, parts)| parts).collect();
        let Some(first) = weighted.first().and_then(|parts| parts.first()).cloned() else { return };
        if weighted.len() < 2 || weighted.iter().any(|parts| parts.len() < 2 || parts[0] != first) {
            return;
        }
        for (_, parts) in found.iter_mut().filter(|(_, parts)| parts.first() == Some(&first)) {
            parts.remove(0);
        }
    }
}
