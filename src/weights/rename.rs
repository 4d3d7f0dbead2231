//! Rules that give a checkpoint's tensors the names that a net wants, read from TOML.
//!
//! ```toml
//! [names]                                  # a whole name
//! "classifier.weight" = "fc.weight"
//! [prefix]                                 # how names begin; "" takes it off
//! "backbone." = ""
//! [patterns]                               # `*` is any run of characters, as short as can be, and is carried over
//! "blocks.*.dw.*" = "features.*.conv.*"
//! ```
//! Each name is changed at most once: by its whole name, else by the pattern with the most letters outside its stars,
//! else by the longest prefix. A rule that changes nothing is an error, and so are two tensors with one name.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::show;
use super::glob::captures;
use super::{Bytes, Checkpoint, WeightsError};
use crate::data::toml_fault;
use crate::diag::nearest;

/// Problems that are listed before the rest is only counted.
const LISTED: usize = 20;
/// Names that are looked at for a near one.
const CANDIDATES: usize = 5_000;
/// Rules that are tried on every name in turn.
const MOST_RULES: usize = 10_000;

/// Rules for names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    path: PathBuf,
    rules: Rules,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[serde(default)]
    names: BTreeMap<String, String>,
    #[serde(default)]
    prefix: BTreeMap<String, String>,
    #[serde(default)]
    patterns: BTreeMap<String, String>,
}

/// One rule that a name can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rule<'r> {
    Name(&'r str),
    Pattern(&'r str),
    Prefix(&'r str),
}

impl Rename {
    /// Reads the rules in the TOML file at `path`.
    ///
    /// # Errors
    /// Where it cannot be read or [`Rename::parse`] refuses it.
    pub fn open(path: &Path) -> Result<Rename, WeightsError> {
        let bytes = Bytes::open(path, false).map_err(|source| WeightsError::Read { path: path.to_owned(), source })?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Rename::parse(text, path),
            Err(_) => Err(WeightsError::Rename { path: path.to_owned(), problems: vec!["not UTF-8 text".into()] }),
        }
    }

    /// Reads rules from TOML; `path` is what errors call it.
    ///
    /// # Errors
    /// Where it is not TOML, has other tables than the three, or a pattern has another number of stars than its
    /// replacement.
    pub fn parse(text: &str, path: &Path) -> Result<Rename, WeightsError> {
        let wrong = |problems| WeightsError::Rename { path: path.to_owned(), problems };
        let rules: Rules = toml::from_str(text).map_err(|error| wrong(vec![toml_fault(&error)]))?;
        let mut problems = Vec::new();
        if MOST_RULES < rules.patterns.len() + rules.prefix.len() {
            problems.push(format!(
                "more than {MOST_RULES} rules under [patterns] and [prefix]; name tensors under [names]"
            ));
        }
        for (from, to) in &rules.patterns {
            let (has, wants) = (from.matches('*').count(), to.matches('*').count());
            if has == 0 {
                problems.push(format!("[patterns] \"{}\" has no `*`; put it under [names]", show(from)));
            } else if has != wants {
                problems.push(format!("[patterns] \"{}\" has {has} `*` and its replacement {wants}", show(from)));
            }
        }
        for from in rules.prefix.keys().filter(|from| from.is_empty()) {
            problems.push(format!(
                "[prefix] \"{from}\" is empty; to put something in front of every name, write [patterns] \"*\" = \"…*\""
            ));
        }
        if problems.is_empty() { Ok(Rename { path: path.to_owned(), rules }) } else { Err(wrong(problems)) }
    }

    /// The checkpoint with its names changed, in the same order, with its metadata.
    ///
    /// # Errors
    /// Names every rule that matches no tensor, with near names, and every name that two tensors would have.
    pub fn apply(&self, checkpoint: &Checkpoint) -> Result<Checkpoint, WeightsError> {
        let rules = self.ordered();
        let mut used = vec![false; rules.len()];
        let mut origin: HashMap<String, &str> = HashMap::new();
        let mut problems = Vec::new();
        let mut renamed = Checkpoint {
            path: checkpoint.path.clone(),
            format: checkpoint.format,
            unwrapped: checkpoint.unwrapped.clone(),
            skipped: checkpoint.skipped,
            metadata: checkpoint.metadata.clone(),
            ..Checkpoint::new()
        };
        for (old, tensor) in checkpoint.iter() {
            let new = self.rename(&rules, &mut used, old);
            if new.is_empty() {
                problems.push(format!("`{}` would have an empty name", show(old)));
            } else if let Some(other) = origin.insert(new.clone(), old) {
                problems.push(format!("`{}` and `{}` would both be `{}`", show(other), show(old), show(&new)));
            } else {
                renamed.insert(new, tensor.clone());
            }
        }
        for (rule, _) in rules.iter().zip(used).filter(|(_, used)| !used) {
            problems.push(unused(*rule, checkpoint));
        }
        if problems.is_empty() {
            return Ok(renamed);
        }
        if problems.len() > LISTED {
            let more = problems.len() - LISTED;
            problems.truncate(LISTED);
            problems.push(format!("and {more} more"));
        }
        Err(WeightsError::Rename { path: self.path.clone(), problems })
    }

    /// The rules in the order in which they are tried.
    fn ordered(&self) -> Vec<Rule<'_>> {
        let letters = |pattern: &str| pattern.chars().filter(|&c| c != '*').count();
        let mut patterns: Vec<&str> = self.rules.patterns.keys().map(String::as_str).collect();
        patterns.sort_by_key(|pattern| std::cmp::Reverse(letters(pattern)));
        let mut prefixes: Vec<&str> = self.rules.prefix.keys().map(String::as_str).collect();
        prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
        let names = self.rules.names.keys().map(|name| Rule::Name(name));
        names.chain(patterns.into_iter().map(Rule::Pattern)).chain(prefixes.into_iter().map(Rule::Prefix)).collect()
    }

    /// The new name of `old`; marks the rule that gave it.
    fn rename(&self, rules: &[Rule], used: &mut [bool], old: &str) -> String {
        if let Some(new) = self.rules.names.get(old) {
            // The names come first among the rules, in the order of the map.
            if let Ok(i) = rules[..self.rules.names.len()].binary_search(&Rule::Name(old)) {
                used[i] = true;
            }
            return new.clone();
        }
        for (i, rule) in rules.iter().enumerate().skip(self.rules.names.len()) {
            let new = match *rule {
                Rule::Name(_) => None,
                Rule::Pattern(from) => captures(from, old).map(|runs| fill(&self.rules.patterns[from], &runs)),
                Rule::Prefix(from) => old.strip_prefix(from).map(|rest| format!("{}{rest}", self.rules.prefix[from])),
            };
            if let Some(new) = new {
                used[i] = true;
                return new;
            }
        }
        old.to_owned()
    }
}

