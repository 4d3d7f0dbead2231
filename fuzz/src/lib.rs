//! What must hold for every text, shared by the targets.

pub mod messages;

use netc::diag::{apply, human, json};
use netc::elab::load::NoImports;
use netc::{Settings, check, ir};

/// Compiles a text; shows what is wrong with it, applies every fix, and expands what is right.
pub fn compile(bytes: &[u8]) {
    let settings = Settings { max_values: 2000, ..Settings::default() };
    let checked = check("fuzz.net", bytes.to_vec(), &NoImports, &settings);
    human::render(&checked.sources, &checked.diagnostics, human::Style { color: false, width: 100 });
    json::render(&checked.sources, &checked.diagnostics);
    for help in checked.diagnostics.iter().flat_map(|diagnostic| &diagnostic.help) {
        if let Some(first) = help.edits.first() {
            apply(&checked.sources, first.span.file, &help.edits);
        }
    }
    let Some(compiled) = checked.compiled else { return };
    let graph = ir::print::text(&compiled.net);
    let flat = ir::expand::flat(&compiled.net);
    let again = check("flat.net", flat.clone().into_bytes(), &NoImports, &Settings::default());
    let shown = human::render(&again.sources, &again.diagnostics, human::Style { color: false, width: 100 });
    let Some(again) = again.compiled else { panic!("the flat form does not compile:\n{flat}\n{shown}") };
    assert_eq!(graph, ir::print::text(&again.net), "the flat form is another net:\n{flat}");
}
