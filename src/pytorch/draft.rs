//! A scope as code with slots where its arguments stand, so that scopes that are alike can be told.

use std::collections::{HashMap, HashSet};

use super::body::{Body, Call, Member, Plan, label};
use super::names::{self, Names};
use super::tree::{Item, Tree};
use crate::ir::{Net, ValueId};
use crate::op::pytorch::{Expr, Py};
use crate::shape::Shapes;

/// A piece of code.
#[derive(Clone, Debug)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// One argument.
    One(usize),
    /// A list of arguments.
    Args(Vec<usize>),
    /// A class with its arguments.
    Class(usize, Vec<usize>),
    /// A chain of modules.
    Chain(Vec<Vec<Piece>>),
}

/// An argument.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The label of what it belongs to.
    pub owner: String,
    /// What PyTorch calls it.
    pub name: String,
    /// Its value.
    pub value: Py,
    /// What it is where it is left out, for one that is passed by name.
    pub default: Option<Py>,
}

/// A line of a function.
#[derive(Clone, Debug)]
pub struct Line {
    /// The code.
    pub code: Vec<Piece>,
    /// The shape that it gives.
    pub shape: Option<String>,
}

/// A scope as code.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The scope.
    pub scope: usize,
    /// The lines that make its modules; of a chain the modules.
    pub init: Vec<Line>,
    /// Whether it is a chain.
    pub is_chain: bool,
    /// Whether all modules of a chain are layers.
    pub is_plain: bool,
    /// The names of what it takes, and of sizes.
    pub inputs: Vec<String>,
    /// The sizes that it takes behind that.
    pub symbols: Vec<String>,
    /// The lines that compute its results.
    pub forward: Vec<Line>,
    /// The same with the outputs that exist in training only, where there are any.
    pub heads: Vec<Line>,
    /// How many results it has.
    pub results: usize,
    /// The arguments.
    pub slots: Vec<Slot>,
    /// The first argument that stands in what is computed, and not in what is made.
    pub first_computed: usize,
    /// Names of its modules.
    pub attributes: Names,
}

/// What a scope that is called has become.
#[derive(Clone, Debug)]
pub enum Made {
    /// A chain that is written where it stands.
    Inline(Box<Draft>),
    /// A class with arguments.
    Class(usize, Vec<(String, Py)>),
}

/// Makes drafts.
pub struct Drafter<'a> {
    pub net: &'a Net,
    pub shapes: &'a Shapes,
    pub tree: &'a Tree,
    pub plan: &'a Plan,
    pub made: &'a HashMap<usize, Made>,
}

