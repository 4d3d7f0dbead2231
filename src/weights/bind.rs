//! Matches a checkpoint against the parameters that a net wants, strictly, and reports all that disagrees at once.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;

use rayon::prelude::*;

use super::error::show;
use super::glob;
use super::near::{near_names, prefix_hint};
use super::{Checkpoint, NonFinite, StoredTensor};

/// Lines of a group that are written out, and entries that get near names.
pub(super) const SHOWN: usize = 20;

/// A parameter or buffer of a net.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its path: `layer1.0.conv1.weight`.
    pub name: String,
    /// Its shape, axes in PyTorch's order.
    pub shape: Vec<u64>,
    /// Whether the net cannot do without it; false for `num_batches_tracked`.
    pub required: bool,
    /// Whether it belongs to a head that exists only in training: it may be absent, and any shape is accepted.
    pub train_only: bool,
}

/// What [`bind`] lets pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindOptions {
    /// Names that the net does not want and that are left out silently; `*` is any run of characters, `?` any one.
    pub ignore: Vec<String>,
    /// Whether NaN and infinity are let through.
    pub allow_non_finite: bool,
}

/// A checkpoint that fits.
#[derive(Clone, Debug)]
pub struct Bound {
    /// A tensor for each that was wanted, in that order; `None` only for those the net can do without.
    pub tensors: Vec<Option<StoredTensor>>,
    /// Names that a pattern let pass.
    pub ignored: Vec<String>,
    /// Patterns that no unexpected name met.
    pub idle_patterns: Vec<String>,
}

/// A name on one side only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmatched {
    /// The name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<u64>,
    /// Names on the other side that may be meant, the likeliest first. Looked for only for the first entries.
    pub near: Vec<String>,
}

/// A name on both sides with two shapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misshapen {
    /// The name.
    pub name: String,
    /// The shape in the net.
    pub wanted: Vec<u64>,
    /// The shape in the checkpoint.
    pub found: Vec<u64>,
}

/// Everything that keeps a checkpoint from fitting a net.
#[derive(Clone, Debug, PartialEq)]
pub struct BindError {
    /// The checkpoint's file; empty where it is not from one.
    pub path: PathBuf,
    /// Wanted by the net, not in the checkpoint; in the net's order.
    pub missing: Vec<Unmatched>,
    /// In the checkpoint, not wanted; in the file's order.
    pub unexpected: Vec<Unmatched>,
    /// Two shapes; in the net's order.
    pub misshapen: Vec<Misshapen>,
    /// NaN or infinite; in the net's order.
    pub non_finite: Vec<NonFinite>,
    /// A rename rule that would mend much of it.
    pub hint: Option<String>,
}

/// The tensors of `checkpoint` in the order of `wanted`.
///
/// # Errors
/// All names that are missing, unexpected or of another shape, and tensors with NaN or infinity.
pub fn bind(checkpoint: &Checkpoint, wanted: &[Wanted], options: &BindOptions) -> Result<Bound, Box<BindError>> {
    let mut error = BindError {
        path: checkpoint.path().to_owned(),
        missing: Vec::new(),
        unexpected: Vec::new(),
        misshapen: Vec::new(),
        non_finite: Vec::new(),
        hint: None,
    };
    let (mut tensors, mut looked_at) = (Vec::with_capacity(wanted.len()), Vec::new());
    for want in wanted {
        let tensor = checkpoint.get(&want.name);
        tensors.push(tensor.filter(|tensor| tensor.shape() == want.shape).cloned());
        match tensor {
            None if want.required && !want.train_only => error.missing.push(unmatched(&want.name, &want.shape)),
            Some(tensor) if tensor.shape() != want.shape && !want.train_only => error.misshapen.push(Misshapen {
                name: want.name.clone(),
                wanted: want.shape.clone(),
                found: tensor.shape().to_vec(),
            }),
            Some(tensor) if !want.train_only && !options.allow_non_finite => {
                looked_at.push((want, tensor));
            }
            None | Some(_) => {}
        }
    }
    error.non_finite = looked_at.par_iter().filter_map(|(want, tensor)| tensor.non_finite(&want.name)).collect();
    let names: HashSet<&str> = wanted.iter().map(|want| want.name.as_str()).collect();
    let mut ignored = Vec::new();
    let mut idle = vec![true; options.ignore.len()];
    for (name, tensor) in checkpoint.iter().filter(|(name, _)| !names.contains(name)) {
        let mut pass = false;
        for (pattern, idle) in options.ignore.iter().zip(&mut idle) {
            if glob::matches(pattern, name) {
                pass = true;
                *idle = false;
            }
        }
        if pass {
            ignored.push(name.to_owned());
        } else {
            error.unexpected.push(unmatched(name, tensor.shape()));
        }
    }
    if !error.is_empty() {
        error.look_for_names();
        return Err(Box::new(error));
    }
    let idle_patterns = options.ignore.iter().zip(idle).filter(|(_, idle)| *idle).map(|(p, _)| p.clone()).collect();
    Ok(Bound { tensors, ignored, idle_patterns })
}