/// The replacement with its stars filled in order.
fn fill(to: &str, runs: &[&str]) -> String {
    let mut runs = runs.iter();
    to.split('*').enumerate().fold(String::new(), |mut name, (i, literal)| {
        if i > 0 {
            name.push_str(runs.next().unwrap_or(&""));
        }
        name.push_str(literal);
        name
    })
}

/// What to say about a rule that matched nothing.
fn unused(rule: Rule, checkpoint: &Checkpoint) -> String {
    let names = || checkpoint.iter().map(|(name, _)| name).take(CANDIDATES).filter(|name| name.len() < 200);
    let (table, from, near) = match rule {
        Rule::Name(from) => ("names", from, nearest(from, names()).map(str::to_owned)),
        Rule::Pattern(from) => ("patterns", from, None),
        Rule::Prefix(from) => {
            // Names cut to as many components as the rule has.
            let parts = from.matches('.').count() + usize::from(!from.ends_with('.'));
            let mut heads: Vec<String> = names().map(|name| name.split_inclusive('.').take(parts).collect()).collect();
            heads.dedup();
            ("prefix", from, nearest(from, heads.iter().map(String::as_str)).map(str::to_owned))
        }
    };
    let near = near.map_or(String::new(), |near| format!("; did you mean \"{}\"?", show(&near)));
    format!("[{table}] \"{}\" matches no tensor that no other rule has{near}", show(from))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::StoredTensor;
    use super::*;

    fn checkpoint(names: &[&str]) -> Checkpoint {
        let mut checkpoint = Checkpoint::new();
        for (i, name) in names.iter().enumerate() {
            assert!(checkpoint.insert(*name, StoredTensor::from_f32(vec![1], vec![i as f32]).unwrap()));
        }
        checkpoint
    }

    fn apply(rules: &str, names: &[&str]) -> Result<Vec<String>, String> {
        let rename = Rename::parse(rules, Path::new("map.toml")).map_err(|e| e.to_string())?;
        let renamed = rename.apply(&checkpoint(names)).map_err(|e| e.to_string())?;
        for (i, (_, tensor)) in renamed.iter().enumerate() {
            assert_eq!(tensor.to_f32()[0], i as f32);
        }
        Ok(renamed.iter().map(|(name, _)| name.to_owned()).collect())
    }

    #[test]
    fn names_before_patterns_before_prefixes() {
        let rules = r#"
            [names]
            "backbone.conv1.weight" = "stem.weight"
            [prefix]
            "backbone." = ""
            "backbone.layer1." = "first."
            [patterns]
            "backbone.layer*.conv*.weight" = "stage*.c*.w"
            "backbone.layer2.conv*.weight" = "second*"
        "#;
        let names = [
            "backbone.conv1.weight",
            "backbone.bn1.weight",
            "backbone.layer1.0.conv2.weight",
            "backbone.layer2.conv3.weight",
            "backbone.layer1.0.bn1.bias",
            "fc.bias",
        ];
        let expected = ["stem.weight", "bn1.weight", "stage1.0.c2.w", "second3", "first.0.bn1.bias", "fc.bias"];
        assert_eq!(apply(rules, &names).unwrap(), expected);
    }

    #[test]
    fn metadata_stays() {
        let mut named = checkpoint(&["a"]);
        named.set_metadata("classes", "cat");
        let rename = Rename::parse("[names]\na = \"b\"", Path::new("map.toml")).unwrap();
        assert_eq!(rename.apply(&named).unwrap().metadata(), named.metadata());
    }

    #[test]
    fn names_can_change_places() {
        assert_eq!(apply("[names]\na = \"b\"\nb = \"a\"", &["a", "b"]).unwrap(), ["b", "a"]);
    }

    #[test]
    fn a_rule_for_nothing_is_an_error_with_near_names() {
        let rules = "[names]\n\"fc.wieght\" = \"x\"\n[prefix]\n\"backbon.\" = \"\"\n[patterns]\n\"z*\" = \"*\"";
        let error = apply(rules, &["fc.weight", "backbone.conv.weight"]).unwrap_err();
        assert!(error.starts_with("map.toml: [names] \"fc.wieght\" matches no tensor"), "{error}");
        assert!(error.contains("did you mean \"fc.weight\"?"), "{error}");
        assert!(error.contains("did you mean \"backbone.\"?"), "{error}");
        assert!(error.contains("[patterns] \"z*\" matches no tensor"), "{error}");
    }

    #[test]
    fn two_tensors_never_get_one_name() {
        let error = apply("[prefix]\n\"a.\" = \"\"", &["a.w", "w"]).unwrap_err();
        assert!(error.contains("`a.w` and `w` would both be `w`"), "{error}");
        let error = apply("[patterns]\n\"*.*\" = \"**\"", &["a.", "."]).unwrap_err();
        assert!(error.contains("`.` would have an empty name"), "{error}");
    }

    #[test]
    fn wrong_files_of_rules_say_where() {
        for (rules, expected) in [
            ("[names", "line 1"),
            ("[prefixes]\na = \"b\"", "prefixes"),
            ("[names]\na = 3", "line 2"),
            ("[names]\na = \"b\"\na = \"c\"", "line 3"),
            ("[patterns]\n\"a.*\" = \"b\"", "has 1 `*` and its replacement 0"),
            ("[patterns]\na = \"b\"", "put it under [names]"),
            ("[prefix]\n\"\" = \"b\"", "is empty"),
        ] {
            let error = apply(rules, &["a"]).unwrap_err();
            assert!(error.starts_with("map.toml: ") && error.contains(expected), "{error}");
        }
    }
}
