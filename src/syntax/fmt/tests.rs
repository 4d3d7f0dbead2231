use super::*;
use crate::diag::SourceMap;
use crate::syntax::{ast_text, parse};
use proptest::prelude::*;

fn formatted(text: &str) -> String {
    let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
    let id = sources.add("test.net", text);
    let result = format(&sources, id, &mut sink);
    let errors: Vec<_> = sink.diagnostics().iter().map(|error| &error.title).collect();
    result.unwrap_or_else(|| panic!("{errors:?}\n{text}"))
}

/// The tree without places, and the comments.
fn meaning(text: &str) -> (String, Vec<String>) {
    let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
    let id = sources.add("test.net", text);
    let parsed = parse(&sources, id, &mut sink);
    let mut comments: Vec<String> = parsed.comments.into_iter().map(|comment| comment.text).collect();
    comments.sort();
    (ast_text(&parsed.file), comments)
}

/// Formats, and checks what holds for every text.
fn checked(text: &str) -> String {
    let once = formatted(text);
    assert_eq!(formatted(&once), once, "not idempotent:\n{text}");
    let (tree, comments) = meaning(text);
    let (tree_after, comments_after) = meaning(&once);
    assert_eq!(tree_after, tree, "another tree:\n{text}\n{once}");
    assert_eq!(comments_after, comments, "other comments:\n{text}\n{once}");
    assert!(once.is_empty() || once.ends_with('\n') && !once.ends_with("\n\n"), "{once:?}");
    assert!(!once.contains("\n\n\n") && !once.contains("{\n\n") && !once.starts_with('\n'), "{once}");
    assert!(once.lines().all(|line| line.trim_end() == line), "{once}");
    once
}

fn check(text: &str, expected: &str) {
    assert_eq!(checked(text), expected, "{text}");
}

#[test]
fn the_tour_of_the_language_stays_as_it_is() {
    let tour = include_str!("../../../tests/syntax/tour.net");
    check(tour, tour);
    let crowded: String = tour.lines().map(|line| format!("{}\n", line.trim_start().replace(", ", ","))).collect();
    let without_comments = |text: &str| -> String {
        let code = |line: &str| line.split('#').next().unwrap_or("").trim_end().replace("   ->", " ->") + "\n";
        text.lines().map(code).collect()
    };
    assert_eq!(without_comments(&checked(&crowded)), without_comments(tour));
}

#[test]
fn statements_get_a_line_each_and_labels_line_up() {
    check(
        "net a {input x:[3,H,W]where H%16==0,W%16==0\n  a:relu;bb:conv(3,1)\n\n\n\nccc:bn;d,e:split( 2 )\n}",
        "\
net a {
  input x: [3, H, W] where H % 16 == 0, W % 16 == 0
  a:  relu
  bb: conv(3, 1)

  ccc:  bn
  d, e: split(2)
}
",
    );
    check("net a {\n}\n", "net a {}\n");
    check("net a {\n\n  # only this\n\n}\n", "net a {\n  # only this\n}\n");
    check("", "");
    check("\r\n# a\r\n\r\n", "# a\n");
}

#[test]
fn bodies_stay_on_one_line_if_they_were_and_fit() {
    let short = "block a(c) { if c > 3 { relu } else if c > 2 { bn; relu } else {} }\n";
    check(short, short);
    check(
        "block a(c) { if c > 3 {\n relu } else { bn } }",
        "block a(c) {\n  if c > 3 {\n    relu\n  } else {\n    bn\n  }\n}\n",
    );
    let long = format!("block abcd(c) {{ x: conv({}1) }}\n", "1 + ".repeat(18));
    assert_eq!(long.len(), 101);
    check(&long, &long);
    let longer = long.replacen("1 + ", "1 + 1 + ", 1);
    check(&longer, &longer.replace("{ ", "{\n  ").replace(" }", "\n}"));
}

#[test]
fn long_lists_get_a_line_for_each_item() {
    let names: Vec<String> = (0..20).map(|i| format!("name{i}")).collect();
    let list = names.join(", ");
    let lines: String = names.iter().map(|name| format!("    {name},\n")).collect();
    check(&format!("net a {{ x: f({list}) }}"), &format!("net a {{\n  x: f(\n{lines}  )\n}}\n"));
    let rows = format!("let a = [[{list}], [1, 2]]");
    let inner: String = names.iter().map(|name| format!("    {name},\n")).collect();
    check(&rows, &format!("let a = [\n  [\n{inner}  ],\n  [1, 2],\n]\n"));
}