fn unmatched(name: &str, shape: &[u64]) -> Unmatched {
    Unmatched { name: name.to_owned(), shape: shape.to_vec(), near: Vec::new() }
}

impl BindError {
    fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty() && self.non_finite.is_empty()
    }

    fn look_for_names(&mut self) {
        let near = |of: &[Unmatched], among: &[Unmatched]| -> Vec<Vec<String>> {
            of.iter().take(SHOWN).map(|entry| near_names(entry, among)).collect()
        };
        let (missing, unexpected) = (near(&self.missing, &self.unexpected), near(&self.unexpected, &self.missing));
        self.hint = prefix_hint(&self.missing, &self.unexpected);
        self.missing.iter_mut().zip(missing).for_each(|(entry, near)| entry.near = near);
        self.unexpected.iter_mut().zip(unexpected).for_each(|(entry, near)| entry.near = near);
    }
}

impl std::error::Error for BindError {}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.missing.len(), "missing"),
            (self.unexpected.len(), "unexpected"),
            (self.misshapen.len(), "of another shape"),
            (self.non_finite.len(), "not finite"),
        ];
        let counts: Vec<String> =
            counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if self.path.as_os_str().is_empty() {
            write!(f, "the checkpoint")?;
        } else {
            write!(f, "{}", self.path.display())?;
        }
        write!(f, ": does not fit the net: {}", counts.join(", "))?;
        let unmatched = |entry: &Unmatched| {
            let near: Vec<String> = entry.near.iter().map(|name| format!("`{}`", show(name))).collect();
            let near = if near.is_empty() { String::new() } else { format!("near: {}", near.join(", ")) };
            [show(&entry.name), shape(&entry.shape), near]
        };
        group(f, "missing from the checkpoint", &self.missing, unmatched)?;
        group(f, "unexpected in the checkpoint", &self.unexpected, unmatched)?;
        group(f, "of another shape", &self.misshapen, |entry| {
            let found = format!("in the net, {} in the checkpoint", shape(&entry.found));
            [show(&entry.name), shape(&entry.wanted), found]
        })?;
        group(f, "not finite", &self.non_finite, |entry| {
            let rest = if entry.count > 1 { format!("first of {}", entry.count) } else { String::new() };
            [show(&entry.name), format!("{} at {}", entry.value, shape(&entry.index)), rest]
        })?;
        self.helps().iter().try_for_each(|help| write!(f, "\n  help: {help}"))
    }
}

impl BindError {
    /// What to do, a line each.
    fn helps(&self) -> Vec<String> {
        let mut helps = Vec::new();
        if let Some(hint) = &self.hint {
            helps.push(hint.clone());
        } else if !self.missing.is_empty() && !self.unexpected.is_empty() {
            helps.push("where only names differ, give them with --rename MAP.toml".into());
        } else if !self.missing.is_empty() {
            helps.push("the checkpoint is of another net, or only of a part of this one".into());
        }
        if let (true, Some(first)) = (self.missing.is_empty(), self.unexpected.first()) {
            let root = first.name.split('.').next().unwrap_or_default();
            helps.push(format!("what the net has no use for is left out with --ignore '{}*'", show(root)));
        }
        if !self.misshapen.is_empty() {
            helps.push("the net's arguments (classes, widths) have to be those of the checkpoint: --set".into());
        }
        if !self.non_finite.is_empty() {
            helps.push("the training that wrote them diverged; take an earlier checkpoint".into());
        }
        helps
    }
}

