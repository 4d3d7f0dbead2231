//! Blocks out of scopes that are alike but for their arguments, and loops out of statements that follow each other.
//!
//! Scopes get a class each, inner ones first: those with the same skeleton have the same. A class that the text would have
//! twice or more becomes a block. Its arguments that differ become parameters, one for all that differ alike.

use std::collections::{HashMap, HashSet};

use super::columns::{Argument, parameters};
use super::scope::is_number;
use super::{Arg, Block, Outline, Statement, What};
use crate::op::{self, Value};
use crate::syntax::KEYWORDS;
use crate::tensor::Shape;

/// The outline of statements.
pub fn blocks(mut body: Vec<Statement>) -> Outline {
    let mut classes = Classes::default();
    body.iter_mut().for_each(|statement| classes.assign(statement));
    let counts = classes.occurrences(&body);
    let mut outline = Outline::default();
    let mut taken: HashSet<String> = HashSet::new();
    let worth = counts.iter().zip(&classes.small).map(|(&count, small)| 2 <= count && !small);
    for (class, _) in worth.enumerate().filter(|(_, worth)| *worth) {
        let mut instances = Vec::new();
        collect(&body, class, &mut instances);
        let Some(made) = Made::of(&instances, &outline, &mut taken) else { continue };
        let block = outline.blocks.len();
        outline.blocks.push(made.block);
        let mut rows = made.arguments.into_iter();
        body.iter_mut().for_each(|statement| call(statement, class, block, &mut rows));
    }
    for block in &mut outline.blocks {
        block.body = looped(std::mem::take(&mut block.body), false);
    }
    outline.body = looped(body, false);
    outline
}

#[derive(Default)]
struct Classes {
    keys: HashMap<String, usize>,
    /// Whether a class is a single layer, or takes values from outside, and no block.
    small: Vec<bool>,
    /// A statement of each class, its own scopes as classes.
    first: Vec<Statement>,
}

impl Classes {
    /// Gives a statement, and what is in it, their classes.
    fn assign(&mut self, statement: &mut Statement) {
        parts_mut(statement).into_iter().for_each(|part| self.assign(part));
        if statement.label.is_none() || !matches!(statement.what, What::Chain { .. } | What::Group { .. }) {
            return;
        }
        let key = skeleton(&statement.what);
        let next = self.keys.len();
        let class = *self.keys.entry(key).or_insert(next);
        if class == next {
            self.small.push(layers(&statement.what) < 2 || !is_closed(&statement.what));
            self.first.push(statement.clone());
        }
        statement.class = Some(class);
    }

    /// How often each class stands in the text, if each class were written once.
    fn occurrences(&self, body: &[Statement]) -> Vec<usize> {
        let mut counts = vec![0; self.keys.len()];
        body.iter().for_each(|statement| count(statement, &mut counts));
        // A class stands in the text of those that come behind it.
        for class in (0..self.first.len()).rev() {
            if counts[class] > 0 {
                parts(&self.first[class]).into_iter().for_each(|part| count(part, &mut counts));
            }
        }
        counts
    }
}

fn count(statement: &Statement, counts: &mut [usize]) {
    match statement.class {
        Some(class) => counts[class] += 1,
        None => parts(statement).into_iter().for_each(|part| count(part, counts)),
    }
}

fn parts(statement: &Statement) -> Vec<&Statement> {
    match &statement.what {
        What::Group { branches: parts, .. } | What::Chain { body: parts, .. } | What::From { body: parts, .. } => {
            parts.iter().collect()
        }
        What::Repeat { statement, .. } => vec![statement],
        What::Layer { .. } | What::Call { .. } | What::Output(_) => Vec::new(),
    }
}

fn parts_mut(statement: &mut Statement) -> Vec<&mut Statement> {
    match &mut statement.what {
        What::Group { branches: parts, .. } | What::Chain { body: parts, .. } | What::From { body: parts, .. } => {
            parts.iter_mut().collect()
        }
        What::Repeat { statement, .. } => vec![statement],
        What::Layer { .. } | What::Call { .. } | What::Output(_) => Vec::new(),
    }
}

