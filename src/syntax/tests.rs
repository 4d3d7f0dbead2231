use super::*;
use crate::diag::{Sink, SourceMap};
use proptest::prelude::*;

fn parsed(text: &str) -> (Parsed, SourceMap, Sink) {
    let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
    let id = sources.add("test.net", text);
    let parsed = parse(&sources, id, &mut sink);
    (parsed, sources, sink)
}

/// Each error as `line:column code title`.
fn errors(text: &str) -> Vec<String> {
    let (_, sources, sink) = parsed(text);
    let errors = sink.into_sorted().into_iter();
    errors
        .map(|error| {
            let at = sources.position(error.primary.span);
            format!("{}:{} {} {}", at.line, at.column, error.code, error.title)
        })
        .collect()
}

fn check(text: &str, expected: &[&str]) {
    assert_eq!(errors(text), expected, "{text}");
}

#[test]
fn the_tour_of_the_language_parses() {
    let text = include_str!("../../tests/syntax/tour.net");
    let (parsed, _, sink) = parsed(text);
    assert!(sink.diagnostics().is_empty());
    assert_eq!(parsed.file.items.len(), 5);
    assert_eq!(parsed.comments.len(), 11);
}

#[test]
fn each_bad_line_is_one_error_in_bodies_too() {
    let text = "\
block a(n {
  relu
}
net b {
  repeat 3 {
    conv(3 3)
    if x {
      bn bn
    } elif y { relu }
    relu
  }
  x = relu
}
let y = 1 +
";
    check(
        text,
        &[
            "1:8 E0102 `(` is not closed",
            "6:12 E0101 a comma is missing",
            "8:10 E0101 expected `(`, `:`, `->` or a new line, found `bn`",
            "9:7 E0101 `elif` is no keyword",
            "12:5 E0101 a label takes a colon",
            "14:12 E0101 expected a value, but the line ends",
        ],
    );
}

#[test]
fn one_missing_or_superfluous_bracket_is_one_error() {
    let inside = |line: &str| format!("net a {{\n  x: relu\n{line}\n  y: bn\n}}\n\nblock b(c) {{\n  relu\n}}\n");
    let unclosed = |at: &str| format!("{at} E0102 `(` is not closed");
    check(&inside("  conv(3, 3"), &[&unclosed("3:7")]);
    check(&inside("  conv(3, 3\n  relu\n  relu"), &[&unclosed("3:7")]);
    check(&inside("  repeat 3 {\n    conv(max(3, 3)\n  }"), &[&unclosed("4:9")]);
    check(&inside("  repeat 3 {\n    relu"), &["3:12 E0102 `{` is not closed"]);
    check(&inside("  }"), &["4:3 E0101 a statement outside of `net` and `block`"]);
    check(&inside("  conv(3))"), &["3:10 E0101 `)` closes nothing"]);
    check(&inside("  a: \"b"), &["3:6 E0102 a string is not closed"]);
    check("net a {\n  relu\n\nblock b(c) {\n  relu\n}\n", &["1:7 E0102 `{` is not closed"]);
    check("net a {", &["1:7 E0102 `{` is not closed"]);
    check("net a { relu }}", &["1:15 E0101 `}` closes nothing"]);
}

#[test]
fn control_characters_are_no_blanks() {
    check(
        "net a {\n  relu\u{b}\n  \u{0}bn\n  x: \"\u{1}\" # \u{1}\n}\n",
        &[
            "2:7 E0101 an unknown character U+000B",
            "3:3 E0101 an unknown character U+0000",
            "4:6 E0101 expected a layer name, found `\"\u{1}\"`",
        ],
    );
}

#[test]
fn positions_survive_crlf_tabs_and_a_byte_order_mark() {
    check("\u{feff}net a {\r\n\tconv(3,\r\n\t\t3)\r\n\tconv(3 3)\r\n}\r\n", &["4:9 E0101 a comma is missing"]);
    let (parsed, ..) = parsed("net a {\r\n  relu # c\r\n}\r\n");
    assert_eq!(parsed.comments[0].text, "# c");
}