#[test]
fn long_lists_of_numbers_are_filled() {
    let row = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let text = checked(&format!("let a = [{}]", row(60)));
    assert!(text.starts_with("let a = [\n  0, 1, 2, 3,"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    assert_eq!(text.lines().count(), 5, "{text}");
}

#[test]
fn a_comma_at_the_end_keeps_the_lines_of_a_list() {
    check("let a = [\n [1,2],\n [3,4],\n]", "let a = [\n  [1, 2],\n  [3, 4],\n]\n");
    check("let a = [\n [1,2], [3,4],\n [5],\n\n[6,\n7],\n]", "let a = [\n  [1, 2], [3, 4],\n  [5],\n  [6, 7],\n]\n");
    check("let a = [\n [1,2], [3,4]\n]", "let a = [[1, 2], [3, 4]]\n");
    check("let a = [[1,2], [3,4],]", "let a = [[1, 2], [3, 4]]\n");
}

#[test]
fn a_list_at_the_end_of_the_arguments_is_broken_alone() {
    let text = "net a {\n  c3: table_conv(5, table = [\n    [0, 1], [1, 2],\n    [2, 3],\n  ]) -> [6, 10, 10]\n}\n";
    check(text, text);
    let numbers = (0..60).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let text = checked(&format!("let a = f(x, [{numbers}])"));
    assert!(text.starts_with("let a = f(x, [\n  0, 1, 2,") && text.ends_with("58, 59,\n])\n"), "{text}");
}

#[test]
fn claims_line_up() {
    check(
        "net a {\na: relu -> [1,2,3]\nb: maxpool(2) -> [1,1,1]\n\nbn -> [3]\n\nbn   -> [4]\nadd {\nx } -> [2]\n}",
        "\
net a {
  a: relu        -> [1, 2, 3]
  b: maxpool(2)  -> [1, 1, 1]

  bn -> [3]

  bn -> [4]
  add {
    x
  } -> [2]
}
",
    );
}

#[test]
fn comments_stay_where_they_are() {
    let text = "\
# top

import \"x\"   # behind
# above
net a {       # behind the brace
  # own

  # another
  relu   # one
  bn     # two
  conv(
    # before
    3,   # three
    4,
    # after
  )
  #[allow(a, b)]   # why
  # between
  x: y
  #[allow(c)]
  if z {      # then
    # nothing
  } else {    # else
  }
  # end
}  # done
# last
";
    check(text, text);
    check(
        "let a = (1 # one\n + 2)\nlet b = [c # two\n * d[ # three\n 3], 4] # four\n",
        "# one\nlet a = (1 + 2)\nlet b = [\n  # two\n  # three\n  c * d[3],\n  4,\n]       # four\n",
    );
    check("block a( # no parameters\n) { relu }", "# no parameters\nblock a {\n  relu\n}\n");
}

#[test]
fn columns_of_comments_that_lined_up_move_together() {
    check(
        "net a {\n  relu # x\n  conv(64,3,stride=2)   # one\n  bn                    # two\n}\n",
        "net a {\n  relu  # x\n  conv(64, 3, stride = 2)  # one\n  bn                       # two\n}\n",
    );
}

#[test]
fn spellings_stay() {
    let text = "let a = [1_000, 1.50, 1E-5, \"a\\tb\", (((1))), - -1, -(-1), not not a, a.0.b{i}{j}c.{k}.d, f()]\n";
    check(text, &text.replace("- -1", "--1"));
    check("let a=if a then 1 else if b then 2 else 3", "let a = if a then 1 else if b then 2 else 3\n");
    check("let a=1-2-(3-4)*-5//6%7..8", "let a = 1 - 2 - (3 - 4) * -5 // 6 % 7..8\n");
    check("net a { \"q\\\"x\": relu; x{i+1}.y:bn;0:bn }", "net a { \"q\\\"x\": relu; x{i + 1}.y: bn; 0: bn }\n");
}

#[test]
fn a_source_with_errors_is_left_alone() {
    let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
    let id = sources.add("test.net", "net a {\n  conv(3 3)\n}\n");
    assert_eq!(format(&sources, id, &mut sink), None);
    assert_eq!(sink.diagnostics().len(), 1);
}

#[test]
fn the_deepest_nesting_can_be_formatted() {
    let nested = |n, open: &str, close: &str| format!("let a = {}1{}\n", open.repeat(n), close.repeat(n));
    for text in [
        nested(255, "(", ")"),
        nested(255, "[", "]"),
        nested(255, "f(", ")"),
        nested(255, "a{", "}"),
        nested(255, "-", ""),
        nested(255, "1 + ", ""),
        nested(255, "if a then b else ", ""),
    ] {
        checked(&text);
    }
    for text in [format!("net a {}{}", "{\n".repeat(256), "}\n".repeat(256)), "{".repeat(255) + &"}".repeat(255)] {
        checked(&if text.starts_with('{') { format!("net a {text}") } else { text });
    }
    let branches = format!("net a {{{}{}}}", "if x {".repeat(255), "} else { y }\n".repeat(255));
    checked(&branches);
}

/// Makes up sources; every choice is a byte, so that shrinking the bytes shrinks the source.
struct Author<'a> {
    choices: std::slice::Iter<'a, u8>,
    text: String,
    comments: usize,
    depth: usize,
}

