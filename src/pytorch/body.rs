//! What stands in each scope that is called as a whole: its layers and scopes in the order of their calls.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::names::Names;
use super::tree::{Item, Tree};
use super::{PyTorchError, names};
use crate::ir::{Net, NodeId, ValueId};
use crate::op::pytorch::{Expr, Helper, Py, PyTorch};
use crate::shape::Shapes;

/// What the layers are, and the scopes that are called as a whole.
#[derive(Debug, Default)]
pub struct Plan {
    /// What each layer is.
    pub forms: HashMap<NodeId, Form>,
    /// What stands in each scope that is called.
    pub bodies: HashMap<usize, Body>,
    /// What layers need, by name.
    pub helpers: Vec<&'static Helper>,
    /// What modules name for themselves: no function has a variable of these names.
    names: Names,
    /// The name of each size of the net's inputs that is computed with.
    symbols: HashMap<String, String>,
}

/// What a layer is in PyTorch.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// How its module is made, where it is one.
    pub module: Option<Expr>,
    /// How it is computed, where that is more than calling the module.
    pub call: Option<Expr>,
    /// What both need.
    pub helpers: Vec<&'static Helper>,
    /// Whether it is a module wherever it stands.
    pub is_member: bool,
}

/// What stands in a scope.
#[derive(Debug, Default)]
pub struct Body {
    /// The modules.
    pub members: Vec<Member>,
    /// The calls in order.
    pub calls: Vec<Call>,
    /// The values that come in.
    pub inputs: Vec<ValueId>,
    /// The values that go out.
    pub outputs: Vec<ValueId>,
    /// Sizes of the net's inputs that it computes with.
    pub symbols: BTreeSet<String>,
    /// How many scopes that are called are inside one another in it.
    pub height: usize,
    /// Whether it is a chain of modules that are called `0`, `1`, …
    pub is_chain: bool,
}

/// A module in a scope.
#[derive(Debug)]
pub enum Member {
    /// A layer.
    Layer(NodeId),
    /// A scope that is called.
    Unit(usize),
    /// A scope that only holds modules.
    Holder(usize, Vec<Member>),
}

/// A call of a layer or a scope.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is called.
    pub item: Item,
    /// Where it stands: parts of its path behind that of the scope.
    pub place: Vec<String>,
    /// What it takes.
    pub operands: Vec<ValueId>,
    /// What it gives.
    pub results: Vec<ValueId>,
    /// Whether only outputs of training need it.
    pub train_only: bool,
}

impl Plan {
    /// The plan of a net.
    pub fn of(net: &Net, shapes: &Shapes, tree: &Tree) -> Result<Plan, PyTorchError> {
        let mut plan = Plan::default();
        for &id in &tree.scopes[0].nodes {
            plan.forms.insert(id, form(net, shapes, id)?);
        }
        let spans = spans(tree);
        Planner { net, tree, spans, plan: &mut plan }.body(0);
        plan.helpers = plan.forms.values().flat_map(|form| form.helpers.iter().copied()).collect();
        plan.helpers.sort_by_key(|helper| helper.name);
        plan.helpers.dedup_by_key(|helper| helper.name);
        let defined = names::DEFINED.iter().copied().chain(plan.helpers.iter().map(|helper| helper.name));
        defined.for_each(|name| plan.names.take(name));
        let symbols: BTreeSet<String> = plan.bodies.values().flat_map(|body| body.symbols.iter().cloned()).collect();
        for symbol in symbols {
            let wanted =
                if names::is_attribute(&symbol) { symbol.clone() } else { format!("{}_", names::word(&symbol)) };
            let name = plan.names.fresh(&wanted);
            plan.symbols.insert(symbol, name);
        }
        Ok(plan)
    }

    /// Names for a function: none hides what it calls, or a size.
    pub fn names(&self) -> Names {
        self.names.clone()
    }

    /// The name of a size.
    pub fn symbol(&self, symbol: &str) -> String {
        self.symbols.get(symbol).cloned().unwrap_or_else(|| names::word(symbol))
    }
}