fn layers(what: &What) -> usize {
    match what {
        What::Layer { .. } => 1,
        What::Call { .. } => 2,
        What::Output(_) => 0,
        What::Repeat { statement, .. } => layers(&statement.what),
        What::Group { branches: parts, .. } => 1 + parts.iter().map(|part| layers(&part.what)).sum::<usize>(),
        What::Chain { body: parts, .. } | What::From { body: parts, .. } => {
            parts.iter().map(|part| layers(&part.what)).sum()
        }
    }
}

/// Whether every value that is taken by name has its label inside, and no output of the net is in it.
fn is_closed(what: &What) -> bool {
    let (mut labels, mut wanted) = (HashSet::new(), Vec::new());
    let statement = Statement { what: what.clone(), ..Statement::default() };
    let open = gather(&statement, "", &mut labels, &mut wanted);
    !open && wanted.iter().all(|path| labels.contains(path))
}

/// Collects labels and the paths that are taken by name; says whether an output is among the statements.
fn gather(statement: &Statement, scope: &str, labels: &mut HashSet<String>, wanted: &mut Vec<String>) -> bool {
    let own = |label: &String| if scope.is_empty() { label.clone() } else { format!("{scope}.{label}") };
    labels.extend(statement.label.iter().chain(&statement.others).map(own));
    match &statement.what {
        What::Layer { operands, .. } => wanted.extend(operands.iter().cloned()),
        What::From { value, .. } => wanted.push(value.clone()),
        What::Output(_) => return true,
        What::Group { .. } | What::Chain { .. } | What::Call { .. } | What::Repeat { .. } => {}
    }
    let inner = statement.label.as_ref().map_or(scope.to_owned(), own);
    let open: Vec<bool> = parts(statement).into_iter().map(|part| gather(part, &inner, labels, wanted)).collect();
    open.contains(&true)
}

/// What a statement is but for its arguments; scopes that have a class are that class.
fn skeleton(what: &What) -> String {
    let inner = |parts: &[Statement]| -> String {
        let one = |part: &Statement| {
            let label = part.label.iter().chain(&part.others).cloned().collect::<Vec<_>>().join(",");
            match part.class {
                Some(class) => format!("{label}:#{class};"),
                None => format!("{label}:{};", skeleton(&part.what)),
            }
        };
        parts.iter().map(one).collect()
    };
    match what {
        What::Layer { layer, args, operands } => {
            let words: Vec<String> = args.iter().map(|(name, arg)| format!("{name}{}", fixed(arg))).collect();
            format!("{layer}({})[{}]", words.join(","), operands.join(","))
        }
        What::Group { layer, args, branches } => {
            let words: Vec<String> = args.iter().map(|(name, arg)| format!("{name}{}", fixed(arg))).collect();
            format!("{layer}({}){{{}}}", words.join(","), inner(branches))
        }
        What::Chain { numbered, body } => format!("{numbered}{{{}}}", inner(body)),
        What::From { value, body } => format!("from {value}{{{}}}", inner(body)),
        What::Call { block, .. } => format!("call {block}"),
        What::Repeat { times, statement, .. } => format!("{times}{{{}}}", inner(std::slice::from_ref(statement))),
        What::Output(at) => format!("output {at}"),
    }
}

/// Arguments that are no numbers belong to the skeleton.
fn fixed(arg: &Arg) -> String {
    match arg {
        Arg::Value(Value::Int(_) | Value::Float(_) | Value::Bool(_)) => String::new(),
        Arg::Value(Value::List(values)) if values.iter().all(|value| matches!(value, Value::Int(_))) => String::new(),
        other => format!("={other:?}"),
    }
}

/// The statements of a class, wherever they stand.
fn collect<'a>(body: &'a [Statement], class: usize, found: &mut Vec<&'a Statement>) {
    for statement in body {
        if statement.class == Some(class) {
            found.push(statement);
        }
        for part in parts(statement) {
            collect(std::slice::from_ref(part), class, found);
        }
    }
}

