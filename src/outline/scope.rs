//! Statements out of a chain, with scopes where the paths of neighbours begin alike.

use std::collections::{HashMap, HashSet};

use super::chain::Item;
use super::same::has_params;
use super::{Arg, Statement, What};
use crate::ir::{Net, NodeId, ValueId};
use crate::op::activation::Activation;
use crate::op::{Op, Value};
use crate::shape::Shapes;

/// The statements of a net.
pub fn statements(net: &Net, shapes: &Shapes, items: &[Item]) -> Vec<Statement> {
    let mut named = HashSet::new();
    collect_named(net, items, &mut named);
    let mut sizes: HashMap<String, usize> = HashMap::new();
    for id in net.nodes().filter(|&id| is_labelled(net, id)) {
        let parts = parts(net, id);
        (1..parts.len()).for_each(|end| *sizes.entry(parts[..end].join(".")).or_default() += 1);
    }
    let mut writer = Writer { net, shapes, named, sizes, finals: HashMap::new() };
    let mut body = writer.body(items, &[]);
    writer.claim(&mut body, items);
    body
}

/// Values that statements take by name.
fn collect_named(net: &Net, items: &[Item], named: &mut HashSet<ValueId>) {
    for item in items {
        match item {
            Item::Wired(id) => named.extend(net.operands(*id)),
            Item::From(value, body) => {
                named.insert(*value);
                collect_named(net, body, named);
                // What is used of a side chain is used by name.
                let last = body.iter().rev().find_map(|item| item.nodes().last().copied());
                named.extend(last.filter(|&id| !net.users(id).is_empty()).map(ValueId::from));
            }
            Item::Group(_, branches) => branches.iter().for_each(|branch| collect_named(net, branch, named)),
            Item::Layer(_) | Item::Output(_) => {}
        }
    }
}

fn parts(net: &Net, id: NodeId) -> Vec<String> {
    net.node(id).path.split('.').map(str::to_owned).collect()
}

/// Whether the path of a layer is to be kept: those with parameters, and those whose names come from outside.
fn is_labelled(net: &Net, id: NodeId) -> bool {
    let node = net.node(id);
    !matches!(node.op, Op::Input(_)) && (has_params(&node.op) || node.labelled)
}

struct Writer<'a> {
    net: &'a Net,
    shapes: &'a Shapes,
    named: HashSet<ValueId>,
    /// How many labelled layers stand below each path.
    sizes: HashMap<String, usize>,
    /// The paths under which values that are taken by name stand in the text.
    finals: HashMap<ValueId, Vec<String>>,
}

