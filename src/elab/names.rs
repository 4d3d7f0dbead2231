//! Compile-time names in the order in which they were bound. A later one hides an earlier one of the same text, and a
//! lookup costs the same however many there are.

use std::collections::HashMap;

use super::value::Value;

/// Names that can be seen in one frame.
#[derive(Debug, Default)]
pub(super) struct Names {
    list: Vec<(String, Value)>,
    /// Where in `list` each name is bound, the last one behind the others.
    places: HashMap<String, Vec<usize>>,
}

impl Names {
    pub(super) fn push(&mut self, name: &str, value: Value) {
        match self.places.get_mut(name) {
            Some(places) => places.push(self.list.len()),
            None => {
                self.places.insert(name.to_owned(), vec![self.list.len()]);
            }
        }
        self.list.push((name.to_owned(), value));
    }

    /// The value last bound to a name.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        let &at = self.places.get(name)?.last()?;
        self.list.get(at).map(|(_, value)| value)
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Forgets what was bound after the first `len` names.
    pub(super) fn truncate(&mut self, len: usize) {
        while len < self.list.len() {
            let Some((name, _)) = self.list.pop() else { return };
            if let Some(places) = self.places.get_mut(&name) {
                places.pop();
                if places.is_empty() {
                    self.places.remove(&name);
                }
            }
        }
    }

    /// All of them, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.list.iter().map(|(name, value)| (name.as_str(), value))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_later_name_hides_an_earlier_one_until_it_is_forgotten() {
        let mut names = Names::default();
        for (name, value) in [("a", 1), ("b", 2), ("a", 3)] {
            names.push(name, Value::Int(crate::dim::Dim::from(value as u64)));
        }
        let shown = |names: &Names, name: &str| names.get(name).map(Value::to_string);
        assert_eq!(shown(&names, "a").unwrap(), "3");
        names.truncate(2);
        assert_eq!((names.len(), shown(&names, "a").unwrap()), (2, "1".to_owned()));
        names.truncate(0);
        assert_eq!((names.iter().count(), shown(&names, "a"), shown(&names, "b")), (0, None, None));
    }
}