/// Puts a call in the place of each statement of a class.
fn call(statement: &mut Statement, class: usize, block: usize, rows: &mut impl Iterator<Item = Vec<Arg>>) {
    if statement.class == Some(class) {
        if let Some(args) = rows.next() {
            statement.what = What::Call { block, args };
        }
        return;
    }
    parts_mut(statement).into_iter().for_each(|part| call(part, class, block, rows));
}

/// An argument of a statement in a block: where it stands, and what it is for.
struct Slot {
    /// The labels around it and its own.
    label: String,
    name: String,
    /// What the language takes where it is not given.
    default: Option<Value>,
}

struct Made {
    block: Block,
    /// The arguments of each instance.
    arguments: Vec<Vec<Arg>>,
}

impl Made {
    /// A block out of statements that are alike; `None` where an argument is no value.
    fn of(instances: &[&Statement], outline: &Outline, taken: &mut HashSet<String>) -> Option<Made> {
        let mut template = (*instances.first()?).clone();
        let mut slots = Vec::new();
        each_arg(&mut template, "", outline, &mut |slot, _| slots.push(slot));
        let mut rows: Vec<Vec<Value>> = Vec::new();
        for instance in instances {
            let mut row = Vec::new();
            let mut copy = (*instance).clone();
            let mut plain = true;
            each_arg(&mut copy, "", outline, &mut |_, arg| match arg {
                Arg::Value(value) => row.push(value.clone()),
                Arg::Param(..) => plain = false,
            });
            if !plain || row.len() != slots.len() {
                return None;
            }
            rows.push(row);
        }
        let columns: Vec<Vec<&Value>> = (0..slots.len()).map(|at| rows.iter().map(|row| &row[at]).collect()).collect();
        let (map, bases) = parameters(&columns);
        let map = map.into_iter().zip(&columns).map(|(parameter, column)| {
            parameter.map_or_else(|| Arg::Value(column[0].clone()), |(param, times)| Arg::Param(param, times))
        });
        let params = named(&bases, &slots, &columns);
        let mut next = map;
        each_arg(&mut template, "", outline, &mut |_, arg| {
            if let Some(mapped) = next.next() {
                *arg = mapped;
            }
        });
        // Parameters without a default come first.
        let mut order: Vec<usize> = (0..params.len()).collect();
        order.sort_by_key(|&at| params[at].1.is_some());
        let place = |at: usize| order.iter().position(|&old| old == at).unwrap_or(at);
        each_arg(&mut template, "", outline, &mut |_, arg| {
            if let Arg::Param(at, _) = arg {
                *at = place(*at);
            }
        });
        let arguments =
            rows.iter().map(|row| order.iter().map(|&at| Arg::Value(row[bases[at]].clone())).collect()).collect();
        let name = block_name(instances, outline, taken);
        let body = match template.what {
            What::Chain { numbered: false, body } => body,
            what => vec![Statement { what, ..Statement::default() }],
        };
        let block = Block { name, params: order.iter().map(|&at| params[at].clone()).collect(), body: unclaimed(body) };
        Some(Made { block, arguments })
    }
}

fn unclaimed(mut body: Vec<Statement>) -> Vec<Statement> {
    for statement in &mut body {
        statement.claim = None;
        parts_mut(statement).into_iter().for_each(|part| part.claim = None);
    }
    body
}

