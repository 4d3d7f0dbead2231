use super::*;
use crate::diag::{Code, Span, codes};
use proptest::prelude::*;

const NET: &str = "\
net tiny(classes = 10) {
  input image: [3, 32, 32]
  conv1: conv(16, 3)
  bn1: bn
  add {
    {
      conv2: conv(8, 3, pad = 1)
    }
    identity
  }
  output logits
}
";

fn at(text: &str, word: &str) -> Span {
    let start = text.find(word).unwrap();
    Span { file: FileId(0), start: start as u32, end: (start + word.len()) as u32 }
}

fn one(text: &str) -> SourceMap {
    let mut sources = SourceMap::default();
    sources.add("tiny.net", text);
    sources
}

fn drawn(sources: &SourceMap, diagnostic: Diagnostic) -> String {
    render(sources, &[diagnostic], Style::default())
}

#[test]
fn labels_notes_and_a_help_in_words() {
    let error = Diagnostic::new(codes::E0301, at(NET, "add {"), "the branches of `add` differ in channels")
        .label("8 and 16 channels meet here")
        .also(at(NET, "conv(8, 3, pad = 1)"), "[8, 30, 30]")
        .also(at(NET, "identity"), "[16, 30, 30], from line 4")
        .note("`add` neither broadcasts nor crops")
        .help("give `conv2` 16 channels");
    insta::assert_snapshot!(drawn(&one(NET), error), @r"
    error[E0301]: the branches of `add` differ in channels
     --> tiny.net:5:3
      |
    5 |   add {
      |   ^^^^^ 8 and 16 channels meet here
    6 |     {
    7 |       conv2: conv(8, 3, pad = 1)
      |              ------------------- [8, 30, 30]
    8 |     }
    9 |     identity
      |     -------- [16, 30, 30], from line 4
      |
      = note: `add` neither broadcasts nor crops
      = help: give `conv2` 16 channels
    ");
}

#[test]
fn an_edit_is_shown_as_the_mended_line() {
    let insertion = at(NET, "16, 3").after();
    let advice = Diagnostic::new(codes::W0501, at(NET, "conv(16, 3)"), "a bias in front of batch norm")
        .also(at(NET, "bn\n"), "subtracts it again")
        .fix("leave it out", insertion, ", bias = false");
    insta::assert_snapshot!(drawn(&one(NET), advice), @r"
    warning[W0501]: a bias in front of batch norm
     --> tiny.net:3:10
      |
    3 |   conv1: conv(16, 3)
      |          ^^^^^^^^^^^
    4 |   bn1: bn
      |        -- subtracts it again
      |
    help: leave it out
      |
    3 |   conv1: conv(16, 3, bias = false)
      |                    ++++++++++++++
    ");
}

#[test]
fn a_replacement_and_a_new_line_are_shown_as_a_patch() {
    let error = Diagnostic::new(codes::E0401, at(NET, "conv2: conv(8"), "x")
        .fix("use 16 channels", at(NET, "8, 3"), "16, 3")
        .fix("project the skip", at(NET, "    identity\n").before(), "    skip: conv(8, 1)\n")
        .fix("drop the braces", at(NET, "    {\n      conv2: conv(8, 3, pad = 1)\n    }\n"), "");
    insta::assert_snapshot!(drawn(&one(NET), error), @r"
    error[E0401]: x
     --> tiny.net:7:7
      |
    7 |       conv2: conv(8, 3, pad = 1)
      |       ^^^^^^^^^^^^^
      |
    help: use 16 channels
      |
    7 -       conv2: conv(8, 3, pad = 1)
    7 +       conv2: conv(16, 3, pad = 1)
      |
    help: project the skip
      |
    9 +     skip: conv(8, 1)
      |
    help: drop the braces
      |
    6 -     {
    7 -       conv2: conv(8, 3, pad = 1)
    8 -     }
      |
    ");
}

#[test]
fn places_in_an_imported_file_have_their_own_block() {
    let mut sources = one("import \"b.net\"\nnet n {\n  wide(0)\n}\n");
    let block = "block wide(n) {\n  conv(n, 1)\n}\n";
    let b = sources.add("blocks/b.net", block);
    let error = Diagnostic::new(codes::E0221, Span { file: b, ..at(block, "n, 1") }, "0 output channels")
        .label("`n` is 0")
        .also(Span { file: FileId(0), start: 25, end: 32 }, "called here with n = 0");
    insta::assert_snapshot!(drawn(&sources, error), @r"
    error[E0221]: 0 output channels
     --> blocks/b.net:2:8
      |
    2 |   conv(n, 1)
      |        ^^^^ `n` is 0
      |
     ::: tiny.net:3:3
      |
    3 |   wide(0)
      |   ------- called here with n = 0
    ");
}

#[test]
fn colour_and_plain_text_say_the_same() {
    let sources = one(NET);
    let error = [Diagnostic::new(codes::E0401, at(NET, "bn1"), "x").fix("y", at(NET, "bn1"), "bn2")];
    let colour = render(&sources, &error, Style { color: true, width: 80 });
    assert!(colour.contains("\u{1b}["));
    assert_eq!(anstream::adapter::strip_str(&colour).to_string(), render(&sources, &error, Style::default()));
}

#[test]
fn one_hundred_are_drawn_and_errors_come_before_advice() {
    let sources = one(NET);
    let diagnostic = |code| Diagnostic::new(code, at(NET, "bn1"), "x");
    let mut all = vec![diagnostic(codes::W0502); 60];
    all.extend(vec![diagnostic(codes::E0203); 70]);
    let text = render(&sources, &all, Style::default());
    assert_eq!((text.matches("warning[W0502]").count(), text.matches("error[E0203]").count()), (30, 70));
    assert!(text.ends_with("and 30 more\n"));
    assert!(!render(&sources, &all[..100], Style::default()).contains("more"));
    assert_eq!(summary(&all), "70 errors, 60 warnings");
    assert_eq!(summary(&all[59..61]), "1 error, 1 warning");
    assert_eq!((summary(&all[..1]), summary(&[])), ("1 warning".into(), String::new()));
    assert_eq!(render(&sources, &[], Style::default()), "");
}

#[test]
fn a_line_of_ten_megabytes_is_cut_and_keeps_its_column() {
    let text = format!("net n {{ {}wrong; {}}}", "relu; ".repeat(900_000), "relu; ".repeat(900_000));
    let sources = one(&text);
    let error = Diagnostic::new(codes::E0201, at(&text, "wrong"), "unknown layer `wrong`").label("here").fix(
        "did you mean `relu`?",
        at(&text, "wrong"),
        "relu",
    );
    let report = drawn(&sources, error);
    assert!(report.len() < 3000 && report.contains("--> tiny.net:1:5400009\n"), "{report}");
    assert!(report.contains("wrong; relu"), "{report}");
    assert!(report.contains("+ \u{2026}"), "{report}");
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let mut sources = SourceMap::default();
    let file = sources.add("a\u{1b}[2J.net", "conv\u{1b}[31m(8)\r\n\tbn");
    let error = Diagnostic::new(codes::E0101, Span { file, start: 4, end: 6 }, "bad \u{1b}[1m")
        .label("\u{1b}[1m")
        .note("\u{1b}[1m")
        .help("\u{1b}[1m")
        .fix("\u{1b}[1m", Span { file, start: 4, end: 9 }, "");
    assert!(!drawn(&sources, error).contains('\u{1b}'));
}

fn any_span() -> impl Strategy<Value = Span> {
    (0u32..3, 0u32..70, 0u32..70).prop_map(|(file, start, end)| Span { file: FileId(file), start, end })
}

fn any_diagnostic() -> impl Strategy<Value = Diagnostic> {
    let words = "[a\u{4e16}\n\t\u{301}]{0,6}";
    let help = (words, proptest::collection::vec((any_span(), words), 0..4));
    let code = prop_oneof![Just(codes::E0101), Just(codes::W0501)];
    let labels = proptest::collection::vec((any_span(), words), 1..5);
    (code, words, labels, proptest::collection::vec(help, 0..3)).prop_map(|(code, title, labels, help)| {
        let label = |(span, text): (Span, String)| Label { span, text };
        let mut labels: Vec<Label> = labels.into_iter().map(label).collect();
        let primary = labels.remove(0);
        let edit = |(span, replacement)| Edit { span, replacement };
        let help = help.into_iter().map(|(text, edits)| Help { text, edits: edits.into_iter().map(edit).collect() });
        Diagnostic { primary, secondary: labels, help: help.collect(), ..Diagnostic::new(code, Span::default(), title) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn no_place_and_no_text_makes_it_panic(
        first in "[ab {}\t\u{e9}\u{4e16}\u{1f600}\u{301}\r\n\u{0}]{0,40}",
        second in "(a\n){0,3}",
        diagnostic in any_diagnostic(),
        width in 0usize..200,
    ) {
        let mut sources = SourceMap::default();
        sources.add("a.net", first);
        sources.add("b.net", second);
        let code = Code::to_string(&diagnostic.code);
        let text = render(&sources, &[diagnostic], Style { color: false, width });
        prop_assert!(text.contains(&code));
    }
}
