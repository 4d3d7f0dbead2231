//! What holds for every value of the symbols.
//!
//! A symbol `h` that occurs under floors is split by its residue: with `L` a common multiple of
//! all divisors above it, `h = L*q + r` for some `r` in `1..=L` and `q >= 0`. In each class every
//! floor becomes a polynomial in the `q`s, whose sign is that of its coefficients when they agree.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::divide::gcd;
use super::poly::{self, Atom, Poly, Symbol, Term};
use super::{Dim, DimError, Repr};

/// The most residue classes looked at for one question.
const MAX_CASES: i128 = 1024;

/// Which signs a value can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Signs {
    may_be_negative: bool,
    may_be_zero: bool,
    may_be_positive: bool,
}

impl Signs {
    const NONE: Signs = Signs { may_be_negative: false, may_be_zero: false, may_be_positive: false };
    const ANY: Signs = Signs { may_be_negative: true, may_be_zero: true, may_be_positive: true };

    fn of(value: i128) -> Signs {
        Signs { may_be_negative: value < 0, may_be_zero: value == 0, may_be_positive: value > 0 }
    }

    fn or(self, other: Signs) -> Signs {
        Signs {
            may_be_negative: self.may_be_negative || other.may_be_negative,
            may_be_zero: self.may_be_zero || other.may_be_zero,
            may_be_positive: self.may_be_positive || other.may_be_positive,
        }
    }

    pub(super) fn negative(self) -> Option<bool> {
        decide(self.may_be_negative, self.may_be_zero || self.may_be_positive)
    }

    pub(super) fn zero(self) -> Option<bool> {
        decide(self.may_be_zero, self.may_be_negative || self.may_be_positive)
    }

    pub(super) fn positive(self) -> Option<bool> {
        decide(self.may_be_positive, self.may_be_negative || self.may_be_zero)
    }

    pub(super) fn ordering(self) -> Option<Ordering> {
        match (self.may_be_negative, self.may_be_zero, self.may_be_positive) {
            (true, false, false) => Some(Ordering::Less),
            (false, true, false) => Some(Ordering::Equal),
            (false, false, true) => Some(Ordering::Greater),
            _ => None,
        }
    }
}

fn decide(may_hold: bool, may_fail: bool) -> Option<bool> {
    match (may_hold, may_fail) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    }
}

/// The signs that `left - right` can have.
pub(super) fn signs(left: &Dim, right: &Dim) -> Signs {
    let Ok(difference) = left.sub(right) else {
        return Signs::ANY;
    };
    match &difference.0 {
        Repr::Known(value) => Signs::of(*value),
        Repr::Symbolic(poly) => {
            let direct = signs_by_coefficients(poly.terms(), i128::from(!has_floors(poly)));
            if direct == Signs::ANY { signs_by_cases(poly) } else { direct }
        }
    }
}

fn has_floors(poly: &Poly) -> bool {
    let mut factors = poly.terms().iter().flat_map(|term| &term.monomial.factors);
    factors.any(|(atom, _)| matches!(atom, Atom::Floor(_)))
}

/// The signs of a sum whose atoms all are at least `least`, which is 0 or 1.
fn signs_by_coefficients(terms: &[Term], least: i128) -> Signs {
    let (mut rising, mut falling) = (false, false);
    let mut value_at_least = Some(0i128);
    for term in terms {
        if term.is_constant() || least == 1 {
            value_at_least = value_at_least.and_then(|sum| sum.checked_add(term.coefficient));
        }
        if !term.is_constant() {
            rising |= term.coefficient > 0;
            falling |= term.coefficient < 0;
        }
    }
    let Some(value) = value_at_least else {
        return Signs::ANY;
    };
    let beyond = Signs { may_be_negative: falling, may_be_zero: false, may_be_positive: rising };
    match (rising, falling) {
        (true, true) => Signs::ANY,
        (true, false) if value < 0 => Signs::ANY,
        (false, true) if value > 0 => Signs::ANY,
        _ => Signs::of(value).or(beyond),
    }
}