/// Visits every argument of the layers and calls in a statement, in order.
fn each_arg(statement: &mut Statement, scope: &str, outline: &Outline, visit: &mut impl FnMut(Slot, &mut Arg)) {
    let label = match (&statement.label, scope) {
        (None, _) => scope.to_owned(),
        (Some(label), "") => label.clone(),
        (Some(label), _) => format!("{scope}_{label}"),
    };
    match &mut statement.what {
        What::Layer { layer, args, .. } | What::Group { layer, args, .. } => {
            let signature = op::signatures().find(|signature| signature.layer == *layer);
            for (name, arg) in args.iter_mut().filter(|(_, arg)| matches!(arg, Arg::Param(..)) || fixed(arg).is_empty())
            {
                let text = signature
                    .and_then(|signature| signature.params.iter().find(|param| param.name == *name))
                    .map(|param| param.default);
                let default = text.and_then(|text| match text {
                    "true" => Some(Value::Bool(true)),
                    "false" => Some(Value::Bool(false)),
                    text => text.parse().ok().map(Value::int),
                });
                visit(Slot { label: label.clone(), name: (*name).to_owned(), default }, arg);
            }
        }
        What::Call { block, args } => {
            for ((name, default), arg) in outline.blocks[*block].params.iter().zip(args) {
                visit(Slot { label: label.clone(), name: name.clone(), default: default.clone() }, arg);
            }
        }
        What::Chain { .. } | What::From { .. } | What::Repeat { .. } | What::Output(_) => {}
    }
    // The label of the outermost statement is not part of the block.
    let inner = if scope.is_empty() && statement.class.is_some() { String::new() } else { label };
    parts_mut(statement).into_iter().for_each(|part| each_arg(part, &inner, outline, visit));
}

impl Argument for Value {
    fn positive(&self) -> Option<u64> {
        match self {
            Value::Int(dim) => dim.as_u64().filter(|&value| value > 0),
            _ => None,
        }
    }
}

/// Names and defaults of parameters.
fn named(bases: &[usize], slots: &[Slot], columns: &[Vec<&Value>]) -> Vec<(String, Option<Value>)> {
    let alone = |name: &str| bases.iter().filter(|&&at| slots[at].name == name).count() == 1;
    let mut taken = HashSet::new();
    bases
        .iter()
        .map(|&at| {
            let slot = &slots[at];
            let mut name = if alone(&slot.name) || slot.label.is_empty() {
                slot.name.clone()
            } else if slot.name == "channels" || slot.name.starts_with("channels") {
                slot.label.clone()
            } else {
                format!("{}_{}", slot.label, slot.name)
            };
            name = name.replace(['.', '-'], "_");
            if name.starts_with(|c: char| c.is_ascii_digit()) || KEYWORDS.contains(&name.as_str()) {
                name = format!("{}_{name}", slot.name);
            }
            let stem = name.clone();
            let mut number = 2;
            while !taken.insert(name.clone()) {
                name = format!("{stem}_{number}");
                number += 1;
            }
            let default = slot.default.clone().filter(|default| columns[at].contains(&default));
            (name, default)
        })
        .collect()
}

/// A name for a block: what the labels of its calls begin with, or what it is.
fn block_name(instances: &[&Statement], outline: &Outline, taken: &mut HashSet<String>) -> String {
    let labels: Vec<&str> = instances.iter().filter_map(|instance| instance.label.as_deref()).collect();
    let mut common = labels.first().copied().unwrap_or("").to_owned();
    for label in &labels {
        let shared = common.chars().zip(label.chars()).take_while(|(a, b)| a == b).count();
        common.truncate(shared);
    }
    let stem = common.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_' || c == '.').replace('.', "_");
    let is_word = 2 <= stem.len() && stem != "unit" && stem.starts_with(|c: char| c.is_ascii_alphabetic());
    let clashes = |name: &str| {
        KEYWORDS.contains(&name) || op::signatures().any(|signature| signature.layer == name) || name == "sequential"
    };
    let mut name = if is_word && stem.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        if clashes(&stem) { format!("{stem}_block") } else { stem }
    } else {
        kind(&instances[0].what, outline).to_owned()
    };
    let stem = name.clone();
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{stem}_{number}");
        number += 1;
    }
    name
}

/// What a scope is, by the layers in it.
fn kind(what: &What, outline: &Outline) -> &'static str {
    let mut kernels = Vec::new();
    let mut found = Vec::new();
    kernels_of(what, outline, &mut kernels, &mut found);
    let has = |layer: &str| found.contains(&layer);
    match kernels.as_slice() {
        _ if has("depthwise") && has("add") => "inverted_residual",
        [1, 3, 1, ..] if has("add") => "bottleneck",
        [3, 3, ..] if has("add") => "basic_block",
        _ if has("add") => "residual",
        _ if has("depthwise") => "separable",
        _ if has("concat") => "inception",
        _ if has("bn") => "conv_bn",
        _ => "unit",
    }
}