impl Writer<'_> {
    fn body(&mut self, items: &[Item], scope: &[String]) -> Vec<Statement> {
        let mut body = Vec::new();
        let mut at = 0;
        while at < items.len() {
            match self.run(items, at, scope) {
                Some((part, end)) => {
                    let inner: Vec<String> = scope.iter().cloned().chain([part.clone()]).collect();
                    let last = items[end - 1].nodes().last().copied().map(ValueId::from);
                    let named = last.filter(|value| self.named.contains(value));
                    // A group that is all of a scope has its label, and needs none for its value.
                    let whole = named.filter(|value| {
                        matches!(&items[at..end], [Item::Group(..)]) && !is_labelled(self.net, value.node)
                    });
                    whole.inspect(|value| _ = self.named.remove(value));
                    let mut statements = self.body(&items[at..end], &inner);
                    self.named.extend(whole);
                    let is_group = matches!(
                        statements.as_slice(),
                        [Statement { label: None, what: What::Group { .. } | What::From { .. }, .. }]
                    );
                    // Behind a side chain the value of a scope is what stood in front of it.
                    let ends_aside = !is_group && matches!(items[end - 1], Item::From(..));
                    named.filter(|_| !ends_aside).map(|value| self.finals.insert(value, inner.clone()));
                    body.push(if is_group {
                        Statement { label: Some(part), ..statements.swap_remove(0) }
                    } else {
                        let numbered = numbered(&statements);
                        Statement {
                            label: Some(part),
                            what: What::Chain { numbered, body: statements },
                            ..Statement::default()
                        }
                    });
                    at = end;
                }
                None => {
                    let mut statement = self.statement(&items[at], scope);
                    // The label of a group is a scope of its layers. Where these stand elsewhere, a line below names the value.
                    if let (Some(label), Item::Group(join, _)) = (&statement.label, &items[at])
                        && !self.labelled(&items[at]).iter().all(|id| id == join || self.is_below(*id, scope, label))
                    {
                        let label = statement.label.take();
                        body.push(statement);
                        statement = Statement { label, what: identity(), ..Statement::default() };
                    }
                    body.push(statement);
                    at += 1;
                }
            }
        }
        body
    }

    /// The items from a place on that stand in a scope below this one: its name, and where it ends.
    fn run(&self, items: &[Item], at: usize, scope: &[String]) -> Option<(String, usize)> {
        let part = self.scope_of(&items[at], scope)?;
        let path = scope.iter().cloned().chain([part.clone()]).collect::<Vec<_>>().join(".");
        let (mut end, mut inside) = (at, 0);
        for (place, item) in items.iter().enumerate().skip(at) {
            match self.scope_of(item, scope) {
                Some(own) if own == part => {
                    inside += self.labelled(item).len();
                    end = place + 1;
                }
                Some(_) => break,
                None if self.labelled(item).is_empty() && !matches!(item, Item::Output(_) | Item::From(..)) => {}
                None => break,
            }
        }
        // The function behind a sum belongs to the residual block.
        let behind_sum = matches!(items[end - 1], Item::Group(id, _) if matches!(self.net.node(id).op, Op::Add(_)));
        if let (true, Some(Item::Layer(id))) = (behind_sum, items.get(end))
            && matches!(self.net.node(*id).op, Op::Activation(Activation::Relu | Activation::Relu6))
            && !is_labelled(self.net, *id)
        {
            end += 1;
        }
        // A single layer has its scope in its label.
        let is_layer = end == at + 1 && matches!(items[at], Item::Layer(_) | Item::Wired(_));
        (self.sizes.get(&path) == Some(&inside) && !is_layer).then_some((part, end))
    }

    fn labelled(&self, item: &Item) -> Vec<NodeId> {
        item.nodes().into_iter().filter(|&id| is_labelled(self.net, id)).collect()
    }

    /// Whether the path of a layer is one below a label in this scope.
    fn is_below(&self, id: NodeId, scope: &[String], label: &str) -> bool {
        let own = parts(self.net, id);
        own.strip_prefix(scope).and_then(|rest| rest.first()).is_some_and(|first| first == label)
    }

    /// The scope below this one that all labelled layers of an item stand in.
    fn scope_of(&self, item: &Item, scope: &[String]) -> Option<String> {
        let mut labelled = self.labelled(item).into_iter().map(|id| parts(self.net, id));
        let first = labelled.next()?;
        let part = first.get(scope.len()).filter(|_| scope.len() + 1 < first.len() && first.starts_with(scope))?;
        let alike = |parts: Vec<String>| {
            scope.len() + 1 < parts.len() && parts.starts_with(scope) && parts.get(scope.len()) == Some(part)
        };
        labelled.all(alike).then(|| part.clone())
    }

    fn statement(&mut self, item: &Item, scope: &[String]) -> Statement {
        match item {
            Item::Layer(id) => self.layer(*id, Vec::new(), scope),
            Item::Wired(id) => {
                let operands = self.net.operands(*id).into_iter().map(|value| self.reference(value, scope)).collect();
                self.layer(*id, operands, scope)
            }
            Item::Group(id, branches) => {
                let branches = branches.iter().map(|branch| self.branch(branch, scope)).collect();
                let (layer, args) = described(self.net, self.shapes, *id);
                Statement {
                    label: self.label(*id, scope),
                    what: What::Group { layer, args, branches },
                    ..Statement::default()
                }
            }
            Item::From(value, body) => {
                let value = self.reference(*value, scope);
                let body = self.body(body, scope);
                Statement { what: What::From { value, body }, ..Statement::default() }
            }
            Item::Output(at) => Statement { what: What::Output(*at), ..Statement::default() },
        }
    }

    fn branch(&mut self, items: &[Item], scope: &[String]) -> Statement {
        let mut body = self.body(items, scope);
        match body.len() {
            0 => Statement { what: identity(), ..Statement::default() },
            1 => body.swap_remove(0),
            _ => Statement { what: What::Chain { numbered: false, body }, ..Statement::default() },
        }
    }

    fn layer(&mut self, id: NodeId, operands: Vec<String>, scope: &[String]) -> Statement {
        let (layer, args) = described(self.net, self.shapes, id);
        let others: Vec<String> = self.net.node(id).others.clone();
        for (at, other) in others.iter().enumerate() {
            let path = scope.iter().cloned().chain([other.clone()]).collect();
            self.finals.insert(ValueId { node: id, output: at as u32 + 1 }, path);
        }
        let label = self.label(id, scope).or_else(|| (!others.is_empty()).then(|| self.net.node(id).path.clone()));
        Statement { label, others, what: What::Layer { layer, args, operands }, ..Statement::default() }
    }

    /// The label that a node needs.
    fn label(&mut self, id: NodeId, scope: &[String]) -> Option<String> {
        let value = ValueId::from(id);
        let own = parts(self.net, id);
        let is_named = self.named.contains(&value);
        let numbered = own.last().is_some_and(|last| is_number(Some(last)));
        if !(has_params(&self.net.node(id).op) || is_named || (is_labelled(self.net, id) && numbered)) {
            return None;
        }
        let label = match own.strip_prefix(scope) {
            Some(rest) if !rest.is_empty() => rest.join("."),
            _ => own.join("_"),
        };
        if is_named {
            let path = scope.iter().cloned().chain(label.split('.').map(str::to_owned)).collect();
            self.finals.insert(value, path);
        }
        Some(label)
    }

    /// A value as it is named from inside a scope.
    fn reference(&self, value: ValueId, scope: &[String]) -> String {
        let path = self.finals.get(&value).cloned().unwrap_or_else(|| parts(self.net, value.node));
        let common = path.iter().zip(scope).take_while(|(a, b)| a == b).count().min(path.len() - 1);
        path[common..].join(".")
    }

    /// Says the shape of the main values: where the size of the map changes, and at scopes.
    fn claim(&self, body: &mut [Statement], items: &[Item]) {
        let mut shape = None;
        let mut at = 0;
        for statement in body {
            if statement.what == identity() {
                continue;
            }
            // How many items a statement stands for, by the layers in it.
            let count = layers(statement);
            let mut seen = 0;
            let mut last = None;
            while at < items.len() && (seen < count || count == 0) {
                seen += items[at].nodes().len();
                last = items[at].nodes().last().copied().filter(|_| !matches!(items[at], Item::From(..)));
                at += 1;
                if count == 0 {
                    break;
                }
            }
            let Some(id) = last else { continue };
            let own = self.shapes.of(id.into()).clone();
            let is_map = own.as_known().is_some() && own.rank() == 3;
            let worth = !matches!(statement.what, What::Layer { .. }) || has_params(&self.net.node(id).op);
            if is_map && worth && shape.as_ref() != Some(&own) {
                statement.claim = Some(own.clone());
                shape = Some(own);
            }
        }
    }
}

