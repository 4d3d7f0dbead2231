//! Classes of scopes that are alike but for their arguments.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::body::Plan;
use super::draft::{Draft, Drafter, Made, Piece, Slot};
use super::names::{self, Names};
use super::tree::Tree;
use crate::ir::{CallSite, Net};
use crate::op::pytorch::Py;
use crate::outline::columns::{Argument, parameters};
use crate::shape::Shapes;

/// The classes of a net, each behind those that it is made of; the last is the net.
#[derive(Debug, Default)]
pub struct Classes {
    /// The classes.
    pub list: Vec<Class>,
}

/// A class.
#[derive(Debug)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// The code of one of its scopes.
    pub draft: Draft,
    /// The names of its arguments.
    pub params: Vec<String>,
    /// The attributes under which it keeps those that it computes with.
    pub attributes: Vec<String>,
    /// How many of them are passed by place.
    pub by_place: usize,
    /// For each slot of the code what stands in it.
    pub fill: Vec<Fill>,
    /// For each slot whether it may be left out.
    pub omitted: Vec<bool>,
    /// The block of the language, where it is one.
    pub block: Option<String>,
    /// The paths of its scopes.
    pub scopes: Vec<usize>,
}

/// What stands in a slot.
#[derive(Clone, Debug, PartialEq)]
pub enum Fill {
    /// A value.
    Value(Py),
    /// An argument of the class, times a number.
    Param(usize, u64),
}

/// What PyTorch calls the number of channels of a normalisation.
const PER_CHANNEL: [&str; 3] = ["num_features", "num_channels", "normalized_shape"];
/// The most arguments of a class, and arguments in it that differ.
const MOST_PARAMS: usize = 64;
const MOST_DIFFERING: usize = 1024;

/// A scope with its code.
struct Drafted {
    draft: Draft,
    call: Option<Arc<CallSite>>,
}

/// Makes classes of all scopes that are called, inner ones first.
pub fn classes(net: &Net, shapes: &Shapes, tree: &Tree, plan: &Plan) -> Classes {
    let mut classes = Classes::default();
    let mut made: HashMap<usize, Made> = HashMap::new();
    let calls = Calls::of(net, tree);
    let mut taken = plan.names();
    let net_name = names::net_class(&net.name);
    taken.take(&net_name);
    let mut levels: Vec<Vec<usize>> = Vec::new();
    let mut scopes: Vec<usize> = plan.bodies.keys().copied().filter(|&scope| scope != 0).collect();
    scopes.sort_unstable();
    for scope in scopes {
        let height = plan.bodies[&scope].height;
        levels.resize_with(levels.len().max(height + 1), Vec::new);
        levels[height].push(scope);
    }
    for level in levels {
        let mut groups: Vec<Vec<Drafted>> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for scope in level {
            let draft = Drafter { net, shapes, tree, plan, made: &made }.draft(scope);
            let call = calls.of_scope(net, tree, scope);
            let block = call.as_ref().map_or("", |call| call.block.as_str());
            let at = *places.entry(format!("{block}\n{}", skeleton(&draft))).or_insert(groups.len());
            groups.resize_with(groups.len().max(at + 1), Vec::new);
            groups[at].push(Drafted { draft, call });
        }
        for group in groups {
            let first = &group[0].draft;
            let is_class = !first.is_chain || (first.is_plain && 1 < group.len() && group[0].call.is_some());
            if !is_class {
                for Drafted { draft, .. } in group {
                    made.insert(draft.scope, Made::Inline(Box::new(draft)));
                }
                continue;
            }
            for alike in shareable(group) {
                class(&mut classes, &mut made, &mut taken, (tree, plan), alike);
            }
        }
    }
    let draft = Drafter { net, shapes, tree, plan, made: &made }.draft(0);
    let omitted = draft.slots.iter().map(|slot| slot.default.as_ref() == Some(&slot.value)).collect();
    let fill = draft.slots.iter().map(|slot| Fill::Value(slot.value.clone())).collect();
    let (params, scopes) = (Vec::new(), vec![0]);
    classes.list.push(Class {
        name: net_name,
        draft,
        params,
        attributes: Vec::new(),
        by_place: 0,
        fill,
        omitted,
        block: None,
        scopes,
    });
    classes
}

