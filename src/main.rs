//! The `netc` command.
fn main() {
    let path = std::env::args().nth(1).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let checked = netc::check(&path, bytes, &netc::FileLoader, &netc::Settings::default());
    eprintln!(
        "{}",
        netc::diag::human::render(
            &checked.sources,
            &checked.diagnostics,
            netc::diag::human::Style { color: false, width: 120 }
        )
    );
    if let Some(c) = checked.compiled {
        if std::env::args().nth(2).is_some() {
            print!("{}", netc::ir::expand::flat(&c.net));
            return;
        }
        print!("{}", netc::ir::print::text(&c.net));
        for o in &c.net.outputs {
            println!("{} {}", o.name, c.shapes.of(o.value));
        }
    }
}