fn signs_by_cases(poly: &Poly) -> Signs {
    let mut all = Signs::NONE;
    let complete = for_each_class(poly, 1, |class| {
        let signs = match &class.0 {
            Repr::Known(value) => Signs::of(*value),
            Repr::Symbolic(poly) => signs_by_coefficients(poly.terms(), 0),
        };
        all = all.or(signs);
        all != Signs::ANY
    });
    if complete { all } else { Signs::ANY }
}

/// Whether `by` divides the polynomial.
pub(super) fn divisible(poly: &Poly, by: i128) -> Option<bool> {
    let mut variable = poly.terms().iter().filter(|term| !term.is_constant());
    if variable.all(|term| term.coefficient % by == 0) {
        return Some(poly.terms().iter().all(|term| term.coefficient % by == 0));
    }
    let (mut always, mut never) = (true, true);
    let complete = for_each_class(poly, by, |class| {
        let divisible = match &class.0 {
            Repr::Known(value) => value % by == 0,
            Repr::Symbolic(poly) => poly.terms().iter().all(|term| term.coefficient % by == 0),
        };
        always &= divisible;
        never &= !divisible;
        always || never
    });
    if complete { decide(!never, !always) } else { None }
}

/// Calls `visit` with the value in each residue class until it returns false; false if it did, or
/// if there are too many classes. Modulo `by` the values are constant.
fn for_each_class(poly: &Poly, by: i128, mut visit: impl FnMut(&Dim) -> bool) -> bool {
    let mut moduli = BTreeMap::new();
    if add_moduli(poly, by, &mut moduli).is_none() {
        return false;
    }
    let moduli: Vec<(&str, i128)> = moduli.into_iter().collect();
    let mut residues: BTreeMap<&str, i128> = moduli.iter().map(|(name, _)| (*name, 1)).collect();
    loop {
        let Ok(class) = class_value(poly, &moduli, &residues) else {
            return false;
        };
        if !visit(&class) {
            return false;
        }
        let advanced = moduli.iter().any(|(name, modulus)| {
            let residue = residues.entry(name).or_insert(1);
            *residue = *residue % modulus + 1;
            *residue != 1
        });
        if !advanced {
            return true;
        }
    }
}

fn class_value(poly: &Poly, moduli: &[(&str, i128)], residues: &BTreeMap<&str, i128>) -> Result<Dim, DimError> {
    poly::substitute(poly, &|symbol: &Symbol| {
        let position = moduli.binary_search_by(|(name, _)| (*name).cmp(&*symbol.name));
        let modulus = position.ok().map_or(1, |position| moduli[position].1);
        let residue = residues.get(&*symbol.name).copied().unwrap_or(1);
        let quotient = Symbol { name: symbol.name.clone(), divisor: symbol.divisor };
        let terms = vec![Term::new(Atom::Symbol(Arc::new(quotient)), modulus), Term::constant(residue)];
        poly::collect(terms).map(Some)
    })
}

/// Raises each symbol's modulus to a common multiple with `by` and the divisors above it; `None`
/// if there would be too many classes.
fn add_moduli<'a>(poly: &'a Poly, by: i128, moduli: &mut BTreeMap<&'a str, i128>) -> Option<()> {
    let atoms = poly.terms().iter().flat_map(|term| &term.monomial.factors);
    for (atom, _) in atoms {
        match atom {
            Atom::Symbol(symbol) => {
                let modulus = moduli.entry(&*symbol.name).or_insert(1);
                *modulus = (*modulus / gcd(*modulus, by)).checked_mul(by)?;
            }
            Atom::Floor(floor) => add_moduli(&floor.poly, floor.by.checked_mul(by)?, moduli)?,
        }
    }
    let cases = moduli.values().try_fold(1i128, |cases, modulus| cases.checked_mul(*modulus))?;
    (cases <= MAX_CASES).then_some(())
}
