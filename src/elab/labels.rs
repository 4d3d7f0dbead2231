//! Labels: which can be seen from where, and the paths they make.
//!
//! A label is seen below it in its block, from inside groups too, and through labelled scopes by path; never across
//! the branches of a group and never from another block.

use std::collections::HashMap;

use super::error::{NameError, ValueError};
use super::value::{Tensor, Value};
use super::{Elab, Eval};
use crate::diag::{Span, codes, nearest};
use crate::dim::Dim;
use crate::syntax::ast::{Body, Call, If, LabelPart, Path, Source, StatementKind, ValueStatement};

/// Bytes of a label that is made of expressions.
const LONGEST: usize = 1 << 16;

/// How many labels are compared with a misspelt one.
const MOST_NEAR: usize = 2000;
/// After so many mistakes names are not compared any more.
const MISTAKES_NEAR: usize = 100;

/// What a label names, and the labels below it.
#[derive(Debug, Default)]
pub(super) struct LabelTree {
    value: Option<Tensor>,
    children: HashMap<String, LabelTree>,
}

impl LabelTree {
    fn insert(&mut self, path: &str, tree: LabelTree) {
        let mut at = self;
        for part in path.split('.') {
            at = at.children.entry(part.to_owned()).or_default();
        }
        at.merge(tree);
    }

    fn merge(&mut self, tree: LabelTree) {
        self.value = tree.value.or(self.value);
        if self.children.is_empty() {
            self.children = tree.children;
            return;
        }
        for (label, child) in tree.children {
            self.children.entry(label).or_default().merge(child);
        }
    }

    /// The value at a path; below a value that could not be made every label stands for one that could not.
    fn get(&self, path: &str) -> Option<Tensor> {
        let mut tree = self;
        for part in path.split('.') {
            match tree.children.get(part) {
                Some(child) => tree = child,
                None => return tree.value.filter(|value| *value == Tensor::Failed),
            }
        }
        tree.value
    }
}

/// Labels of one scope.
#[derive(Debug)]
pub(super) struct LabelScope {
    pub(super) tree: LabelTree,
    /// Whether the labels outside can be seen from inside: not across the border of a block.
    pub(super) open: bool,
}