#[test]
fn nesting_up_to_the_limit_parses() {
    let nested = |n, open: &str, close: &str| format!("let a = {}1{}", open.repeat(n), close.repeat(n));
    for text in [
        nested(255, "(", ")"),
        nested(255, "[", "]"),
        nested(255, "f(", ")"),
        nested(255, "a{", "}"),
        format!("net a {}{}", "{\n".repeat(256), "}\n".repeat(256)),
        format!("net a {{{}{}}}", "if x {".repeat(255), "} else { y }\n".repeat(255)),
        format!("let a = 1{}", " + 1".repeat(255)),
        format!("let a = {}1", "-".repeat(255)),
        format!("let a = {}1", "if a then b else ".repeat(255)),
    ] {
        check(&text, &[]);
    }
}

#[test]
fn nesting_beyond_the_limit_is_one_error_and_no_overflow() {
    let too_deep = |text: &str| {
        let errors = errors(text);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].ends_with("E0104 nesting deeper than 256"), "{errors:?}");
    };
    let chain = |unit: &str, n| format!("let a = {}1\n", unit.repeat(n));
    for unit in ["(", "[", "f(", "a{", "-", "not ", "- - ", "1 + ", "1 // ", "a and ", "if a then b else ", "f(-[a{"] {
        too_deep(&chain(unit, 257));
        too_deep(&chain(unit, 50_000));
    }
    too_deep(&format!("let a = a{}", "[1]".repeat(50_000)));
    too_deep(&format!("net a {}", "{".repeat(1_000_000)));
    too_deep(&format!("net a {{ {}", "if x { ".repeat(100_000)));
}

#[test]
fn hostile_sources_give_few_errors_soon() {
    let one_line = format!("net a {{ input x: [{}1] }}", "1,".repeat(5_000_000));
    check(&one_line, &["1:9 E0105 a statement longer than 1024 KiB"]);
    assert_eq!(errors(&"?\n".repeat(100_000)).len(), 1000);
    assert_eq!(errors(&"net a { conv( }\n".repeat(100_000)).len(), 1000);
    assert_eq!(errors(&"}".repeat(1_000_000)).len(), 1000);
    let blank = " \t\n;#".repeat(1_000_000);
    check(&blank, &[]);
}

#[test]
fn long_bodies_read_in_pieces_are_as_in_order() {
    let mut text = String::from("net a {\n");
    for i in 0..4000 {
        text += &format!("#[allow(b)]\nx{i}: relu; {{ conv(3); bn }} # {i}\n\nif a {{\n  relu\n}} else {{ bn }}\n");
        text += ["", "conv(3 3)\n", "conv(3))\n"][usize::from(i % 1500 == 7) + usize::from(i % 2000 == 9)];
    }
    text += "}\nlet y = 1 1\n";
    let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
    let id = sources.add("test.net", text.as_str());
    let parsed = parse(&sources, id, &mut sink);
    let scan = scan::scan(&text, id).unwrap();
    let body = scan.brackets[0];
    let mut parser = lines::Parser::new(&text, id, &scan);
    parser.at = body.open + 1;
    let in_order = parser.statements_in_order(body.close);
    assert_eq!(in_order.len(), 12_000);
    let ast::Item::Net(net) = &parsed.file.items[0] else { panic!("{:?}", parsed.file.items.len()) };
    assert_eq!(net.body.statements, in_order);
    let mut expected: Vec<_> = parser.errors.iter().map(|error| error.to_diagnostic()).collect();
    assert_eq!(expected.len(), 5);
    let found = sink.into_sorted();
    expected.extend(found.last().cloned());
    assert_eq!(found, expected);
}