fn identity() -> What {
    What::Layer { layer: "identity", args: Vec::new(), operands: Vec::new() }
}

/// The layers of the net that a statement makes.
fn layers(statement: &Statement) -> usize {
    match &statement.what {
        What::Layer { layer, operands, .. } => usize::from(*layer != "identity" || !operands.is_empty()),
        What::Group { branches, .. } => 1 + branches.iter().map(layers).sum::<usize>(),
        What::Chain { body, .. } | What::From { body, .. } => body.iter().map(layers).sum(),
        What::Repeat { times, statement, .. } => times * layers(statement),
        What::Call { .. } | What::Output(_) => 0,
    }
}

/// Whether a label is a number.
pub(super) fn is_number(label: Option<&str>) -> bool {
    label.is_some_and(|label| !label.is_empty() && label.chars().all(|c| c.is_ascii_digit()))
}

/// Whether the labels that are numbers are those which `sequential` gives.
fn numbered(statements: &[Statement]) -> bool {
    let mut next = 0u64;
    let mut any = false;
    for statement in statements {
        match statement.label.as_deref() {
            Some(label) if is_number(Some(label)) => {
                if label.parse() != Ok(next) || label != next.to_string() {
                    return false;
                }
                any = true;
                next += 1;
            }
            Some(_) => {}
            None if matches!(statement.what, What::From { .. } | What::Output(_)) => {}
            None => next += 1,
        }
    }
    any
}

/// The layer of a node and its arguments, in the shortest form.
fn described(net: &Net, shapes: &Shapes, id: NodeId) -> (&'static str, Vec<(&'static str, Arg)>) {
    let op = &net.node(id).op;
    let (mut layer, mut args) = op.describe();
    if let Op::Conv(conv) = op {
        let in_c = net.operands(id).first().and_then(|&value| shapes.of(value).0[0].as_u64());
        if 1 < conv.groups && in_c == Some(conv.groups) {
            layer = "depthwise";
            args.retain(|(name, _)| !matches!(*name, "channels" | "groups"));
            args.push(("multiplier", Value::int(conv.out_c / conv.groups)));
        }
    }
    (layer, args.into_iter().map(|(name, value)| (name, Arg::Value(short(value)))).collect())
}

/// `[3, 3]` as 3 and `[1, 2, 1, 2]` as `[1, 2]`.
fn short(value: Value) -> Value {
    match value {
        Value::List(values) => match values.as_slice() {
            [h, w] if h == w && matches!(h, Value::Int(_)) => h.clone(),
            [a, b, c, d] if [b, c, d].iter().all(|other| *other == a) && matches!(a, Value::Int(_)) => a.clone(),
            [a, b, c, d] if a == c && b == d => Value::List(vec![a.clone(), b.clone()]),
            _ => Value::List(values),
        },
        other => other,
    }
}
