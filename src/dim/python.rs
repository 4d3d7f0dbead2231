//! A size as Python computes it in integers.

use std::fmt::Write;

use super::poly::{Atom, Poly, Term};
use super::print::gcd_unsigned;
use super::{Dim, Repr};

impl Dim {
    /// The size as an expression of Python, with a name for each symbol.
    pub fn python(&self, name: &dyn Fn(&str) -> String) -> String {
        match &self.0 {
            Repr::Known(value) => value.to_string(),
            Repr::Symbolic(poly) => sum(poly, name),
        }
    }
}

fn sum(poly: &Poly, name: &dyn Fn(&str) -> String) -> String {
    let mut text = String::new();
    for term in poly.terms() {
        text.push_str(match (text.is_empty(), term.coefficient < 0) {
            (true, true) => "-",
            (true, false) => "",
            (false, true) => " - ",
            (false, false) => " + ",
        });
        product(&mut text, term, name);
    }
    text
}

/// A term without its sign.
fn product(text: &mut String, term: &Term, name: &dyn Fn(&str) -> String) {
    let mut coefficient = term.coefficient.unsigned_abs();
    let mut factors = Vec::new();
    for (atom, exponent) in &term.monomial.factors {
        for _ in 0..*exponent {
            factors.push(match atom {
                Atom::Symbol(symbol) => {
                    // 4 times a sixteenth is a quarter.
                    let common = gcd_unsigned(coefficient, symbol.divisor.into());
                    coefficient /= common;
                    match u128::from(symbol.divisor) / common {
                        1 => name(&symbol.name),
                        by => format!("({} // {by})", name(&symbol.name)),
                    }
                }
                Atom::Floor(floor) => {
                    let inner = sum(&floor.poly, name);
                    let inner = if 1 < floor.poly.terms().len() { format!("({inner})") } else { inner };
                    format!("({inner} // {})", floor.by)
                }
            });
        }
    }
    if coefficient != 1 || factors.is_empty() {
        let _ = write!(text, "{coefficient}");
        if !factors.is_empty() {
            text.push_str(" * ");
        }
    }
    text.push_str(&factors.join(" * "));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dim::DimError;

    #[test]
    fn sizes_are_whole_numbers_of_python() -> Result<(), DimError> {
        let (h, w) = (Dim::symbol("H", 16), Dim::symbol("W", 1));
        let text = |dim: &Dim| dim.python(&|symbol| symbol.to_lowercase());
        assert_eq!(text(&Dim::known(7)), "7");
        assert_eq!(text(&h), "h");
        assert_eq!(text(&h.floor_div(4)?), "(h // 4)");
        assert_eq!(text(&h.mul(&Dim::known(2))?), "2 * h");
        assert_eq!(text(&w.sub(&Dim::known(3))?.floor_div(2)?.add(&Dim::ONE)?), "((w + 1) // 2) - 1");
        assert_eq!(text(&h.mul(&h)?.sub(&h.floor_div(4)?)?), "h * h - (h // 4)");
        Ok(())
    }
}
