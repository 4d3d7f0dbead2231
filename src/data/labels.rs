//! Class names.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::error::{DataError, Place};
use super::read_bounded;

/// The longest file that is read as class names, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// Names of classes by index, counted from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    names: BTreeMap<usize, String>,
}

impl Labels {
    /// Reads a file of names: text with one a line, a JSON list, or a JSON object from index to name. In JSON a list
    /// may stand for a name, as in `["n01440764", "tench"]`; its last string is taken.
    pub fn read(path: impl AsRef<Path>) -> Result<Labels, DataError> {
        let path = path.as_ref();
        Labels::parse(path, &read_bounded(path, MAX_FILE)?)
    }

    /// Reads the bytes of such a file; `file` is its name in error messages.
    pub fn parse(file: impl AsRef<Path>, bytes: &[u8]) -> Result<Labels, DataError> {
        let names = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            None => Err((Place::Line(1), "there are no names".to_string())),
            Some(b'[' | b'{') => json(bytes),
            Some(_) => lines(bytes),
        };
        match names {
            Ok(names) => Ok(Labels { names }),
            Err((place, why)) => Err(DataError::Labels { file: file.as_ref().to_path_buf(), place, why }),
        }
    }

    /// The name of a class, if it has one.
    pub fn get(&self, index: usize) -> Option<&str> {
        self.names.get(&index).map(String::as_str)
    }

    /// The names as JSON: a list, or by number where some are left out.
    pub fn to_json(&self) -> String {
        let is_list = self.names.keys().copied().eq(0..self.names.len());
        let text = if is_list {
            serde_json::to_string(&self.names.values().collect::<Vec<_>>())
        } else {
            serde_json::to_string(&self.names)
        };
        text.unwrap_or_default()
    }

    /// How many classes have a name.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether no class has a name.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

type Fault = (Place, String);

fn lines(bytes: &[u8]) -> Result<BTreeMap<usize, String>, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
        (Place::Line(line), "this is not UTF-8 text".to_string())
    })?;
    let name = |(index, line): (usize, &str)| match line.trim() {
        "" => Err((Place::Line(index + 1), format!("class {index} has an empty name"))),
        name => Ok((index, name.to_string())),
    };
    text.trim_end().lines().enumerate().map(name).collect()
}

fn json(bytes: &[u8]) -> Result<BTreeMap<usize, String>, Fault> {
    let names: JsonNames = serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        let why = text.split(" at line ").next().unwrap_or_default().to_string();
        (Place::LineColumn(error.line(), error.column()), why)
    })?;
    Ok(names.0)
}

struct JsonNames(BTreeMap<usize, String>);

/// A name, or what stands for one.
#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "this is neither a name nor a list that ends with one")]
enum JsonName {
    One(String),
    Several(Vec<String>),
}

impl<'de> Deserialize<'de> for JsonNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamesVisitor)
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = JsonNames;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of names or an object from index to name")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<JsonNames, A::Error> {
        let mut names = BTreeMap::new();
        while let Some(name) = list.next_element()? {
            let index = names.len();
            insert(&mut names, index, name)?;
        }
        finish(names)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonNames, A::Error> {
        let mut names = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let index = key.parse().map_err(|_| A::Error::custom(format!("the key \"{key}\" is not a class index")))?;
            insert(&mut names, index, map.next_value()?)?;
        }
        finish(names)
    }
}

fn insert<E: Error>(names: &mut BTreeMap<usize, String>, index: usize, name: JsonName) -> Result<(), E> {
    let name = match name {
        JsonName::One(name) => Some(name),
        JsonName::Several(names) => names.into_iter().next_back(),
    };
    let name = name.ok_or_else(|| E::custom(format!("class {index} has an empty list of names")))?;
    match names.insert(index, name) {
        Some(_) => Err(E::custom(format!("class {index} is there twice"))),
        None => Ok(()),
    }
}

fn finish<E: Error>(names: BTreeMap<usize, String>) -> Result<JsonNames, E> {
    if names.is_empty() { Err(E::custom("there are no names")) } else { Ok(JsonNames(names)) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Labels, String> {
        Labels::parse("labels", text.as_bytes()).map_err(|error| error.to_string())
    }

    fn names(text: &str) -> Vec<(usize, String)> {
        read(text).unwrap().names.into_iter().collect()
    }

    #[test]
    fn every_form_is_read() {
        let expected = [(0, "cat, tabby".to_string()), (1, "dog".to_string())];
        for text in [
            "cat, tabby\ndog",
            "cat, tabby\r\ndog\r\n\n",
            r#"["cat, tabby", "dog"]"#,
            r#" {"0": "cat, tabby", "1": "dog"}"#,
            r#"{"1": ["n2", "dog"], "0": ["n1", "cat, tabby"]}"#,
            r#"[["n1", "cat, tabby"], "dog"]"#,
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
        assert_eq!(names(r#"{"18446744073709551615": "last"}"#), [(usize::MAX, "last".to_string())]);
    }

    #[test]
    fn mistakes_are_placed() {
        for (text, expected) in [
            ("", "`labels`, line 1: there are no names"),
            (" \n", "`labels`, line 1: there are no names"),
            ("cat\n\ndog", "`labels`, line 2: class 1 has an empty name"),
            ("[]", "`labels`, line 1, column 2: there are no names"),
            (
                "{\n\"0\": \"cat\",\n\"one\": \"dog\"}",
                "`labels`, line 3, column 5: the key \"one\" is not a class index",
            ),
            ("[\"cat\",\n7]", "`labels`, line 2, column 2: this is neither a name nor a list that ends with one"),
            ("[[]]", "`labels`, line 1, column 4: class 0 has an empty list of names"),
            ("{\"0\": \"cat\", \"00\": \"dog\"}", "`labels`, line 1, column 25: class 0 is there twice"),
            ("[\"cat\"", "`labels`, line 1, column 6: EOF while parsing a list"),
        ] {
            assert_eq!(read(text).unwrap_err(), expected, "{text}");
        }
        let error = Labels::parse("labels", b"cat\n\xff\n").unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.place()),
            ("`labels`, line 2: this is not UTF-8 text", Some(Place::Line(2)))
        );
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(read(&"[".repeat(100_000)).is_err());
    }
}