impl Elab<'_> {
    pub(super) fn push_scope(&mut self, open: bool) {
        self.scopes.push(LabelScope { tree: LabelTree::default(), open });
    }

    pub(super) fn pop_scope(&mut self) -> LabelTree {
        self.scopes.pop().map(|scope| scope.tree).unwrap_or_default()
    }

    /// Makes a label seen from here on, with the labels that its scope holds.
    pub(super) fn define_label(&mut self, label: &str, value: Tensor, mut inner: LabelTree) {
        inner.value = Some(value);
        if let Some(scope) = self.scopes.last_mut() {
            scope.tree.insert(label, inner);
        }
    }

    /// Makes the labels in a body that is not elaborated stand for values whose mistake has been reported.
    pub(super) fn fail_labels(&mut self, body: &Body) {
        for statement in &body.statements {
            match &statement.kind {
                StatementKind::Value(value) => self.fail_labels_of(value),
                StatementKind::If(conditional) => self.fail_arms(conditional),
                StatementKind::Repeat(repeat) => self.fail_labels(&repeat.body),
                StatementKind::For(for_) => self.fail_labels(&for_.body),
                StatementKind::Let(_)
                | StatementKind::Input(_)
                | StatementKind::Output(_)
                | StatementKind::Preprocess(_)
                | StatementKind::Budget(_) => {}
            }
        }
    }

    /// The same for the bodies of an `if` that cannot be decided.
    pub(super) fn fail_arms(&mut self, conditional: &If) {
        conditional.arms.iter().for_each(|(_, body)| self.fail_labels(body));
        conditional.otherwise.iter().for_each(|body| self.fail_labels(body));
    }

    pub(super) fn fail_labels_of(&mut self, value: &ValueStatement) {
        for label in &value.labels {
            if let [LabelPart::Text(text)] = label.parts.as_slice() {
                self.define_label(text, Tensor::Failed, LabelTree::default());
            }
        }
        match &value.source {
            Source::Braces(body) | Source::From { body, .. } | Source::Call(Call { body: Some(body), .. })
                if value.labels.is_empty() =>
            {
                self.fail_labels(body);
            }
            Source::Braces(_) | Source::From { .. } | Source::Call(_) => {}
        }
    }

    /// Makes the labels of a branch seen by what stands below its group.
    pub(super) fn merge_labels(&mut self, inner: LabelTree) {
        if let Some(scope) = self.scopes.last_mut() {
            for (label, tree) in inner.children {
                scope.tree.insert(&label, tree);
            }
        }
    }

    /// Takes the full path of a label.
    pub(super) fn take_path(&mut self, label: &str, span: Span) -> Eval<()> {
        self.count_path(self.prefix.len() + label.len(), span)?;
        let path = format!("{}{label}", self.prefix);
        if let Some(&first) = self.paths.get(&path) {
            return Err(self.report(NameError::PathTwice { path, first, span }));
        }
        self.paths.insert(path, span);
        Ok(())
    }

    /// The text of a label or a path, its expressions evaluated.
    pub(super) fn label_text(&mut self, parts: &[LabelPart]) -> Eval<String> {
        let mut text = String::new();
        for part in parts {
            match part {
                LabelPart::Text(part) => text.push_str(part),
                LabelPart::Expr(expr) => match self.eval(expr)? {
                    Value::Int(value) if !value.is_symbolic() => text.push_str(&value.to_string()),
                    Value::Str(part) if LONGEST < text.len() + part.len() => {
                        let message = format!("a label of more than {LONGEST} bytes");
                        return Err(self.report(ValueError::Arithmetic { message, help: None, span: expr.span }));
                    }
                    Value::Str(part) => text.push_str(&part),
                    value => return Err(self.wrong_type("a label", "an integer or a string", &value, expr.span)),
                },
            }
        }
        Ok(text)
    }

    /// The value of the net that a text names: `in`, `prev`, a tensor parameter or a label.
    pub(super) fn find_tensor(&self, text: &str) -> Option<Tensor> {
        match text {
            "in" => self.frame().input,
            "prev" => self.above,
            _ => match self.find_name(text) {
                Some(Value::Tensor(tensor)) => Some(*tensor),
                _ => self.find_label(text),
            },
        }
    }

    fn find_label(&self, text: &str) -> Option<Tensor> {
        for scope in self.scopes.iter().rev() {
            if let Some(value) = scope.tree.get(text) {
                return Some(value);
            }
            if !scope.open {
                break;
            }
        }
        None
    }

    /// The value that is wanted as an operand.
    pub(super) fn operand(&mut self, path: &Path) -> Eval<Tensor> {
        let text = self.label_text(&path.parts)?;
        match self.find_tensor(&text) {
            Some(tensor) => Ok(tensor),
            None => Err(self.no_such_tensor(&text, path.span)),
        }
    }

    pub(super) fn no_such_tensor(&mut self, text: &str, span: Span) -> super::Reported {
        if let Some(kind) = self.find_name(text).map(Value::kind) {
            let what = "an operand".to_owned();
            let expected = "a value of the net".to_owned();
            return self.report(ValueError::Type { what, expected, found: kind.to_owned(), span });
        }
        if text == "prev" || text == "in" {
            let what = format!("`{text}`");
            return self.report(super::error::WiringError::NothingAbove { what, span });
        }
        if self.sink.has(codes::E0203, span) {
            return super::Reported;
        }
        let near = nearest(text, self.visible_labels().iter().map(String::as_str)).map(written);
        let suffix = format!(".{text}");
        let looked = if self.sink.errors() < MISTAKES_NEAR { Some(&self.paths) } else { None };
        let elsewhere = looked
            .into_iter()
            .flatten()
            .filter(|(path, _)| *path == text || path.ends_with(&suffix))
            .map(|(_, &span)| span)
            .min();
        let elsewhere = elsewhere.filter(|place| place.file == span.file);
        self.report(NameError::UnknownLabel { name: text.to_owned(), near, elsewhere, span })
    }

    /// Every label and tensor parameter that can be seen, by path, and `in` and `prev`.
    pub(super) fn visible_labels(&self) -> Vec<String> {
        if MISTAKES_NEAR <= self.sink.errors() {
            return Vec::new();
        }
        let mut labels = vec!["in".to_owned(), "prev".to_owned()];
        for scope in self.scopes.iter().rev() {
            collect(&scope.tree, "", &mut labels);
            if !scope.open {
                break;
            }
        }
        let tensors = self.frame().names.iter().filter(|(_, value)| matches!(value, Value::Tensor(_)));
        labels.extend(tensors.map(|(name, _)| name.to_owned()));
        labels.sort();
        labels
    }

    /// `x.c`, `x.h` or `x.w` of a value of the net; `None` when the text is not of this form or names no value.
    pub(super) fn find_size(&mut self, text: &str, span: Span) -> Option<Eval<Dim>> {
        let (base, axis) = text.rsplit_once('.')?;
        let axis_at = ["c", "h", "w"].iter().position(|&name| name == axis)?;
        let tensor = self.find_tensor(base)?;
        let Tensor::Value(value) = tensor else { return Some(Err(super::Reported)) };
        let shape = self.shapes.of(value).clone();
        Some(match shape.0.get(axis_at) {
            Some(dim) => Ok(dim.clone()),
            None => {
                let message = format!("`{base}` is {shape} and has no `{axis}`");
                Err(self.report(ValueError::Arithmetic { message, help: None, span }))
            }
        })
    }
}

/// A label as it is written where a value is meant.
fn written(label: &str) -> String {
    let plain = label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    if plain { label.to_owned() } else { format!("\"{}\"", label.replace('\\', "\\\\").replace('"', "\\\"")) }
}

fn collect(tree: &LabelTree, prefix: &str, labels: &mut Vec<String>) {
    // Enough to find a near name; a net may hold a million labels.
    if labels.len() > MOST_NEAR {
        return;
    }
    for (label, child) in &tree.children {
        let path = format!("{prefix}{label}");
        if child.value.is_some() {
            labels.push(path.clone());
        }
        collect(child, &format!("{path}."), labels);
    }
}
