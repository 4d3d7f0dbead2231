//! docs/predictions.md against a run of MobileNetV2 with its trained weights on the 20 labelled photos.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

#[test]
fn the_table_of_predictions_is_what_the_run_gives() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if ![".weights.json", ".labels.json", ".photos.json"].iter().all(|name| root.join(".material").join(name).exists())
    {
        println!("skipped: no weights and photos here; scripts/fetch-material fetches them");
        return;
    }
    let page = std::fs::read_to_string(root.join("docs/predictions.md")).unwrap();
    let line = page.lines().find(|line| line.starts_with("netc run ")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_netc"));
    let output = command.args(line.split_whitespace().skip(1)).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let (mut first, mut five, mut rows) = (0, 0, Vec::new());
    for result in report["results"].as_array().unwrap() {
        let file = Path::new(result["input"].as_str().unwrap()).file_name().unwrap().to_str().unwrap();
        let label: u64 = file.trim_end_matches(".jpg").rsplit('_').next().unwrap().parse().unwrap();
        let top = result["top"].as_array().unwrap();
        let place = top.iter().position(|class| class["class"].as_u64() == Some(label));
        let best = &top[0];
        let name = best["label"].as_str().unwrap().split(',').next().unwrap();
        let (is_first, is_five) = (place == Some(0), place.is_some_and(|place| place < 5));
        first += usize::from(is_first);
        five += usize::from(is_five);
        let word = |yes: bool| if yes { "yes" } else { "no" };
        let (class, score) = (&best["class"], best["score"].as_f64().unwrap());
        let (is_first, is_five) = (word(is_first), word(is_five));
        rows.push(format!("| {file} | {label} | {class} {name} | {score:.3} | {is_first} | {is_five} |"));
    }
    assert_eq!(rows.len(), 20);
    assert!(18 <= first && five == 20, "{first} top-1, {five} top-5");
    let written: Vec<&str> = page.lines().filter(|line| line.starts_with("| imagenet_")).collect();
    assert_eq!(written, rows, "the table should be\n{}", rows.join("\n"));
}
