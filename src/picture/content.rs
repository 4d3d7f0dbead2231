//! What the places of a tree hold together: layers, parameters, operations, and the block call around them.

use std::collections::HashMap;
use std::sync::Arc;

use super::font::shortened;
use super::model::{MAX_DETAIL, MAX_NAME};
use super::tree::{Place, Tree};
use crate::cost::number::{grouped, short};
use crate::dim::Dim;
use crate::ir::{CallSite, Net};
use crate::op::Op;
use crate::shape::Shapes;

/// What layers cost together.
#[derive(Clone)]
pub(super) struct Sum {
    layers: usize,
    params: Option<u64>,
    macs: Option<Dim>,
}

impl Sum {
    const ZERO: Sum = Sum { layers: 0, params: Some(0), macs: Some(Dim::ZERO) };

    fn add(&mut self, other: &Sum) {
        self.layers += other.layers;
        self.params = self.params.zip(other.params).and_then(|(a, b)| a.checked_add(b));
        self.macs = self.macs.take().zip(other.macs.as_ref()).and_then(|(a, b)| a.add(b).ok());
    }
}

/// What a place holds: layers that always run, layers of training only, and the innermost block call around all.
#[derive(Clone)]
pub(super) struct Content {
    run: Sum,
    train: Sum,
    pub(super) call: Option<Arc<CallSite>>,
    some: bool,
}

impl Content {
    const EMPTY: Content = Content { run: Sum::ZERO, train: Sum::ZERO, call: None, some: false };

    fn take(&mut self, other: Content) {
        self.call = if self.some { common(self.call.take(), other.call) } else { other.call };
        self.some |= other.some;
        self.run.add(&other.run);
        self.train.add(&other.train);
    }

    /// Whether all of it exists in training only.
    pub(super) fn train_only(&self) -> bool {
        self.run.layers == 0 && 0 < self.train.layers
    }

    /// What counts: without the layers of training, unless there are no others.
    pub(super) fn sum(&self) -> &Sum {
        if self.train_only() { &self.train } else { &self.run }
    }
}

pub(super) fn contents(net: &Net, shapes: &Shapes, tree: &Tree, train: &[bool]) -> Vec<Content> {
    let mut contents = vec![Content::EMPTY; tree.places.len()];
    for id in net.nodes() {
        let op = &net.node(id).op;
        let specs = shapes.params(net, id);
        let elements = |sum: u64, spec: &crate::op::ParamSpec| sum.checked_add(spec.elements()?);
        let sum = Sum {
            layers: usize::from(!matches!(op, Op::Input(_))),
            params: specs.iter().filter(|spec| spec.role.trainable()).try_fold(0, elements),
            macs: op.cost(&shapes.operands(net, id), shapes.results(id)).ok().map(|cost| cost.macs),
        };
        let (run, train) = if train[id.index()] { (Sum::ZERO, sum) } else { (sum, Sum::ZERO) };
        let call = net.node(id).origin.call.clone();
        contents[tree.of[id.index()]].take(Content { run, train, call, some: true });
    }
    for at in (1..contents.len()).rev() {
        let content = contents[at].clone();
        contents[tree.places[at].parent].take(content);
    }
    contents
}

fn depth(call: Option<&Arc<CallSite>>) -> usize {
    std::iter::successors(call, |call| call.caller.as_ref()).count()
}

/// The innermost block call around both.
fn common(mut a: Option<Arc<CallSite>>, mut b: Option<Arc<CallSite>>) -> Option<Arc<CallSite>> {
    let up = |call: &mut Option<Arc<CallSite>>| *call = call.take().and_then(|call| call.caller.clone());
    loop {
        match (&a, &b) {
            (Some(x), Some(y)) if Arc::ptr_eq(x, y) => return a,
            (None, _) | (_, None) => return None,
            _ => {}
        }
        let (own, other) = (depth(a.as_ref()), depth(b.as_ref()));
        if other <= own {
            up(&mut a);
        }
        if own <= other {
            up(&mut b);
        }
    }
}

/// How many places in a scope a block call is around.
pub(super) type Calls = HashMap<(usize, *const CallSite), usize>;

pub(super) fn calls(tree: &Tree, contents: &[Content]) -> Calls {
    let mut calls = Calls::new();
    for (place, content) in tree.places.iter().zip(contents) {
        if let Some(call) = &content.call {
            *calls.entry((place.parent, Arc::as_ptr(call))).or_default() += 1;
        }
    }
    calls
}

/// The block that a cluster is: the call around all that is in it, and around nothing else.
pub(super) fn block(
    call: Option<&Arc<CallSite>>,
    outer: Option<&Arc<CallSite>>,
    calls: &Calls,
    parent: usize,
) -> String {
    let alone = |call: &Arc<CallSite>| calls.get(&(parent, Arc::as_ptr(call))) == Some(&1);
    match call {
        Some(inner) if depth(outer) < depth(call) && alone(inner) => shortened(&inner.block, MAX_NAME),
        _ => String::new(),
    }
}

pub(super) fn words(sum: &Sum) -> String {
    let number = |count: &Dim| match count.as_u64() {
        Some(count) => short(count as f64),
        None => shortened(&grouped(count), MAX_DETAIL),
    };
    let mut words = vec![format!("{} layer{}", sum.layers, if sum.layers == 1 { "" } else { "s" })];
    words.extend(sum.params.map(|params| format!("{} params", number(&Dim::from(params)))));
    words.extend(sum.macs.as_ref().map(|macs| format!("{} MACs", number(macs))));
    words.join(", ")
}

/// The layers of a place that do something.
pub(super) fn weight(net: &Net, place: &Place, sum: &Sum) -> usize {
    match place.nodes[..] {
        [id] if matches!(net.node(id).op, Op::Identity(_)) => 0,
        _ => sum.layers,
    }
}