/// A group as it is, or each of it by itself where too much differs.
fn shareable(group: Vec<Drafted>) -> Vec<Vec<Drafted>> {
    let first = &group[0].draft.slots;
    let differs = |at: usize| group.iter().any(|other| other.draft.slots[at].value != first[at].value);
    let differing = (0..first.len()).filter(|&at| differs(at)).count();
    let distinct: HashSet<String> = (0..first.len().min(MOST_DIFFERING))
        .map(|at| format!("{:?}", group.iter().map(|other| &other.draft.slots[at].value).collect::<Vec<_>>()))
        .collect();
    if differing <= MOST_DIFFERING && (differing <= MOST_PARAMS || distinct.len() <= MOST_PARAMS) {
        return vec![group];
    }
    group.into_iter().map(|one| vec![one]).collect()
}

fn class(
    classes: &mut Classes,
    made: &mut HashMap<usize, Made>,
    taken: &mut Names,
    (tree, plan): (&Tree, &Plan),
    mut group: Vec<Drafted>,
) {
    let columns: Vec<Vec<&Py>> = (0..group[0].draft.slots.len())
        .map(|at| group.iter().map(|one| &one.draft.slots[at].value).collect())
        .collect();
    let (map, mut bases) = parameters(&columns);
    let fills = map.into_iter().zip(&columns).map(|(parameter, column)| {
        parameter.map_or_else(|| Fill::Value(column[0].clone()), |(param, times)| Fill::Param(param, times))
    });
    let mut fill: Vec<Fill> = fills.collect();
    // What comes in first, then the block's own arguments in their order, then what is derived from them.
    let rank = |at: usize| match hint(at, &columns, &group) {
        Some((place, _)) => (1, place),
        None if group[0].draft.slots[at].name.starts_with("in_") => (0, at),
        None => (2, at),
    };
    let mut order: Vec<usize> = (0..bases.len()).collect();
    order.sort_by_key(|&param| rank(bases[param]));
    for value in &mut fill {
        if let Fill::Param(param, _) = value {
            *param = order.iter().position(|old| old == param).unwrap_or(*param);
        }
    }
    bases = order.into_iter().map(|param| bases[param]).collect();
    let omitted: Vec<bool> = (0..columns.len())
        .map(|at| {
            let is_default = |one: &Drafted| one.draft.slots[at].default.as_ref() == Some(&one.draft.slots[at].value);
            matches!(fill[at], Fill::Value(_)) && group.iter().all(is_default)
        })
        .collect();
    let params = named(&bases, &columns, &group, taken, plan.names());
    let is_int = |at: usize| columns[at].iter().all(|value| matches!(value, Py::Int(_)));
    let by_place = bases.iter().take_while(|&&at| is_int(at) && (rank(at).0 < 2 || bases.len() == 1)).count();
    let name = taken.fresh_class(&class_name(tree, &group));
    let number = classes.list.len();
    let scopes: Vec<usize> = group.iter().map(|one| one.draft.scope).collect();
    for one in &group {
        let args = params.iter().zip(&bases).map(|(name, &at)| (name.clone(), one.draft.slots[at].value.clone()));
        made.insert(one.draft.scope, Made::Class(number, args.collect()));
    }
    let first = group.swap_remove(0);
    let mut own = first.draft.attributes.clone();
    let attributes = params.iter().map(|param| own.fresh(param)).collect();
    let block = first.call.map(|call| call.block.clone());
    classes.list.push(Class { name, draft: first.draft, params, attributes, by_place, fill, omitted, block, scopes });
}

fn class_name(tree: &Tree, group: &[Drafted]) -> String {
    if let Some(call) = &group[0].call {
        return names::camel(&call.block);
    }
    let path = &tree.scopes[group[0].draft.scope].path;
    let mut parts = path.rsplit('.');
    let last = parts.next().unwrap_or_default();
    let word = if names::is_number(last) { parts.find(|part| !names::is_number(part)).unwrap_or(last) } else { last };
    let alike = 1 < group.len() || names::is_number(last);
    let word = if alike { word.trim_end_matches(|c: char| c.is_ascii_digit()) } else { word };
    let end = if names::is_number(last) { "_part" } else { "" };
    names::camel(&format!("{}{end}", if word.is_empty() { "part" } else { word }))
}

/// What of the code is the same in all scopes of a class.
fn skeleton(draft: &Draft) -> String {
    let mut text = format!("{} {:?} {:?}\n", draft.is_chain, draft.inputs, draft.symbols);
    for line in draft.init.iter().chain(&draft.forward).chain(&draft.heads) {
        outline(&mut text, &line.code, &draft.slots);
        text.push('\n');
    }
    text
}