impl Drafter<'_> {
    /// A scope as code; what is called in it has been made.
    pub fn draft(&self, scope: usize) -> Draft {
        let body = &self.plan.bodies[&scope];
        let mut draft = Draft { scope, results: body.outputs.len(), ..Draft::default() };
        if body.is_chain {
            draft.is_chain = true;
            draft.is_plain = body.calls.iter().all(|call| matches!(call.item, Item::Layer(_)));
            for call in &body.calls {
                let code = self.module(&mut draft, call.item, &label(call));
                draft.init.push(Line { code, shape: None });
            }
            draft.first_computed = draft.slots.len();
            return draft;
        }
        let mut access = HashMap::new();
        draft.attributes = Names::default();
        let mut own = std::mem::take(&mut draft.attributes);
        self.members(&mut draft, &body.members, "self", &mut own, &mut access);
        draft.attributes = own;
        draft.symbols = body.symbols.iter().cloned().collect();
        draft.inputs = self.input_names(scope, body);
        draft.first_computed = draft.slots.len();
        if scope == 0 && body.calls.iter().any(|call| call.train_only) {
            draft.heads = self.forward(&mut draft, body, &access, true);
        }
        draft.forward = self.forward(&mut draft, body, &access, false);
        draft
    }

    fn input_names(&self, scope: usize, body: &Body) -> Vec<String> {
        let mut names = self.plan.names();
        let name = |(at, value): (usize, &ValueId)| match (scope, at) {
            (0, _) => names.fresh(&names::word(&self.net.node(value.node).path)),
            (_, at) => names.fresh(["x", "y", "z"].get(at).copied().unwrap_or("x")),
        };
        body.inputs.iter().enumerate().map(name).collect()
    }

    /// The code that makes a module.
    fn module(&self, draft: &mut Draft, item: Item, owner: &str) -> Vec<Piece> {
        match item {
            Item::Layer(id) => {
                let module = self.plan.forms[&id].module.clone().unwrap_or_default();
                self.expression(draft, &module, owner, &[], "")
            }
            Item::Scope(inner) => match &self.made[&inner] {
                Made::Inline(chain) => {
                    let first = draft.slots.len();
                    draft.slots.extend(
                        chain
                            .slots
                            .iter()
                            .map(|slot| Slot { owner: format!("{owner}_{}", slot.owner), ..slot.clone() }),
                    );
                    vec![Piece::Chain(chain.init.iter().map(|line| moved(&line.code, first)).collect())]
                }
                Made::Class(class, args) => {
                    let first = draft.slots.len();
                    draft.slots.extend(args.iter().map(|(name, value)| Slot {
                        owner: owner.to_owned(),
                        name: name.clone(),
                        value: value.clone(),
                        default: None,
                    }));
                    vec![Piece::Class(*class, (first..draft.slots.len()).collect())]
                }
            },
        }
    }

    fn members(
        &self,
        draft: &mut Draft,
        members: &[Member],
        owner: &str,
        names: &mut Names,
        access: &mut HashMap<Item, String>,
    ) {
        for member in members {
            let item = match member {
                Member::Layer(id) => Item::Layer(*id),
                Member::Unit(scope) | Member::Holder(scope, _) => Item::Scope(*scope),
            };
            let part = self.tree.part(item).to_owned();
            let mut renamed = None;
            let (put, own) = if names::is_number(&part) {
                names.take(&part);
                (format!("{owner}.add_module({}, ", names::quoted(&part)), format!("getattr({owner}, \"{part}\")"))
            } else {
                let wanted = if names::is_attribute(&part) { part.clone() } else { format!("{}_", names::word(&part)) };
                let name = names.fresh(&wanted);
                if name != part {
                    renamed = Some(format!("rename({owner}, \"{name}\", {})", names::quoted(&part)));
                }
                (format!("{owner}.{name} = "), format!("{owner}.{name}"))
            };
            let close = if put.ends_with(' ') && put.contains("add_module") { ")" } else { "" };
            let mut code = vec![Piece::Text(put)];
            match member {
                Member::Holder(..) => code.push(Piece::Text("nn.Module()".to_owned())),
                _ => code.extend(self.module(draft, item, &names::word(&part))),
            }
            code.push(Piece::Text(close.to_owned()));
            draft.init.push(Line { code, shape: None });
            if let Member::Holder(_, held) = member {
                self.members(draft, held, &own, &mut Names::default(), access);
            }
            draft.init.extend(renamed.map(|text| Line { code: vec![Piece::Text(text)], shape: None }));
            access.insert(item, own);
        }
    }

    /// An expression with its holes filled.
    fn expression(&self, draft: &mut Draft, expr: &Expr, owner: &str, operands: &[String], module: &str) -> Vec<Piece> {
        let mut slots: Vec<Option<usize>> = vec![None; expr.args.len()];
        let mut slot = |draft: &mut Draft, at: usize| {
            *slots[at].get_or_insert_with(|| {
                let arg = &expr.args[at];
                draft.slots.push(Slot {
                    owner: owner.to_owned(),
                    name: arg.name.to_owned(),
                    value: arg.value.clone(),
                    default: arg.default.clone(),
                });
                draft.slots.len() - 1
            })
        };
        let mut pieces = Vec::new();
        let mut rest = expr.text.as_str();
        while let Some(open) = rest.find('{') {
            pieces.push(Piece::Text(rest[..open].to_owned()));
            let end = rest[open..].find('}').map_or(rest.len(), |end| open + end);
            let hole = &rest[open + 1..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            pieces.push(match hole {
                "" => Piece::Args((0..expr.args.len()).map(|at| slot(draft, at)).collect()),
                "m" => Piece::Text(module.to_owned()),
                "xs" => Piece::Text(operands.join(", ")),
                "x" => Piece::Text(operands.first().cloned().unwrap_or_default()),
                "y" => Piece::Text(operands.get(1).cloned().unwrap_or_default()),
                hole => match (hole.strip_prefix('x').unwrap_or(hole).parse::<usize>(), hole.starts_with('x')) {
                    (Ok(at), true) => Piece::Text(operands.get(at).cloned().unwrap_or_default()),
                    (Ok(at), false) if at < expr.args.len() => Piece::One(slot(draft, at)),
                    _ => Piece::Text(format!("{{{hole}}}")),
                },
            });
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces
    }

    /// The lines that call what is in a body.
    fn forward(&self, draft: &mut Draft, body: &Body, access: &HashMap<Item, String>, heads: bool) -> Vec<Line> {
        let calls: Vec<&Call> =
            body.calls.iter().filter(|call| heads || draft.scope != 0 || !call.train_only).collect();
        let outputs: Vec<ValueId> = match draft.scope {
            0 => self.net.outputs_for(heads).map(|output| self.tree.source(output.value)).collect(),
            _ => body.outputs.clone(),
        };
        let mut variables = Variables::new(&calls, &outputs, self.plan.names());
        for (value, name) in body.inputs.iter().zip(&draft.inputs) {
            variables.names.take(name);
            variables.of.insert(*value, name.clone());
            variables.live.insert(name.clone(), *value);
        }
        let mut lines = Vec::new();
        for (at, call) in calls.iter().enumerate() {
            let operands: Vec<String> = call.operands.iter().map(|value| variables.of[value].clone()).collect();
            let code = self.call(draft, call, &operands, access);
            let is_last = at + 1 == calls.len();
            call.operands.iter().for_each(|value| variables.used(*value));
            if is_last && call.results == outputs {
                let code = [vec![Piece::Text("return ".to_owned())], code].concat();
                lines.push(Line { code, shape: self.shape(call) });
                return lines;
            }
            let targets: Vec<String> = call.results.iter().map(|value| variables.target(*value, call)).collect();
            let code = [vec![Piece::Text(format!("{} = ", targets.join(", ")))], code].concat();
            lines.push(Line { code, shape: self.shape(call) });
        }
        let returned: Vec<String> = outputs.iter().map(|value| variables.of[value].clone()).collect();
        lines.push(Line { code: vec![Piece::Text(format!("return {}", returned.join(", ")))], shape: None });
        lines
    }

    fn shape(&self, call: &Call) -> Option<String> {
        call.results.first().filter(|_| call.results.len() == 1).map(|&value| self.shapes.of(value).claim())
    }

    fn call(&self, draft: &mut Draft, call: &Call, operands: &[String], access: &HashMap<Item, String>) -> Vec<Piece> {
        let module = access.get(&call.item).map_or("", String::as_str);
        match call.item {
            Item::Layer(id) => {
                let plain = Expr::new("{m}({x})");
                let form = &self.plan.forms[&id];
                self.expression(draft, form.call.as_ref().unwrap_or(&plain), &label(call), operands, module)
            }
            Item::Scope(inner) => {
                let symbols = self.plan.bodies[&inner].symbols.iter().map(|symbol| self.plan.symbol(symbol));
                let args: Vec<String> = operands.iter().cloned().chain(symbols).collect();
                vec![Piece::Text(format!("{module}({})", args.join(", ")))]
            }
        }
    }
}

/// The same pieces with their slots further behind.
fn moved(pieces: &[Piece], by: usize) -> Vec<Piece> {
    let all = |slots: &[usize]| slots.iter().map(|slot| slot + by).collect();
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => Piece::Text(text.clone()),
        Piece::One(slot) => Piece::One(slot + by),
        Piece::Args(slots) => Piece::Args(all(slots)),
        Piece::Class(class, slots) => Piece::Class(*class, all(slots)),
        Piece::Chain(items) => Piece::Chain(items.iter().map(|item| moved(item, by)).collect()),
    };
    pieces.iter().map(piece).collect()
}

