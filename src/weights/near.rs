//! Names that may be meant by names that do not match.

use std::collections::{BTreeSet, HashSet};

use super::bind::{SHOWN, Unmatched};
use super::error::show;
use crate::diag::nearest;

/// Names that are compared letter by letter; more would make errors slow.
const COMPARED: usize = 1_000;
const LONGEST: usize = 200;

/// Entries of `among` that `entry` may mean, the likeliest first, two at most: those of which one name is the other
/// with something in front, then of those of its shape the one a few letters away, then the only one there is.
pub(super) fn near_names(entry: &Unmatched, among: &[Unmatched]) -> Vec<String> {
    let mut near: Vec<&str> = Vec::new();
    let mut add = |name| {
        if near.len() < 2 && !near.contains(&name) {
            near.push(name);
        }
    };
    let tail = |long: &str, short: &str| long.strip_suffix(short).is_some_and(|front| front.ends_with('.'));
    among
        .iter()
        .filter(|other| tail(&other.name, &entry.name) || tail(&entry.name, &other.name))
        .take(2)
        .for_each(|other| add(&other.name));
    if entry.name.len() <= LONGEST {
        let comparable = among.iter().filter(|other| other.name.len() <= LONGEST && other.shape == entry.shape);
        nearest(&entry.name, comparable.take(COMPARED).map(|other| other.name.as_str())).into_iter().for_each(&mut add);
    }
    let mut shaped = among.iter().filter(|other| other.shape == entry.shape);
    if let (Some(only), None) = (shaped.next(), shaped.next()) {
        add(&only.name);
    }
    near.into_iter().map(str::to_owned).collect()
}

/// What a pattern that meets none of the names may mean: the nearest name, or, where the pattern begins or ends with a
/// star, the nearest part of a name with that star.
pub fn meant<'n>(pattern: &str, names: impl IntoIterator<Item = &'n str>) -> Option<String> {
    let fixed = pattern.trim_matches('*');
    // The components that the fixed part begins or ends in.
    let some = fixed.split('.').filter(|part| !part.is_empty()).count();
    let alike = |name: &str| {
        let parts: Vec<&str> = name.split('.').collect();
        match (pattern.starts_with('*'), pattern.ends_with('*'), parts.len().checked_sub(some)) {
            (false, true, Some(1..)) => format!("{}.*", parts[..some].join(".")),
            (true, false, Some(rest @ 1..)) => format!("*.{}", parts[rest..].join(".")),
            _ => name.to_owned(),
        }
    };
    let comparable = names.into_iter().take(COMPARED).filter(|name| name.len() <= LONGEST);
    let candidates: BTreeSet<String> = comparable.map(alike).collect();
    nearest(pattern, candidates.iter().map(String::as_str)).map(str::to_owned)
}

/// The rename rule that would match at least half of the missing names, where one side has something in front of every
/// name.
pub(super) fn prefix_hint(missing: &[Unmatched], unexpected: &[Unmatched]) -> Option<String> {
    let taken_off = || front_of(unexpected, missing).map(|front| format!("[prefix] \"{}\" = \"\"", show(&front)));
    let put_in = || front_of(missing, unexpected).map(|front| format!("[patterns] \"*\" = \"{}*\"", show(&front)));
    let rule = taken_off().or_else(put_in)?;
    Some(format!("many names differ only in how they begin; --rename MAP.toml with {rule}"))
}

/// What stands in front of the names of `short` in those of `long`.
fn front_of(long: &[Unmatched], short: &[Unmatched]) -> Option<String> {
    let names: HashSet<&str> = long.iter().map(|entry| entry.name.as_str()).collect();
    let fits = |front: &str| {
        let found = short.iter().filter(|entry| names.contains(format!("{front}{}", entry.name).as_str())).count();
        found >= 2 && 2 * found >= short.len()
    };
    for entry in short.iter().take(SHOWN) {
        let fronts = long.iter().filter_map(|other| other.name.strip_suffix(&entry.name));
        let front = fronts.filter(|front| front.ends_with('.')).min_by_key(|front| front.len());
        if let Some(front) = front.filter(|front| fits(front)) {
            return Some(front.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(names: &[(&str, u64)]) -> Vec<Unmatched> {
        names.iter().map(|(n, size)| Unmatched { name: (*n).into(), shape: vec![*size], near: vec![] }).collect()
    }

    #[test]
    fn prefixes_then_letters_then_shapes() {
        let among = entries(&[("net.fc.weight", 1), ("fc.wieght", 2), ("head.w", 3), ("x", 2)]);
        let near = |name: &str, size| near_names(&entries(&[(name, size)])[0], &among);
        assert_eq!(near("fc.weight", 2), ["net.fc.weight", "fc.wieght"]);
        assert_eq!(near("fc.weight", 9), ["net.fc.weight"]);
        assert_eq!(near("classifier", 3), ["head.w"]);
        assert!(near("classifier", 2).is_empty());
    }

    #[test]
    fn patterns_that_meet_nothing_mean_something_near() {
        let names = ["conv1.weight", "conv1.bias", "layer1.0.bn1.running_mean"];
        let near = |pattern: &str| meant(pattern, names);
        assert_eq!(near("conv1.wieght").as_deref(), Some("conv1.weight"));
        assert_eq!(near("cnov1*").as_deref(), Some("conv1.*"));
        assert_eq!(near("layer1.1.*").as_deref(), Some("layer1.0.*"));
        assert_eq!(near("*.wieght").as_deref(), Some("*.weight"));
        assert_eq!(near("*wieght").as_deref(), Some("*.weight"));
        assert_eq!(near("zzzzzz*"), None);
        assert_eq!(meant("a", []), None);
    }

    #[test]
    fn a_letter_away_in_the_right_shape_comes_first() {
        let among = entries(&[("conv1.weight", 1), ("conv3.weight", 2)]);
        assert_eq!(near_names(&entries(&[("conv2.weight", 2)])[0], &among)[0], "conv3.weight");
    }
}
