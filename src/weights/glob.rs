//! Patterns over names: `*` stands for any run of characters, dots included, and where asked `?` for any one.

/// Whether `pattern`, with `*` and `?`, matches the whole of `name`.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last `*` stands, and how far into the name it has been stretched.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, stretched)) = star else { return false };
                star = Some((at, stretched + 1));
                p = at + 1;
                n = stretched + 1;
            }
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// The runs that the stars of `pattern` stand for in `name`: each as short as it can be, from the left.
///
/// `None` where the pattern does not match the whole name.
pub(super) fn captures<'n>(pattern: &str, name: &'n str) -> Option<Vec<&'n str>> {
    let mut literals = pattern.split('*');
    let mut rest = name.strip_prefix(literals.next()?)?;
    let Some(last) = literals.next_back() else { return rest.is_empty().then(Vec::new) };
    let mut runs = Vec::new();
    for literal in literals {
        let (run, behind) = rest.split_once(literal)?;
        runs.push(run);
        rest = behind;
    }
    runs.push(rest.strip_suffix(last)?);
    Some(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, name, expected) in [
            ("aux*", "aux1.conv.weight", true),
            ("aux*", "an.aux", false),
            ("*.bias", "a.b.bias", true),
            ("*.bias", "a.b.biases", false),
            ("layer?.0", "layer1.0", true),
            ("layer?.0", "layer12.0", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("?", "é", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn hard_patterns_end_soon() {
        assert!(!matches(&"*a".repeat(200).replace("aa", "a"), &"a".repeat(150)));
        assert!(captures(&format!("{}b", "*a".repeat(500)), &"a".repeat(10_000)).is_none());
    }

    #[test]
    fn runs_are_short_and_from_the_left() {
        assert_eq!(captures("layers.*.conv.*", "layers.0.conv.weight"), Some(vec!["0", "weight"]));
        assert_eq!(captures("*.*", "a.b.c"), Some(vec!["a", "b.c"]));
        assert_eq!(captures("a", "a"), Some(vec![]));
        assert_eq!(captures("a", "ab"), None);
        assert_eq!(captures("*", "ab"), Some(vec!["ab"]));
        assert_eq!(captures("ab*ba", "aba"), None);
    }

    proptest! {
        #[test]
        fn both_agree_on_what_matches(pattern in "[ab*]{0,6}", name in "[ab]{0,8}") {
            prop_assert_eq!(captures(&pattern, &name).is_some(), matches(&pattern, &name));
        }
    }
}
