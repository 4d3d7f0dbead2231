//! The text form: `H/16`, `2*H + 3`, `floor((H + 1)/2)*W`.
//!
//! An atom `h` stands for `H` divided by its divisor, so a coefficient may print as a fraction of
//! the symbols: `3*H*W/256`. Under a floor the denominators are brought to the outside.

use std::fmt::{self, Display, Formatter};

use super::divide::gcd;
use super::poly::{Atom, Floor, Poly, Term};
use super::{Dim, Repr};

impl Display for Dim {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Known(value) => value.fmt(f),
            Repr::Symbolic(poly) if f.width().is_some() => f.pad(&poly.to_string()),
            Repr::Symbolic(poly) => poly.fmt(f),
        }
    }
}

impl Display for Poly {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_sum(f, self.terms(), 1)
    }
}

impl Display for Floor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let terms = self.poly.terms();
        let scale = common_denominator(terms).filter(|scale| self.by.checked_mul(*scale).is_some());
        let scale = scale.filter(|scale| terms.iter().all(|term| term.coefficient.checked_mul(*scale).is_some()));
        let scale = scale.unwrap_or(1);
        f.write_str("floor(")?;
        if terms.len() > 1 {
            f.write_str("(")?;
        }
        write_sum(f, terms, scale)?;
        if terms.len() > 1 {
            f.write_str(")")?;
        }
        write!(f, "/{})", self.by.saturating_mul(scale))
    }
}

/// Writes `scale` times the sum of the terms; the products fit.
fn write_sum(f: &mut Formatter<'_>, terms: &[Term], scale: i128) -> fmt::Result {
    for (idx, term) in terms.iter().enumerate() {
        let coefficient = term.coefficient.saturating_mul(scale);
        f.write_str(match (idx, coefficient < 0) {
            (0, true) => "-",
            (0, false) => "",
            (_, true) => " - ",
            (_, false) => " + ",
        })?;
        write_term(f, term, coefficient.unsigned_abs())?;
    }
    Ok(())
}

fn write_term(f: &mut Formatter<'_>, term: &Term, coefficient: u128) -> fmt::Result {
    // Where the denominator is out of range each factor carries its own.
    let denominator = denominator(term);
    let (numerator, below) = match denominator {
        Some(denominator) => {
            let below = denominator.unsigned_abs();
            let common = gcd_unsigned(coefficient, below);
            (coefficient / common, below / common)
        }
        None => (coefficient, 1),
    };
    let mut separator = "";
    if numerator != 1 || term.is_constant() {
        write!(f, "{numerator}")?;
        separator = "*";
    }
    for (atom, exponent) in &term.monomial.factors {
        f.write_str(separator)?;
        separator = "*";
        match atom {
            Atom::Symbol(symbol) if denominator.is_none() && symbol.divisor > 1 => {
                write!(f, "({}/{})", symbol.name, symbol.divisor)?;
            }
            Atom::Symbol(symbol) => f.write_str(&symbol.name)?,
            Atom::Floor(floor) => floor.fmt(f)?,
        }
        if *exponent > 1 {
            write!(f, "^{exponent}")?;
        }
    }
    if below > 1 {
        write!(f, "/{below}")?;
    }
    Ok(())
}

/// The product of the divisors of the term's symbols, if it is in range.
fn denominator(term: &Term) -> Option<i128> {
    term.monomial.factors.iter().try_fold(1i128, |product, (atom, exponent)| match atom {
        Atom::Symbol(symbol) => product.checked_mul(i128::from(symbol.divisor).checked_pow(*exponent)?),
        Atom::Floor(_) => Some(product),
    })
}

/// The least number that makes the coefficients of all terms whole, if it is in range.
fn common_denominator(terms: &[Term]) -> Option<i128> {
    terms.iter().try_fold(1i128, |common, term| {
        let denominator = denominator(term)?;
        let below = denominator / gcd(denominator, term.coefficient.checked_abs()?);
        (common / gcd(common, below)).checked_mul(below)
    })
}

fn gcd_unsigned(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