fn shape(sizes: &[u64]) -> String {
    format!("{sizes:?}")
}

/// A heading and the first entries in columns.
fn group<T>(f: &mut fmt::Formatter<'_>, title: &str, entries: &[T], row: impl Fn(&T) -> [String; 3]) -> fmt::Result {
    if entries.is_empty() {
        return Ok(());
    }
    write!(f, "\n  {title}:")?;
    let rows: Vec<[String; 3]> = entries.iter().take(SHOWN).map(row).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    for [a, b, c] in &rows {
        let line = format!("    {a:first$}  {b:second$}  {c}");
        write!(f, "\n{}", line.trim_end())?;
    }
    if entries.len() > SHOWN {
        write!(f, "\n    and {} more", entries.len() - SHOWN)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn checkpoint(entries: &[(&str, &[u64])]) -> Checkpoint {
        let mut checkpoint = Checkpoint::new();
        for &(name, shape) in entries {
            let n = shape.iter().product::<u64>() as usize;
            checkpoint.insert(name, StoredTensor::from_f32(shape.to_vec(), vec![0.5; n]).unwrap());
        }
        checkpoint
    }

    fn want(name: &str, shape: &[u64]) -> Wanted {
        Wanted { name: name.into(), shape: shape.to_vec(), required: true, train_only: false }
    }

    #[test]
    fn tensors_come_in_the_order_wanted() {
        let checkpoint = checkpoint(&[("a", &[1]), ("b", &[2])]);
        let bound = bind(&checkpoint, &[want("b", &[2]), want("a", &[1])], &BindOptions::default()).unwrap();
        let shapes: Vec<_> = bound.tensors.iter().map(|t| t.as_ref().unwrap().shape()).collect();
        assert_eq!(shapes, [[2], [1]]);
    }

    #[test]
    fn optional_and_train_only_names_may_be_absent_or_there() {
        let optional = Wanted { required: false, ..want("bn.num_batches_tracked", &[]) };
        let head = Wanted { train_only: true, ..want("aux.weight", &[4]) };
        let wanted = [want("a", &[1]), optional, head];
        let options = BindOptions::default();
        let bound = bind(&checkpoint(&[("a", &[1])]), &wanted, &options).unwrap();
        assert!(bound.tensors[1].is_none() && bound.tensors[2].is_none());
        let both = checkpoint(&[("a", &[1]), ("aux.weight", &[4]), ("bn.num_batches_tracked", &[])]);
        assert!(bind(&both, &wanted, &options).unwrap().tensors.iter().all(Option::is_some));
        let other_head = checkpoint(&[("a", &[1]), ("aux.weight", &[7])]);
        assert!(bind(&other_head, &wanted, &options).unwrap().tensors[2].is_none());
        let other_counter = checkpoint(&[("a", &[1]), ("bn.num_batches_tracked", &[2])]);
        assert_eq!(bind(&other_counter, &wanted, &options).unwrap_err().misshapen.len(), 1);
    }

    #[test]
    fn unexpected_names_are_refused_unless_ignored() {
        let checkpoint = checkpoint(&[("a", &[1]), ("aux1.w", &[2]), ("aux2.w", &[2])]);
        let error = bind(&checkpoint, &[want("a", &[1])], &BindOptions::default()).unwrap_err();
        assert_eq!(error.unexpected.len(), 2);
        assert!(error.to_string().contains("--ignore 'aux1*'"), "{error}");
        let options = BindOptions { ignore: vec!["aux*".into(), "zzz*".into()], ..BindOptions::default() };
        let bound = bind(&checkpoint, &[want("a", &[1])], &options).unwrap();
        assert_eq!((bound.ignored, bound.idle_patterns), (vec!["aux1.w".into(), "aux2.w".into()], vec!["zzz*".into()]));
    }

    #[test]
    fn nan_is_refused_unless_allowed_and_only_where_it_is_used() {
        let mut checkpoint = checkpoint(&[("a", &[1])]);
        checkpoint.insert("w", StoredTensor::from_f32(vec![2, 2], vec![0.0, 0.0, f32::NAN, 0.0]).unwrap());
        let wanted = [want("a", &[1]), want("w", &[2, 2])];
        let error = bind(&checkpoint, &wanted, &BindOptions::default()).unwrap_err();
        assert_eq!(error.non_finite[0].index, [1, 0]);
        assert!(error.to_string().contains("w  NaN at [1, 0]"), "{error}");
        let options = BindOptions { allow_non_finite: true, ..BindOptions::default() };
        assert!(bind(&checkpoint, &wanted, &options).is_ok());
        let options = BindOptions { ignore: vec!["w".into()], ..BindOptions::default() };
        assert!(bind(&checkpoint, &wanted[..1], &options).is_ok());
    }

    #[test]
    fn everything_is_reported_at_once() {
        let mut checkpoint = checkpoint(&[
            ("conv1.weight", &[64, 1, 7, 7]),
            ("layer1.0.conv1.wieght", &[64, 64, 3, 3]),
            ("classifier.weight", &[10, 512]),
        ]);
        let broken = vec![f32::INFINITY, f32::NAN, f32::NEG_INFINITY];
        checkpoint.insert("bn1.running_var", StoredTensor::from_f32(vec![3], broken).unwrap());
        let wanted = [
            want("conv1.weight", &[64, 3, 7, 7]),
            want("bn1.running_var", &[3]),
            want("layer1.0.conv1.weight", &[64, 64, 3, 3]),
            want("fc.weight", &[10, 512]),
            want("fc.bias", &[10]),
        ];
        let error = bind(&checkpoint, &wanted, &BindOptions::default()).unwrap_err();
        insta::assert_snapshot!(error.to_string(), @r"
        the checkpoint: does not fit the net: 3 missing, 2 unexpected, 1 of another shape, 1 not finite
          missing from the checkpoint:
            layer1.0.conv1.weight  [64, 64, 3, 3]  near: `layer1.0.conv1.wieght`
            fc.weight              [10, 512]       near: `classifier.weight`
            fc.bias                [10]
          unexpected in the checkpoint:
            layer1.0.conv1.wieght  [64, 64, 3, 3]  near: `layer1.0.conv1.weight`
            classifier.weight      [10, 512]       near: `fc.weight`
          of another shape:
            conv1.weight  [64, 3, 7, 7]  in the net, [64, 1, 7, 7] in the checkpoint
          not finite:
            bn1.running_var  inf at [0]  first of 3
          help: where only names differ, give them with --rename MAP.toml
          help: the net's arguments (classes, widths) have to be those of the checkpoint: --set
          help: the training that wrote them diverged; take an earlier checkpoint
        ");
    }

    #[test]
    fn a_prefix_on_one_side_is_named() {
        let inner: &[(&str, &[u64])] = &[("conv.weight", &[4]), ("conv.bias", &[1]), ("fc.weight", &[8])];
        let outer: &[(&str, &[u64])] = &[("net.conv.weight", &[4]), ("net.conv.bias", &[1]), ("net.fc.weight", &[8])];
        let wanted = |names: &[(&str, &[u64])]| names.iter().map(|(n, s)| want(n, s)).collect::<Vec<_>>();
        let options = BindOptions::default();
        let error = bind(&checkpoint(outer), &wanted(inner), &options).unwrap_err();
        assert!(error.to_string().contains(r#"[prefix] "net." = """#), "{error}");
        let error = bind(&checkpoint(inner), &wanted(outer), &options).unwrap_err();
        assert!(error.to_string().contains(r#"[patterns] "*" = "net.*""#), "{error}");
    }

    #[test]
    fn long_groups_are_cut_and_counted() {
        let names: Vec<String> = (0..50_000).map(|i| format!("block{i}.weight")).collect();
        let entries: Vec<(&str, &[u64])> = names.iter().map(|n| (n.as_str(), &[1u64][..])).collect();
        let wanted: Vec<Wanted> = (0..50_000).map(|i| want(&format!("blok{i}.weight"), &[1])).collect();
        let error = bind(&checkpoint(&entries), &wanted, &BindOptions::default()).unwrap_err();
        let text = error.to_string();
        assert_eq!(text.lines().filter(|line| line.starts_with("    ")).count(), 2 * (SHOWN + 1), "{text}");
        assert!(text.contains("and 49980 more"), "{text}");
    }
}
