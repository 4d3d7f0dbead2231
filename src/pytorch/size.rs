//! A size as Python computes it in integers.

use crate::dim::{Dim, Factor, Product};

/// The size as an expression, with a name for each symbol.
pub(super) fn size(dim: &Dim, name: &dyn Fn(&str) -> String) -> String {
    let mut text = String::new();
    for term in dim.terms() {
        text.push_str(match (text.is_empty(), term.coefficient < 0) {
            (true, true) => "-",
            (true, false) => "",
            (false, true) => " - ",
            (false, false) => " + ",
        });
        text.push_str(&product(&term, name));
    }
    text
}

/// A term without its sign.
fn product(term: &Product, name: &dyn Fn(&str) -> String) -> String {
    let mut coefficient = term.coefficient.unsigned_abs();
    let mut factors = Vec::new();
    for factor in &term.factors {
        factors.push(match factor {
            Factor::Symbol { name: symbol, divisor } => {
                // 4 times a sixteenth is a quarter.
                let divisor = u128::from(*divisor);
                let common = if coefficient.is_multiple_of(divisor) {
                    divisor
                } else if divisor.is_multiple_of(coefficient) {
                    coefficient
                } else {
                    1
                };
                coefficient /= common;
                match divisor / common {
                    1 => name(symbol),
                    by => format!("({} // {by})", name(symbol)),
                }
            }
            Factor::Floor { of, by } => {
                let inner = size(of, name);
                let inner = if 1 < of.terms().len() { format!("({inner})") } else { inner };
                format!("({inner} // {by})")
            }
        });
    }
    if coefficient != 1 || factors.is_empty() {
        factors.insert(0, coefficient.to_string());
    }
    factors.join(" * ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dim::DimError;

    #[test]
    fn sizes_are_whole_numbers_of_python() -> Result<(), DimError> {
        let (h, w) = (Dim::symbol("H", 16), Dim::symbol("W", 1));
        let text = |dim: &Dim| size(dim, &|symbol| symbol.to_lowercase());
        assert_eq!(text(&Dim::known(7)), "7");
        assert_eq!(text(&Dim::known(-7)), "-7");
        assert_eq!(text(&Dim::ZERO), "0");
        assert_eq!(text(&h), "h");
        assert_eq!(text(&h.floor_div(4)?), "(h // 4)");
        assert_eq!(text(&h.mul(&Dim::known(2))?), "2 * h");
        assert_eq!(text(&w.sub(&Dim::known(3))?.floor_div(2)?.add(&Dim::ONE)?), "((w + 1) // 2) - 1");
        assert_eq!(text(&h.mul(&h)?.sub(&h.floor_div(4)?)?), "h * h - (h // 4)");
        Ok(())
    }
}