/// The variables of a function.
struct Variables {
    /// How often each value is still taken.
    left: HashMap<ValueId, usize>,
    /// Values that are taken together with others.
    joined: HashSet<ValueId>,
    of: HashMap<ValueId, String>,
    /// Which value each variable in use holds.
    live: HashMap<String, ValueId>,
    names: Names,
    /// Variables of chains that may be used again.
    free: Vec<String>,
}

/// Names of variables in chains.
const CHAINED: [&str; 6] = ["x", "y", "z", "u", "v", "w"];

impl Variables {
    fn new(calls: &[&Call], outputs: &[ValueId], names: Names) -> Variables {
        let mut left: HashMap<ValueId, usize> = HashMap::new();
        for value in calls.iter().flat_map(|call| &call.operands).chain(outputs) {
            *left.entry(*value).or_default() += 1;
        }
        let joins = calls.iter().filter(|call| 1 < call.operands.len());
        let joined = joins.flat_map(|call| &call.operands).copied().collect();
        let free = CHAINED.iter().rev().filter(|name| !names.has(name)).map(|&name| name.to_owned()).collect();
        Variables { left, joined, of: HashMap::new(), live: HashMap::new(), names, free }
    }

    /// A value has been taken; its variable is free when it is not taken again.
    fn used(&mut self, value: ValueId) {
        let Some(left) = self.left.get_mut(&value) else { return };
        *left -= 1;
        if *left == 0
            && let Some(name) = self.of.get(&value)
            && self.live.remove(name).is_some()
            && CHAINED.contains(&name.as_str())
        {
            self.free.retain(|other| other != name);
            self.free.push(name.clone());
        }
    }

    /// The variable for a result.
    fn target(&mut self, value: ValueId, call: &Call) -> String {
        let left = self.left.get(&value).copied().unwrap_or(0);
        if left == 0 {
            return "_".to_owned();
        }
        let is_branch = matches!(call.item, Item::Scope(_)) && self.joined.contains(&value);
        let free = self.free.iter().rposition(|name| !self.live.contains_key(name));
        let name = match free {
            Some(at) if left == 1 && call.results.len() == 1 && !is_branch => {
                let name = self.free.remove(at);
                self.names.take(&name);
                name
            }
            _ => self.names.fresh(&label(call)),
        };
        self.of.insert(value, name.clone());
        self.live.insert(name.clone(), value);
        name
    }
}
