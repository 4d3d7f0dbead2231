//! Diagnostics for tools, as JSON.

use super::{Diagnostic, Edit, Label, Severity, SourceMap, Span};
use serde_json::{Value, json};

/// The version of what [`render`] writes; it changes when a field changes its meaning or goes.
pub const SCHEMA: &str = "netc.diagnostics/1";

/// The diagnostics as one JSON object.
///
/// Places are half open. A place has `file`, `start` and `end`; each end has `byte` (from 0), `line` and `column` (from
/// 1, a column being a Unicode scalar value). A place outside its file is moved into it.
///
/// ```json
/// {
///   "schema": "netc.diagnostics/1",
///   "diagnostics": [{
///     "code": "W0501", "name": "bias_before_norm", "severity": "warning", "title": "…",
///     "primary": {"file": "a.net", "start": {"byte": 9, "line": 2, "column": 3}, "end": {…}, "text": "…"},
///     "labels": [{"file": …, "start": …, "end": …, "text": "…"}],
///     "notes": ["…"],
///     "help": [{"text": "…", "edits": [{"file": …, "start": …, "end": …, "replacement": "…"}]}]
///   }],
///   "errors": 0,
///   "warnings": 1
/// }
/// ```
pub fn render(sources: &SourceMap, diagnostics: &[Diagnostic]) -> Value {
    let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    json!({
        "schema": SCHEMA,
        "diagnostics": diagnostics.iter().map(|d| diagnostic(sources, d)).collect::<Vec<_>>(),
        "errors": errors,
        "warnings": diagnostics.len() - errors,
    })
}

fn diagnostic(sources: &SourceMap, diagnostic: &Diagnostic) -> Value {
    let help = |help: &super::Help| {
        let edits: Vec<_> = help.edits.iter().map(|e| edit(sources, e)).collect();
        json!({"text": help.text, "edits": edits})
    };
    json!({
        "code": diagnostic.code.0,
        "name": diagnostic.code.row().map_or("", |row| row.name),
        "severity": match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "title": diagnostic.title,
        "primary": label(sources, &diagnostic.primary),
        "labels": diagnostic.secondary.iter().map(|l| label(sources, l)).collect::<Vec<_>>(),
        "notes": diagnostic.notes,
        "help": diagnostic.help.iter().map(help).collect::<Vec<_>>(),
    })
}

fn label(sources: &SourceMap, label: &Label) -> Value {
    with_field(place(sources, label.span), "text", &label.text)
}

fn edit(sources: &SourceMap, edit: &Edit) -> Value {
    with_field(place(sources, edit.span), "replacement", &edit.replacement)
}

fn with_field(mut object: Value, name: &str, text: &str) -> Value {
    object[name] = text.into();
    object
}

fn place(sources: &SourceMap, span: Span) -> Value {
    let Some(file) = sources.get(span.file) else {
        return json!({"file": null, "start": end_of(0, 1, 1), "end": end_of(0, 1, 1)});
    };
    let range = file.clamp(span);
    let end = |byte| {
        let position = file.position(byte);
        end_of(byte, position.line, position.column)
    };
    json!({"file": file.name, "start": end(range.start), "end": end(range.end)})
}

fn end_of(byte: usize, line: usize, column: usize) -> Value {
    json!({"byte": byte, "line": line, "column": column})
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::diag::{FileId, codes};

    fn span(start: u32, end: u32) -> Span {
        Span { file: FileId(0), start, end }
    }

    #[test]
    fn every_field_is_there() {
        let mut sources = SourceMap::default();
        sources.add("a.net", "net n {\n  conv(8, 3)\n  bn\n}\n");
        let advice = Diagnostic::new(codes::W0501, span(10, 20), "`conv` has a bias in front of `bn`")
            .label("its bias is subtracted again")
            .also(span(23, 25), "by this layer's mean")
            .note("8 parameters")
            .fix("leave it out", span(19, 19), ", bias = false");
        let text = serde_json::to_string_pretty(&render(&sources, &[advice])).unwrap();
        insta::assert_snapshot!(text, @r#"
        {
          "schema": "netc.diagnostics/1",
          "diagnostics": [
            {
              "code": "W0501",
              "name": "bias_before_norm",
              "severity": "warning",
              "title": "`conv` has a bias in front of `bn`",
              "primary": {
                "file": "a.net",
                "start": {
                  "byte": 10,
                  "line": 2,
                  "column": 3
                },
                "end": {
                  "byte": 20,
                  "line": 2,
                  "column": 13
                },
                "text": "its bias is subtracted again"
              },
              "labels": [
                {
                  "file": "a.net",
                  "start": {
                    "byte": 23,
                    "line": 3,
                    "column": 3
                  },
                  "end": {
                    "byte": 25,
                    "line": 3,
                    "column": 5
                  },
                  "text": "by this layer's mean"
                }
              ],
              "notes": [
                "8 parameters"
              ],
              "help": [
                {
                  "text": "leave it out",
                  "edits": [
                    {
                      "file": "a.net",
                      "start": {
                        "byte": 19,
                        "line": 2,
                        "column": 12
                      },
                      "end": {
                        "byte": 19,
                        "line": 2,
                        "column": 12
                      },
                      "replacement": ", bias = false"
                    }
                  ]
                }
              ]
            }
          ],
          "errors": 0,
          "warnings": 1
        }
        "#);
    }

    #[test]
    fn places_outside_their_file_are_moved_into_it() {
        let mut sources = SourceMap::default();
        sources.add("a.net", "\u{e9}\n");
        let lost = Span { file: FileId(3), start: 1, end: 2 };
        let value = render(&sources, &[Diagnostic::new(codes::E0101, span(1, 90), "x").also(lost, "y")]);
        assert_eq!(value["diagnostics"][0]["primary"]["start"], end_of(0, 1, 1));
        assert_eq!(value["diagnostics"][0]["primary"]["end"], end_of(3, 2, 1));
        assert_eq!(value["diagnostics"][0]["labels"][0]["file"], Value::Null);
        assert_eq!((&value["errors"], &value["warnings"]), (&json!(1), &json!(0)));
    }
}