fn kernels_of(what: &What, outline: &Outline, kernels: &mut Vec<u64>, found: &mut Vec<&'static str>) {
    match what {
        What::Layer { layer, args, .. } => {
            found.push(layer);
            if let Some((_, Arg::Value(Value::Int(kernel)))) =
                args.iter().find(|(name, _)| *name == "kernel" && *layer == "conv")
            {
                kernels.extend(kernel.as_u64());
            }
        }
        What::Group { layer, branches, .. } => {
            found.push(layer);
            branches.iter().for_each(|part| kernels_of(&part.what, outline, kernels, found));
        }
        What::Chain { body, .. } | What::From { body, .. } => {
            body.iter().for_each(|part| kernels_of(&part.what, outline, kernels, found))
        }
        What::Repeat { statement, .. } => kernels_of(&statement.what, outline, kernels, found),
        What::Call { block, .. } => {
            outline.blocks[*block].body.iter().for_each(|part| kernels_of(&part.what, outline, kernels, found))
        }
        What::Output(_) => {}
    }
}

/// Statements that follow each other and are equal, or count in their labels, as loops. In a chain that gives numbers
/// itself these need no label.
fn looped(mut body: Vec<Statement>, numbered: bool) -> Vec<Statement> {
    if numbered {
        body.iter_mut()
            .filter(|statement| is_number(statement.label.as_deref()))
            .for_each(|statement| statement.label = None);
    }
    let mut done: Vec<Statement> = Vec::new();
    let mut rest = body.into_iter().map(inner_looped).peekable();
    while let Some(first) = rest.next() {
        let counter = first.label.as_deref().and_then(numbered_label);
        let mut claims = vec![first.claim.clone()];
        let mut times = 1;
        while let Some(next) = rest.peek() {
            let follows = match (&counter, next.label.as_deref().and_then(numbered_label)) {
                (Some((stem, from)), Some((other, number))) => *stem == other && from + times as u64 == number,
                (None, None) => first.label.is_none() && next.label.is_none(),
                _ => false,
            };
            let alike = follows && next.others.is_empty() && next.what == first.what && layers(&next.what) >= 1;
            if !alike || matches!(next.what, What::Output(_)) {
                break;
            }
            claims.extend(rest.next().map(|next| next.claim));
            times += 1;
        }
        if times < 3 {
            done.extend(claims.into_iter().enumerate().map(|(at, claim)| repeated(&first, &counter, at, claim)));
            continue;
        }
        let label = counter.as_ref().map(|(stem, _)| format!("{stem}{{i}}"));
        // A claim in a loop speaks of every turn.
        let claim = if claims[1..].iter().all(Option::is_none) { claims.swap_remove(0) } else { None };
        let statement = Box::new(Statement { label, claim, ..first });
        let what = What::Repeat { times, first: counter.map(|(_, from)| from), statement };
        done.push(Statement { what, ..Statement::default() });
    }
    done
}

/// The statement as it stands the next time.
fn repeated(first: &Statement, counter: &Option<(String, u64)>, at: usize, claim: Option<Shape>) -> Statement {
    let label = counter.as_ref().map(|(stem, from)| format!("{stem}{}", from + at as u64));
    Statement { label: label.or_else(|| first.label.clone()), claim, ..first.clone() }
}

fn inner_looped(mut statement: Statement) -> Statement {
    match &mut statement.what {
        What::Chain { numbered, body } => *body = looped(std::mem::take(body), *numbered),
        What::From { body, .. } => *body = looped(std::mem::take(body), false),
        What::Group { branches, .. } => *branches = std::mem::take(branches).into_iter().map(inner_looped).collect(),
        What::Layer { .. } | What::Call { .. } | What::Repeat { .. } | What::Output(_) => {}
    }
    statement
}

/// `conv` and 3 of `conv3`: a label that ends in a number without zeros in front.
fn numbered_label(label: &str) -> Option<(String, u64)> {
    let stem = label.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &label[stem.len()..];
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits && !KEYWORDS.contains(&stem)).then(|| (stem.to_owned(), number))
}