impl Author<'_> {
    fn pick(&mut self, n: u8) -> u8 {
        self.choices.next().map_or(0, |choice| choice % n)
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn word(&mut self) {
        const WORDS: [&str; 12] =
            ["a", "bn", "conv", "prev", "x1", "long_name_of_something", "relu", "stem", "in", "i", "classes", "head"];
        let word = WORDS[self.pick(12) as usize];
        self.put(if word == "in" { "inner" } else { word });
    }

    fn comment(&mut self) {
        self.comments += 1;
        let comment = format!("#{}{}", ["", " ", "# [", "{ x: \""][self.pick(4) as usize], self.comments);
        self.put(&comment);
    }

    /// Blanks within a statement.
    fn blank(&mut self) {
        let blank = ["", " ", "  ", "\t"][self.pick(4) as usize];
        self.put(blank);
    }

    /// Blanks within brackets, with line breaks and comments.
    fn gap(&mut self) {
        match self.pick(10) {
            6 => self.put("\n"),
            7 => self.put("\r\n\n  "),
            8 | 9 => {
                self.blank();
                self.comment();
                self.put("\n ");
            }
            _ => self.blank(),
        }
    }

    fn listed(&mut self, open: &str, close: &str, least: u8, mut item: impl FnMut(&mut Self)) {
        self.put(open);
        self.gap();
        let n = least + self.pick(4);
        for i in 0..n {
            item(self);
            self.gap();
            if i + 1 < n || self.pick(3) == 1 {
                self.put(",");
                self.gap();
            }
        }
        self.put(close);
    }

    fn path(&mut self) {
        self.word();
        for _ in 0..self.pick(3) {
            match self.pick(4) {
                0 => self.put(".0"),
                1 => self.put(".c"),
                2 => self.put(".if"),
                _ => {
                    self.put("{");
                    self.blank();
                    self.expr();
                    self.put("}");
                }
            }
        }
    }

    fn expr(&mut self) {
        self.depth += 1;
        let kinds = if self.depth > 5 { 5 } else { 14 };
        match self.pick(kinds) {
            0 => self.put("1"),
            1 => self.put(["64", "1_000", "0.5", "1e-5"][self.choices.len() % 4]),
            2 => self.put("\"s\\\"{[(#\""),
            3 => self.path(),
            4 => self.put("true"),
            5 => self.listed("[", "]", 0, Self::expr),
            6 => {
                self.put("max");
                self.args();
            }
            7 => {
                self.put("-");
                self.operand();
            }
            8 => {
                self.put("(");
                self.gap();
                self.expr();
                self.gap();
                self.put(")");
            }
            9 | 10 => {
                self.operand();
                let sign = ["+", "-", "*", "/", "//", "%", "==", " and ", " or "][self.pick(9) as usize];
                self.put(sign);
                self.operand();
            }
            11 => {
                self.put("if ");
                self.operand();
                self.put(" then ");
                self.operand();
                self.put(" else ");
                self.operand();
            }
            12 => {
                self.path();
                self.put("[");
                self.gap();
                self.expr();
                self.put("]");
            }
            _ => {
                self.put("(not ");
                self.operand();
                self.put(")");
            }
        }
        self.depth -= 1;
    }

    fn operand(&mut self) {
        match self.pick(4) {
            0 => self.put("2"),
            1 => self.path(),
            2 => self.put("[1, 2, 3, 4, -5]"),
            _ => {
                self.put("(");
                self.gap();
                self.expr();
                self.put(")");
            }
        }
    }

    fn args(&mut self) {
        self.listed("(", ")", 0, |this| {
            if this.pick(3) == 1 {
                this.word();
                this.blank();
                this.put("=");
                this.blank();
            }
            this.expr();
        });
    }

    /// What stands between two statements.
    fn between(&mut self, must_end: bool) {
        match self.pick(8) {
            0 | 1 => self.put("\n"),
            2 => self.put("\n\n\n"),
            3 => {
                self.blank();
                self.comment();
                self.put("\n");
            }
            4 => {
                self.put("\r\n  ");
                self.comment();
                self.put("\n\n");
            }
            5 => self.put(" ; "),
            6 => {
                self.put(";");
                self.comment();
                self.put("\n");
            }
            _ if must_end => self.put("\n"),
            _ => self.put(" "),
        }
    }

    fn body(&mut self) {
        self.put(" {");
        self.depth += 1;
        let n = if self.depth > 4 { 0 } else { self.pick(5) };
        self.between(false);
        for i in 0..n {
            self.statement();
            self.between(i + 1 < n);
        }
        self.depth -= 1;
        self.put("}");
    }

    fn label(&mut self) {
        match self.pick(4) {
            0 => self.word(),
            1 => self.put("\"odd: {name\""),
            2 => self.put("0.conv"),
            _ => self.path(),
        }
    }

    fn statement(&mut self) {
        if self.pick(8) == 7 {
            self.listed("#[allow(", ")]", 1, Self::word);
            match self.pick(3) {
                0 => self.put("\n"),
                1 => {
                    self.comment();
                    self.put("\n");
                }
                _ => {
                    self.put("\n\n");
                    self.comment();
                    self.put("\n#[allow(z)]\n");
                }
            }
        }
        match self.pick(14) {
            0 => self.word(),
            1 => {
                self.put("let x=");
                self.expr();
            }
            2 => {
                self.put("input x :");
                self.listed("[", "]", 0, Self::expr);
                if self.pick(2) == 1 {
                    self.put(" where ");
                    self.operand();
                    self.put(",");
                    self.operand();
                }
            }
            3 => {
                self.put("output y");
                if self.pick(2) == 1 {
                    self.put("=");
                    self.path();
                }
                if self.pick(2) == 1 {
                    self.put(": train  weight ");
                    self.operand();
                }
            }
            4 => {
                self.put("if ");
                self.operand();
                self.body();
                if self.pick(2) == 1 {
                    self.put("else  if ");
                    self.operand();
                    self.body();
                }
                if self.pick(2) == 1 {
                    self.put(" else");
                    self.body();
                }
            }
            5 => {
                self.put("repeat ");
                self.operand();
                if self.pick(2) == 1 {
                    self.put(" as  i");
                }
                self.body();
            }
            6 => {
                self.put("for i , ");
                self.listed("[", "]", 1, Self::word);
                self.put("in ");
                self.operand();
                self.body();
            }
            7 => self.put("preprocess{resize 256;crop  [1,2];order bgr; scale 0..1 }"),
            8 => self.put("budget {\n macs<=4.2 G #b\nparams <= 27  M\n\n}"),
            _ => self.value(),
        }
    }

    fn value(&mut self) {
        for i in 0..self.pick(3) {
            self.put(if i == 0 { "" } else { ", " });
            self.label();
            self.put("\u{1}");
        }
        // Several labels are joined by commas and end in one colon.
        let labels = self.text.matches('\u{1}').count();
        self.text = self.text.replacen('\u{1}', "", labels.saturating_sub(1)).replace('\u{1}', ": ");
        match self.pick(4) {
            0 => {
                self.put("from ");
                self.path();
                self.body();
            }
            1 => {
                self.text.truncate(self.text.trim_end_matches([' ', '\t']).len());
                self.body();
            }
            _ => {
                self.word();
                if self.pick(3) > 0 {
                    self.args();
                }
                if self.pick(4) == 1 {
                    self.body();
                }
            }
        }
        if self.pick(4) == 1 {
            self.put("->");
            self.listed("[", "]", 0, Self::expr);
        }
    }

    fn item(&mut self) {
        match self.pick(6) {
            0 => self.put("import  \"a/b.net\""),
            1 => {
                self.put("let x = ");
                self.expr();
            }
            2 => self.put("block empty( # none\n){}"),
            _ => {
                self.put("net a");
                self.listed("(", ")", 0, |this| {
                    this.word();
                    if this.pick(2) == 1 {
                        this.put("=");
                        this.expr();
                    }
                });
                self.body();
            }
        }
        self.between(true);
        self.put("\n");
    }
}

proptest! {
    #[test]
    fn every_text_keeps_its_tree_and_its_comments(choices in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut author = Author { choices: choices.iter(), text: String::new(), comments: 0, depth: 0 };
        for _ in 0..3 {
            author.item();
        }
        checked(&author.text);
    }
}
