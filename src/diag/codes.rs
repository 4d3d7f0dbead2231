//! The one table of codes. `netc explain CODE` prints a row; a test holds the table against `tests/errors/`. The
//! explanation of a code is `explain/CODE.md`: what it means, an example of the mistake in a block fenced as `net wrong`,
//! and the mended example in one fenced as `net`. An example with no `net` or `block` in it stands for the lines between
//! `net example { input image: [16, 32, 32]` and `output features }`; a file `blocks/residual.net` is there to import.

use super::Severity;

/// A row of [`TABLE`] by its number: `E0301`, `W0501`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub &'static str);

impl Code {
    /// `W…` codes are advice, all others errors.
    pub fn severity(self) -> Severity {
        if self.0.starts_with('W') { Severity::Warning } else { Severity::Error }
    }

    /// The row of this code.
    pub fn row(self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.code == self)
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// What `netc explain` says of a code.
#[derive(Debug)]
pub struct Row {
    /// The code.
    pub code: Code,
    /// The name by which `#[allow(name)]` silences advice; empty for errors.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// What it means, an example of the mistake, and the mended example.
    pub explanation: &'static str,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident $name:literal $summary:literal;)*) => {
        $(#[doc = $summary] pub const $code: Code = Code(stringify!($code));)*
        /// Every code there is, in order.
        pub const TABLE: &[Row] = &[$(Row {
            code: $code,
            name: $name,
            summary: $summary,
            explanation: include_str!(concat!("explain/", stringify!($code), ".md")),
        },)*];
    };
}

codes! {
    E0101 "" "a line that does not parse";
    E0102 "" "a bracket, brace or string that is not closed";
    E0103 "" "a number that does not fit or is malformed";
    E0104 "" "nesting deeper than 256";
    E0105 "" "a source that is not UTF-8, or too large";
    E0201 "" "an unknown layer or block";
    E0202 "" "an unknown name in an expression";
    E0203 "" "an unknown label";
    E0204 "" "an unknown argument";
    E0205 "" "a missing argument";
    E0206 "" "too many or repeated arguments";
    E0207 "" "the same path twice";
    E0208 "" "a value of the wrong type";
    E0209 "" "arithmetic that has no integer result";
    E0210 "" "an import that cannot be read";
    E0211 "" "imports or blocks that call themselves";
    E0212 "" "a name defined twice";
    E0213 "" "a file without a net, or with more than one";
    E0214 "" "a value where there is none";
    E0215 "" "a test on a symbolic size";
    E0216 "" "more values than allowed";
    E0217 "" "a statement that has no place here";
    E0218 "" "a net without an output or an input";
    E0219 "" "a net parameter that does not exist or does not fit";
    E0220 "" "parameters shared between layers";
    E0221 "" "an attribute with an impossible value";
    E0301 "" "operands of add, sub or mul that differ in shape";
    E0302 "" "operands of concat that differ off the axis";
    E0303 "" "a layer that needs another rank";
    E0304 "" "channels that do not divide into groups";
    E0305 "" "a window larger than its padded input";
    E0306 "" "sizes that overflow";
    E0307 "" "a range outside its input";
    E0308 "" "sizes that do not fit the layer";
    E0401 "" "a claim that does not hold";
    E0402 "" "a budget that is exceeded";
    E0403 "" "a preprocess that does not fit its input";
    E0404 "" "an input that breaks its condition";
    W0501 "bias_before_norm" "a convolution bias in front of batch norm";
    W0502 "unlabelled_weights" "a weighted layer without a label";
    W0503 "all_padding_window" "padding that makes a window all padding";
    W0504 "unused_output" "a layer whose output nobody uses";
    W0505 "lost_border" "odd sizes that lose a border in pooling";
    W0506 "tight_budget" "a budget within 2 % of its bound";
}

/// The row of a code given as text, in any case, or of the name of advice.
pub fn lookup(code: &str) -> Option<&'static Row> {
    let named = |row: &&Row| !row.name.is_empty() && row.name == code;
    TABLE.iter().find(|row| row.code.0.eq_ignore_ascii_case(code) || named(row))
}

/// What `netc explain CODE` prints: the summary and the explanation, examples indented; `None` for an unknown code.
pub fn explain(code: &str) -> Option<String> {
    let row = lookup(code)?;
    let mut text = format!("{}: {}\n\n", row.code, row.summary);
    let mut in_example = false;
    for line in row.explanation.lines() {
        if line.starts_with("```") {
            in_example = !in_example;
        } else {
            let indent = if in_example && !line.is_empty() { "    " } else { "" };
            text.push_str(&format!("{indent}{line}\n"));
        }
    }
    if !row.name.is_empty() {
        text.push_str(&format!("\n`#[allow({})]` on the line above allows it.\n", row.name));
    }
    Some(text)
}

/// Every code with its summary, a line each, advice with the name that allows it.
pub fn list() -> String {
    let line = |row: &Row| match row.name {
        "" => format!("{}  {}\n", row.code, row.summary),
        name => format!("{}  {} ({name})\n", row.code, row.summary),
    };
    TABLE.iter().map(line).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_advice_has_a_name() {
        assert!(TABLE.is_sorted_by(|a, b| a.code < b.code));
        for row in TABLE {
            assert_eq!(row.name.is_empty(), row.code.severity() == Severity::Error, "{}", row.code);
            assert!(!row.summary.is_empty() && !row.summary.ends_with('.'), "{}", row.code);
        }
    }

    #[test]
    fn an_explanation_is_found_in_any_case() {
        assert_eq!(lookup("w0501").unwrap().code, W0501);
        assert_eq!(lookup("bias_before_norm").unwrap().code, W0501);
        assert!(explain("E9999").is_none() && explain("").is_none());
    }

    #[test]
    fn an_explanation_is_the_summary_the_text_and_the_name() {
        insta::assert_snapshot!(explain("W0501").unwrap(), @r"
        W0501: a convolution bias in front of batch norm

        Batch norm subtracts the mean of each channel, so a bias that the convolution before it has
        added is taken away again: the parameters cost memory and do nothing. Batch norm has a bias
        of its own.

        Instead of:
            conv1: conv(32, 3, pad = 1)
            bn1: bn
        write:
            conv1: conv(32, 3, pad = 1, bias = false)
            bn1: bn

        `#[allow(bias_before_norm)]` on the line above allows it.
        ");
        assert!(!explain("E0301").unwrap().contains("allow("));
    }

    #[test]
    fn every_code_is_listed() {
        let list = list();
        assert_eq!(list.lines().count(), TABLE.len());
        assert!(list.contains("\nE0302  operands of concat that differ off the axis\n"));
        assert!(list.contains("\nW0501  a convolution bias in front of batch norm (bias_before_norm)\n"));
    }
}