#[test]
fn bytes_become_sources() {
    let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
    let id = add_source(&mut sources, "a.net", b"\xef\xbb\xbfnet a {}".to_vec(), &mut sink).unwrap();
    assert_eq!(sources.file(id).text, "net a {}");
    assert!(add_source(&mut sources, "b.net", b"net a {\n  \"\xff\"\n}".to_vec(), &mut sink).is_none());
    assert!(add_source(&mut sources, "c.net", vec![b' '; MAX_SOURCE + 1], &mut sink).is_none());
    let places: Vec<_> = sink
        .diagnostics()
        .iter()
        .map(|d| (sources.file(d.primary.span.file).name.as_str(), d.code.0, sources.position(d.primary.span)))
        .map(|(name, code, at)| (name, code, at.line, at.column))
        .collect();
    assert_eq!(places, [("b.net", "E0105", 2, 4), ("c.net", "E0105", 1, 1)]);
}

#[test]
fn a_lone_expression_parses() {
    let value = |text: &str| {
        let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
        let id = sources.add("--set", text);
        let expr = parse_expr(&sources, id, &mut sink);
        assert_eq!(expr.is_none(), sink.has_errors());
        expr.map(|expr| expr.kind)
    };
    assert_eq!(value(" 1_000 "), Some(ast::ExprKind::Int(1000)));
    assert_eq!(value("1e-5"), Some(ast::ExprKind::Float(1e-5)));
    assert!(matches!(value("0..n"), Some(ast::ExprKind::Range(..))));
    for wrong in ["", "1 2", "(1", "1)", "a = 3", "{1}"] {
        assert_eq!(value(wrong), None, "{wrong}");
    }
}

/// Parses and formats whatever it is; errors have places inside the text, and only a text without any is formatted.
fn survives(text: &str) {
    let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
    let id = sources.add("test.net", text);
    parse(&sources, id, &mut sink);
    let mut again = Sink::default();
    let formatted = format(&sources, id, &mut again);
    assert_eq!(formatted.is_none(), sink.has_errors(), "{text}");
    assert_eq!(sink.diagnostics().len(), again.diagnostics().len(), "{text}");
    for error in sink.diagnostics() {
        let places = error.secondary.iter().map(|label| label.span).chain([error.primary.span]);
        let edits = error.help.iter().flat_map(|help| help.edits.iter().map(|edit| edit.span));
        for span in places.chain(edits) {
            assert!(text.get(span.start as usize..span.end as usize).is_some(), "{error:?}\n{text}");
        }
        assert!(!error.title.is_empty() && !error.title.contains("something else"), "{error:?}\n{text}");
    }
    if let Some(formatted) = formatted {
        let id = sources.add("formatted.net", formatted.clone());
        assert_eq!(format(&sources, id, &mut sink), Some(formatted), "{text}");
    }
}

const SCRAPS: [&str; 72] = [
    "\n",
    " ",
    ";",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ",",
    ":",
    "=",
    "#",
    "\"",
    "'",
    "\\",
    "->",
    "==",
    "<",
    "<=",
    "+",
    "-",
    "*",
    "**",
    "/",
    "//",
    "%",
    ".",
    "..",
    "!",
    "&&",
    "é",
    "“",
    "\u{a0}",
    "\0",
    "#[allow(x)]\n",
    "1",
    "0.5",
    "64px",
    "1.",
    "a",
    "conv",
    "True",
    "bn",
    "block ",
    "net ",
    "import ",
    "let ",
    "input ",
    "output ",
    "if ",
    "else ",
    "repeat ",
    "as ",
    "for ",
    "in ",
    "from ",
    "preprocess ",
    "budget ",
    "true ",
    "and ",
    "or ",
    "not ",
    "then ",
    "where ",
    "train ",
    "net a {\n",
    "}\n",
    "x: relu\n",
    "conv(3, 3)\n",
    "a{i}",
    "\t",
];

proptest! {
    #[test]
    fn no_sequence_of_scraps_is_too_much(scraps in prop::collection::vec(prop::sample::select(&SCRAPS[..]), 0..60)) {
        survives(&scraps.concat());
    }

    #[test]
    fn no_damage_is_too_much(
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..8_usize, prop::sample::select(&SCRAPS[..])), 1..4)
    ) {
        let mut text: Vec<char> = include_str!("../../tests/syntax/tour.net").chars().collect();
        for (at, length, scrap) in damage {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, scrap.chars());
        }
        survives(&text.into_iter().collect::<String>());
    }
}