fn form(net: &Net, shapes: &Shapes, id: NodeId) -> Result<Form, PyTorchError> {
    let (inputs, node) = (shapes.operands(net, id), net.node(id));
    let mut rule = PyTorch::new(&inputs, shapes.results(id));
    node.op.to_pytorch(&mut rule).map_err(|unfit| PyTorchError::Layer { path: node.path.clone(), reason: unfit.0 })?;
    let PyTorch { module, call, helpers, .. } = rule;
    let calls_module = call.as_ref().is_none_or(|call| call.text.contains("{m}"));
    let is_member = module.is_some() && calls_module;
    Ok(Form { module, call, helpers, is_member })
}

/// For each scope where it begins and ends in a walk through all of them.
fn spans(tree: &Tree) -> Vec<(usize, usize)> {
    let mut spans = vec![(0, 0); tree.scopes.len()];
    let (mut open, mut next) = (vec![(0, false)], 0);
    while let Some((scope, done)) = open.pop() {
        if done {
            spans[scope].1 = next;
            continue;
        }
        spans[scope].0 = next;
        next += 1;
        open.push((scope, true));
        for item in &tree.scopes[scope].items {
            if let Item::Scope(inner) = item {
                open.push((*inner, false));
            }
        }
    }
    spans
}

struct Planner<'a> {
    net: &'a Net,
    tree: &'a Tree,
    spans: Vec<(usize, usize)>,
    plan: &'a mut Plan,
}