fn outline(text: &mut String, pieces: &[Piece], slots: &[Slot]) {
    let list = |text: &mut String, of: &[usize]| {
        of.iter().for_each(|&slot| text.push_str(&format!("\u{1}{}{}", slots[slot].name, fixed(&slots[slot].value))));
    };
    for piece in pieces {
        match piece {
            Piece::Text(part) => text.push_str(part),
            Piece::One(slot) => list(text, &[*slot]),
            Piece::Args(of) => list(text, of),
            Piece::Class(class, of) => {
                text.push_str(&format!("\u{2}{class}("));
                list(text, of);
            }
            Piece::Chain(items) => {
                text.push('\u{3}');
                for item in items {
                    outline(text, item, slots);
                    text.push(',');
                }
            }
        }
    }
}

/// Arguments that no class takes belong to the skeleton.
fn fixed(value: &Py) -> String {
    match value {
        Py::Int(_) | Py::Float(_) | Py::Bool(_) => String::new(),
        Py::List(values) if values.iter().all(|value| matches!(value, Py::Int(_))) => String::new(),
        other => format!("={other:?}"),
    }
}

impl Argument for Py {
    fn positive(&self) -> Option<u64> {
        if let Py::Int(value) = self { u64::try_from(*value).ok().filter(|&value| 0 < value) } else { None }
    }
}

/// Names of arguments: those of the block where it has an argument with these values.
fn named(bases: &[usize], columns: &[Vec<&Py>], group: &[Drafted], classes: &Names, mut names: Names) -> Vec<String> {
    let slots = &group[0].draft.slots;
    let is_free = |name: &String| names::is_attribute(name) && !classes.has(name) && !names.has(name);
    let own = |&at: &usize| hint(at, columns, group).map(|(_, name)| name).filter(is_free);
    let hints: Vec<Option<String>> = bases.iter().map(own).collect();
    hints.iter().flatten().for_each(|name| names.take(name));
    let mut seen = HashSet::new();
    let name = |(hint, &at): (&Option<String>, &usize)| match hint {
        Some(name) if seen.insert(name.clone()) => name.clone(),
        _ => {
            let slot = &slots[at];
            let alone = bases.iter().filter(|&&other| slots[other].name == slot.name).count() == 1;
            let own = if PER_CHANNEL.contains(&slot.name.as_str()) { "channels" } else { slot.name.as_str() };
            let wanted = if alone { own.to_owned() } else { format!("{}_{own}", slot.owner) };
            let wanted = names::word(&wanted);
            names.fresh(if names::is_attribute(&wanted) { &wanted } else { "value" })
        }
    };
    hints.iter().zip(bases).map(name).collect()
}

/// The argument of the block that has the values of a slot: its place and its name.
fn hint(at: usize, columns: &[Vec<&Py>], group: &[Drafted]) -> Option<(usize, String)> {
    let is_it = |name: &str| {
        group.iter().zip(&columns[at]).all(|(one, value)| {
            let args = one.call.iter().flat_map(|call| &call.args);
            args.into_iter().any(|(other, text)| other == name && is_written(value, text))
        })
    };
    let mut args = group[0].call.as_ref()?.args.iter().map(|(name, _)| name).enumerate();
    args.find(|(_, name)| is_it(name)).map(|(place, name)| (place, name.clone()))
}

/// Whether the language writes a value so.
fn is_written(value: &Py, text: &str) -> bool {
    match value {
        Py::Int(value) => text == value.to_string(),
        Py::Bool(value) => text == value.to_string(),
        Py::Float(value) => text.parse() == Ok(*value),
        Py::Text(_) | Py::List(_) | Py::Size(_) => false,
    }
}

/// How many layers each call of a block has made.
struct Calls(HashMap<*const CallSite, usize>);

impl Calls {
    fn of(net: &Net, tree: &Tree) -> Calls {
        let mut counts = HashMap::new();
        for &id in &tree.scopes[0].nodes {
            let mut call = net.node(id).origin.call.as_ref();
            while let Some(site) = call {
                *counts.entry(Arc::as_ptr(site)).or_default() += 1;
                call = site.caller.as_ref();
            }
        }
        Calls(counts)
    }

    /// The outermost call of a block that has made the layers of a scope and no others.
    fn of_scope(&self, net: &Net, tree: &Tree, scope: usize) -> Option<Arc<CallSite>> {
        let nodes = &tree.scopes[scope].nodes;
        let mut call = net.node(*nodes.first()?).origin.call.as_ref();
        let mut found = None;
        while let Some(site) = call {
            if self.0.get(&Arc::as_ptr(site)) == Some(&nodes.len()) {
                found = Some(Arc::clone(site));
            }
            call = site.caller.as_ref();
        }
        found
    }
}
