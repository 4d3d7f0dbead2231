//! Where the weights of a run begin.

use std::fmt::Write;
use std::path::Path;

use super::recipe::Init;
use crate::Compiled;
use crate::weights::{Checkpoint, OpenOptions, Rename, StoredTensor, WeightsError, init, matches};

/// Weights, and what is to be said of where they come from.
#[derive(Debug)]
pub struct Start {
    /// A tensor for every parameter and buffer.
    pub weights: Checkpoint,
    /// For people; empty where all are drawn.
    pub report: String,
}

/// Draws weights, and takes those that a checkpoint has in the right sizes. Relative paths start from `base`.
///
/// # Errors
/// When a file cannot be read, or a pattern meets nothing.
pub fn start(compiled: &Compiled, by: &Init, seed: u64, base: &Path) -> Result<Start, WeightsError> {
    let specs = compiled.init_specs();
    let drawn = init(&specs, by.scheme, seed)?;
    let mut report = String::new();
    let mut given = Checkpoint::new();
    if let Some(path) = &by.weights {
        given = Checkpoint::open(&base.join(path), &OpenOptions::default())?;
        if let Some(map) = &by.rename {
            given = Rename::open(&base.join(map))?.apply(&given)?;
        }
    }
    let mut weights = Checkpoint::new();
    let (mut taken, mut fresh) = (0, Vec::new());
    for (name, tensor) in drawn.iter() {
        let is_fresh = by.fresh.iter().any(|pattern| matches(pattern, name));
        match given.get(name) {
            Some(found) if !is_fresh && found.shape() == tensor.shape() => {
                weights.insert(name, found.clone());
                taken += 1;
                continue;
            }
            Some(found) if !is_fresh => {
                fresh.push(format!("{name} ({:?} there, {:?} here)", found.shape(), tensor.shape()))
            }
            Some(_) => fresh.push(format!("{name} (as asked)")),
            None => fresh.push(format!("{name} (not there)")),
        }
        let is_zero = by.zero.iter().any(|pattern| matches(pattern, name));
        let zeros = || StoredTensor::from_f32(tensor.shape().to_vec(), vec![0.0; tensor.len()]);
        weights.insert(name, if is_zero { zeros().unwrap_or_else(|| tensor.clone()) } else { tensor.clone() });
    }
    if fresh.is_empty() {
        // What the file says beside its tensors is of other ones where some are drawn.
        given.metadata().iter().for_each(|(key, value)| weights.set_metadata(key, value));
    }
    if let Some(path) = &by.weights {
        let unused: Vec<&str> = given.iter().map(|(name, _)| name).filter(|name| weights.get(name).is_none()).collect();
        let _ = writeln!(report, "{}: {taken} of {} tensors taken", path.display(), weights.len());
        listed(&mut report, "drawn anew", &fresh);
        listed(&mut report, "not used", &unused);
    }
    Ok(Start { weights, report })
}

/// Names after a word; of many the first.
fn listed(report: &mut String, word: &str, names: &[impl AsRef<str>]) {
    const SHOWN: usize = 12;
    if names.is_empty() {
        return;
    }
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    let more = if SHOWN < names.len() { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    let _ = writeln!(report, "  {word}: {}{more}", shown.join(", "));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::weights::Scheme;

    const NET: &str =
        "net a(classes = 3) { input x: [2, 4, 4]; conv1: conv(4, 3); bn1: bn; flatten; fc: linear(classes); output y }";

    #[test]
    fn a_checkpoint_gives_what_fits_and_the_rest_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let other = crate::compile_text("a.net", &NET.replace("classes = 3", "classes = 5")).unwrap();
        let mut stored = init(&other.init_specs(), Scheme::He, 9).unwrap();
        stored.set_metadata("classes", "[]");
        stored.write_safetensors(&folder.path().join("w")).unwrap();
        let compiled = crate::compile_text("a.net", NET).unwrap();
        let by = Init { weights: Some("w".into()), zero: vec!["bn1.weight".into()], ..Init::default() };
        let found = start(&compiled, &by, 1, folder.path()).unwrap();
        assert_eq!(found.weights.get("conv1.weight").unwrap().to_f32(), stored.get("conv1.weight").unwrap().to_f32());
        assert_eq!(found.weights.get("fc.weight").unwrap().shape(), [3, 16]);
        assert!(
            found.report.contains("7 of 9") && found.report.contains("fc.bias ([5] there, [3] here)"),
            "{}",
            found.report
        );
        assert!(found.weights.metadata().is_empty());
        let whole = start(&other, &by, 1, folder.path()).unwrap();
        assert_eq!(whole.weights.metadata()["classes"], "[]");
        let drawn = start(&compiled, &Init { weights: None, ..by }, 1, folder.path()).unwrap();
        assert!(drawn.report.is_empty() && drawn.weights.get("bn1.weight").unwrap().to_f32().iter().all(|&x| x == 0.0));
    }
}