impl Planner<'_> {
    /// Plans a scope and all that is called in it.
    fn body(&mut self, scope: usize) {
        let mut dissolved = HashSet::from([scope]);
        let order = loop {
            let items = self.items(scope, &dissolved);
            let loose: Vec<usize> = items.iter().filter_map(|item| self.loose(*item)).collect();
            if !loose.is_empty() {
                dissolved.extend(loose);
                continue;
            }
            match self.ordered(&items) {
                Ok(order) => break order,
                Err(crossed) => dissolved.extend(crossed),
            }
        };
        let mut body = Body { members: self.members(scope, &dissolved), ..Body::default() };
        (body.inputs, body.outputs) = self.ends(&self.tree.scopes[scope].nodes, scope);
        if scope == 0 {
            body.inputs = self.net.inputs.iter().map(|&id| id.into()).collect();
            body.outputs = self.net.outputs.iter().map(|output| self.tree.source(output.value)).collect();
        }
        for item in order {
            if let Item::Scope(inner) = item {
                self.body(inner);
            }
            let call = self.call(item, scope);
            if let Item::Scope(inner) = item
                && let Some(inner) = self.plan.bodies.get(&inner)
            {
                body.height = body.height.max(inner.height + 1);
                body.symbols.extend(inner.symbols.iter().cloned());
            }
            if let Item::Layer(id) = item {
                body.symbols.extend(self.symbols(id));
            }
            body.calls.push(call);
        }
        if let Some(first) = body.calls.first().filter(|_| scope != 0) {
            // The value that the first call takes comes first.
            let place = |value: &ValueId| first.operands.iter().position(|operand| operand == value);
            body.inputs.sort_by_key(|value| place(value).unwrap_or(usize::MAX));
        }
        body.is_chain = scope != 0 && self.is_chain(&body);
        self.plan.bodies.insert(scope, body);
    }

    /// What is called in a scope, where some scopes are only holders.
    fn items(&self, scope: usize, dissolved: &HashSet<usize>) -> Vec<Item> {
        let mut items = Vec::new();
        let mut open: Vec<Item> = self.tree.scopes[scope].items.iter().rev().copied().collect();
        while let Some(item) = open.pop() {
            match item {
                Item::Scope(inner) if dissolved.contains(&inner) => {
                    open.extend(self.tree.scopes[inner].items.iter().rev().copied());
                }
                Item::Layer(id) if !self.tree.needed[id.index()] => {}
                item => items.push(item),
            }
        }
        items
    }

    fn members(&self, scope: usize, dissolved: &HashSet<usize>) -> Vec<Member> {
        let mut members = Vec::new();
        for item in &self.tree.scopes[scope].items {
            match item {
                Item::Layer(id) if self.plan.forms[id].is_member => members.push(Member::Layer(*id)),
                Item::Layer(_) => {}
                Item::Scope(inner) if dissolved.contains(inner) => {
                    let held = self.members(*inner, dissolved);
                    if !held.is_empty() {
                        members.push(Member::Holder(*inner, held));
                    }
                }
                Item::Scope(inner) => members.push(Member::Unit(*inner)),
            }
        }
        members
    }

    /// A scope that cannot be called: nothing comes in or goes out, or a part of it exists in training only.
    fn loose(&self, item: Item) -> Option<usize> {
        let Item::Scope(scope) = item else { return None };
        let nodes = &self.tree.scopes[scope].nodes;
        let training = nodes.iter().filter(|id| self.tree.train_only[id.index()]).count();
        let (inputs, outputs) = self.ends(nodes, scope);
        let is_whole = training == 0 || training == nodes.len();
        (!is_whole || inputs.is_empty() || outputs.is_empty()).then_some(scope)
    }

    fn is_in(&self, id: NodeId, scope: usize) -> bool {
        let (first, end) = self.spans[scope];
        let own = self.spans[self.tree.places[id.index()].1].0;
        scope == 0 || (first <= own && own < end)
    }

    /// The values that layers of a scope take from outside, and those that are taken outside.
    fn ends(&self, nodes: &[NodeId], scope: usize) -> (Vec<ValueId>, Vec<ValueId>) {
        let (mut inputs, mut outputs, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for &id in nodes.iter().filter(|id| self.tree.needed[id.index()]) {
            for value in self.tree.operands(self.net, id) {
                if !self.is_in(value.node, scope) && seen.insert(value) {
                    inputs.push(value);
                }
            }
            for value in results(self.net, id) {
                let mut users = self.tree.users.get(&value).into_iter().flatten();
                if self.tree.shown.contains(&value) || users.any(|&user| !self.is_in(user, scope)) {
                    outputs.push(value);
                }
            }
        }
        (inputs, outputs)
    }

    /// Items such that each comes after those whose values it takes, or scopes that take from one another.
    fn ordered(&self, items: &[Item]) -> Result<Vec<Item>, Vec<usize>> {
        let mut of: HashMap<NodeId, usize> = HashMap::new();
        for (at, item) in items.iter().enumerate() {
            of.extend(self.tree.nodes(item).iter().map(|&id| (id, at)));
        }
        let mut graph: DiGraph<(), ()> = DiGraph::with_capacity(items.len(), items.len());
        for _ in items {
            graph.add_node(());
        }
        let mut edges = HashSet::new();
        for (&id, &to) in &of {
            for value in self.tree.operands(self.net, id) {
                if let Some(&from) = of.get(&value.node).filter(|&&from| from != to) {
                    edges.insert((from, to));
                }
            }
        }
        let mut edges: Vec<(usize, usize)> = edges.into_iter().collect();
        edges.sort_unstable();
        let mut missing = vec![0usize; items.len()];
        for &(from, to) in &edges {
            graph.add_edge(NodeIndex::new(from), NodeIndex::new(to), ());
            missing[to] += 1;
        }
        let crossed: Vec<usize> = kosaraju_scc(&graph)
            .into_iter()
            .filter(|group| 1 < group.len())
            .flatten()
            .filter_map(|at| if let Item::Scope(scope) = items[at.index()] { Some(scope) } else { None })
            .collect();
        if !crossed.is_empty() {
            return Err(crossed);
        }
        let first = |at: usize| {
            let nodes = self.tree.nodes(&items[at]).iter().filter(|id| self.tree.needed[id.index()]);
            nodes.map(|id| self.tree.order[id.index()]).min().unwrap_or(0)
        };
        let firsts: Vec<usize> = (0..items.len()).map(first).collect();
        let mut ready: BinaryHeap<Reverse<(usize, usize)>> =
            (0..items.len()).filter(|&at| missing[at] == 0).map(|at| Reverse((firsts[at], at))).collect();
        let mut order = Vec::with_capacity(items.len());
        while let Some(Reverse((_, at))) = ready.pop() {
            order.push(items[at]);
            for to in graph.neighbors(NodeIndex::new(at)).map(NodeIndex::index) {
                missing[to] -= 1;
                if missing[to] == 0 {
                    ready.push(Reverse((firsts[to], to)));
                }
            }
        }
        Ok(order)
    }

    fn call(&self, item: Item, scope: usize) -> Call {
        let (mut around, mut place) = (item, Vec::new());
        loop {
            place.push(self.tree.part(around).to_owned());
            let parent = match around {
                Item::Layer(id) => self.tree.places[id.index()].1,
                Item::Scope(inner) => self.tree.scopes[inner].parent,
            };
            if parent == scope {
                break;
            }
            around = Item::Scope(parent);
        }
        place.reverse();
        let train_only = self.tree.nodes(&item).iter().all(|id| self.tree.train_only[id.index()]);
        let (operands, results) = match item {
            Item::Layer(id) => (self.tree.operands(self.net, id), results(self.net, id)),
            Item::Scope(inner) => {
                let body = &self.plan.bodies[&inner];
                (body.inputs.clone(), body.outputs.clone())
            }
        };
        Call { item, place, operands, results, train_only }
    }

    fn symbols(&self, id: NodeId) -> BTreeSet<String> {
        let form = &self.plan.forms[&id];
        let mut symbols = BTreeSet::new();
        for arg in form.call.iter().flat_map(|call| &call.args) {
            collect_symbols(&arg.value, &mut symbols);
        }
        symbols
    }

    /// Whether a body is a chain of modules with the numbers from 0 as their parts.
    fn is_chain(&self, body: &Body) -> bool {
        let ([input], [output]) = (body.inputs.as_slice(), body.outputs.as_slice()) else { return false };
        let mut value = *input;
        for (at, call) in body.calls.iter().enumerate() {
            let is_module = match call.item {
                Item::Layer(id) => {
                    let form = &self.plan.forms[&id];
                    form.module.is_some() && (!form.is_member || form.call.is_none())
                }
                Item::Scope(inner) => self.plan.bodies[&inner].symbols.is_empty(),
            };
            let is_last = at + 1 == body.calls.len();
            let ([operand], [result]) = (call.operands.as_slice(), call.results.as_slice()) else { return false };
            let is_next = call.place.len() == 1 && call.place[0] == at.to_string() && *operand == value;
            if !(is_module && is_next && (is_last || result != output)) {
                return false;
            }
            value = *result;
        }
        let members = body.members.len();
        let modules = body.calls.iter().filter(|call| match call.item {
            Item::Layer(id) => self.plan.forms[&id].is_member,
            Item::Scope(_) => true,
        });
        value == *output && !body.calls.is_empty() && members == modules.count()
    }
}

fn collect_symbols(value: &Py, symbols: &mut BTreeSet<String>) {
    match value {
        Py::Size(dim) => symbols.extend(dim.symbols()),
        Py::List(values) => values.iter().for_each(|value| collect_symbols(value, symbols)),
        Py::Int(_) | Py::Float(_) | Py::Bool(_) | Py::Text(_) => {}
    }
}

fn results(net: &Net, id: NodeId) -> Vec<ValueId> {
    (0..=net.node(id).others.len() as u32).map(|output| ValueId { node: id, output }).collect()
}

/// The label of a call, as a word.
pub fn label(call: &Call) -> String {
    let last = call.place.last().map_or("", String::as_str);
    let before = call.place.len().checked_sub(2).map_or("", |at| call.place[at].as_str());
    if names::is_number(last) { names::word(&format!("{before}_{last}")) } else { names::word(last) }
}
