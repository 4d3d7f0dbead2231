//! What holds for every value of the symbols.
//!
//! A symbol `h` that occurs under floors is split by its residue: with `L` a common multiple of
//! all divisors above it, `h = L*q + r` for some `r` in `1..=L` and `q >= 0`. In each class every
//! floor becomes a polynomial in the `q`s, whose sign is that of its coefficients when they agree.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::divide::gcd;
use super::poly::{self, Atom, Poly, Symbol, Term};
use super::{Dim, DimError, Repr};

/// The most work for one question: residue classes times the size of the expression.
const MAX_WORK: u64 = 1 << 15;
/// The largest multiple of a symbol that is proposed.
const MAX_MULTIPLE: i128 = 1 << 20;

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
            let direct = signs_by_coefficients(poly.terms(), 1);
            if direct == Signs::ANY { signs_by_cases(poly) } else { direct }
        }
    }
}

/// The signs of a sum of terms whose symbols range over all integers from `least` (0 or 1) on;
/// `ANY` unless the coefficients of all variable terms agree in sign. If they do, the sum is
/// closest to zero from their side where all symbols are `least`.
fn signs_by_coefficients(terms: &[Term], least: i128) -> Signs {
    let variable = || terms.iter().filter(|term| !term.is_constant());
    let rising = variable().any(|term| term.coefficient > 0);
    let falling = variable().any(|term| term.coefficient < 0);
    if rising && falling {
        return Signs::ANY;
    }
    let Some(nearest) = value_at(terms, least) else {
        return Signs::ANY;
    };
    if (rising && nearest < 0) || (falling && nearest > 0) {
        return Signs::ANY;
    }
    Signs::of(nearest).or(Signs { may_be_negative: falling, may_be_zero: false, may_be_positive: rising })
}

/// The sum where all symbols (divided by their divisors) have one value.
fn value_at(terms: &[Term], value: i128) -> Option<i128> {
    terms.iter().try_fold(0i128, |sum, term| {
        let factors = &term.monomial.factors;
        let product = factors.iter().try_fold(term.coefficient, |product, (atom, exponent)| {
            let base = match atom {
                Atom::Symbol(_) => value,
                Atom::Floor(floor) => value_at(floor.poly.terms(), value)?.div_euclid(floor.by),
            };
            product.checked_mul(base.checked_pow(*exponent)?)
        })?;
        sum.checked_add(product)
    })
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
    let divides = |term: &Term| term.coefficient % by == 0;
    if poly.terms().iter().all(|term| term.is_constant() || divides(term)) {
        return Some(poly.terms().iter().all(divides));
    }
    let (mut always, mut never) = (true, true);
    let complete = for_each_class(poly, by, |class| {
        let divisible = match &class.0 {
            Repr::Known(value) => value % by == 0,
            Repr::Symbolic(poly) => poly.terms().iter().all(divides),
        };
        always &= divisible;
        never &= !divisible;
        always || never
    });
    if complete { decide(!never, !always) } else { None }
}

/// The integers `modulus * q + residue` for `q >= 0`.
struct Class {
    modulus: i128,
    residue: i128,
}

/// Calls `visit` with the value in each residue class until it returns false; false if it did, or
/// if that is too much work. The variable part of each value is a multiple of `by`.
fn for_each_class(poly: &Poly, by: i128, mut visit: impl FnMut(&Dim) -> bool) -> bool {
    let Some(moduli) = moduli(poly, by) else {
        return false;
    };
    let cases = moduli.values().try_fold(1u64, |cases, modulus| cases.checked_mul(u64::try_from(*modulus).ok()?));
    if cases.and_then(|cases| cases.checked_mul(poly.size())).is_none_or(|work| work > MAX_WORK) {
        return false;
    }
    let mut classes: BTreeMap<&Symbol, Class> =
        moduli.into_iter().map(|(symbol, modulus)| (symbol, Class { modulus, residue: 1 })).collect();
    loop {
        let value = replace(poly, &|symbol, atom| match classes.get(symbol) {
            Some(class) => vec![Term::new(atom, class.modulus), Term::constant(class.residue)],
            None => vec![Term::new(atom, 1)],
        });
        if !value.is_ok_and(|value| visit(&value)) {
            return false;
        }
        let advanced = classes.values_mut().any(|class| {
            class.residue = class.residue % class.modulus + 1;
            class.residue != 1
        });
        if !advanced {
            return true;
        }
    }
}

/// `poly` with each symbol's atom replaced by the sum that `by` gives for it.
fn replace(poly: &Poly, by: &impl Fn(&Symbol, Atom) -> Vec<Term>) -> Result<Dim, DimError> {
    poly::substitute(poly, &|symbol| poly::collect(by(symbol, Atom::Symbol(symbol.clone()))))
}

/// A common multiple, for each symbol, of `by` times the divisors above it, so that in a residue
/// class the variable part of every floor's argument is a multiple of its divisor; `None` if one
/// is out of range.
fn moduli(poly: &Poly, by: i128) -> Option<BTreeMap<&Symbol, i128>> {
    let mut moduli = BTreeMap::new();
    raise_moduli(poly, by, &mut moduli)?;
    Some(moduli)
}

fn raise_moduli<'a>(poly: &'a Poly, by: i128, moduli: &mut BTreeMap<&'a Symbol, i128>) -> Option<()> {
    for (atom, _) in poly.terms().iter().flat_map(|term| &term.monomial.factors) {
        match atom {
            Atom::Symbol(symbol) => {
                let modulus = moduli.entry(symbol).or_insert(1);
                *modulus = (*modulus / gcd(*modulus, by)).checked_mul(by)?;
            }
            Atom::Floor(floor) => raise_moduli(&floor.poly, floor.by.checked_mul(by)?, moduli)?,
        }
    }
    Some(())
}

/// Small values of the symbols for which the two differ.
pub(super) fn counterexample(left: &Dim, right: &Dim) -> Option<BTreeMap<String, u64>> {
    let difference = left.sub(right).ok()?;
    let poly = match &difference.0 {
        Repr::Known(value) => return (*value != 0).then(BTreeMap::new),
        Repr::Symbolic(poly) => poly,
    };
    let mut divisors: BTreeMap<&str, u64> = BTreeMap::new();
    poly.visit_symbols(&mut |symbol| {
        divisors.insert(&symbol.name, symbol.divisor);
    });
    let n_symbols = u32::try_from(divisors.len()).ok()?;
    let n_trials = MAX_WORK / poly.size().max(32);
    let fits = |side: &u64| side.checked_pow(n_symbols).is_some_and(|n| n <= n_trials);
    let side = (2..=n_trials).take_while(fits).last().unwrap_or(1);
    // All symbols alike, then every combination of small values.
    let alike = (0..n_trials).map(|trial| (trial, 0));
    let mixed = (0..side.saturating_pow(n_symbols)).map(|trial| (0, trial));
    alike.chain(mixed).find_map(|(least, mut digits)| {
        let mut bindings = BTreeMap::new();
        for (name, divisor) in &divisors {
            bindings.insert((*name).to_string(), divisor.checked_mul(1 + least + digits % side)?);
            digits /= side;
        }
        (difference.evaluate(&bindings).ok()? != Dim::ZERO).then_some(bindings)
    })
}

/// The least multiples, for the symbols that need one, that make the two equal.
pub(super) fn equal_for_multiples(left: &Dim, right: &Dim) -> Option<BTreeMap<String, u64>> {
    let difference = left.sub(right).ok()?;
    let poly = match &difference.0 {
        Repr::Known(value) => return (*value == 0).then(BTreeMap::new),
        Repr::Symbolic(poly) => poly,
    };
    let mut multiples = moduli(poly, 1)?;
    if multiples.values().any(|multiple| *multiple > MAX_MULTIPLE) || !vanishes(poly, &multiples) {
        return None;
    }
    let symbols: Vec<&Symbol> = multiples.keys().copied().collect();
    for symbol in symbols {
        let most = multiples.get(symbol).copied()?;
        for candidate in divisors_ascending(most) {
            multiples.insert(symbol, candidate);
            if vanishes(poly, &multiples) {
                break;
            }
        }
    }
    let needed = multiples.into_iter().filter(|(_, multiple)| *multiple > 1);
    needed
        .map(|(symbol, multiple)| {
            let multiple = u64::try_from(multiple).ok()?.checked_mul(symbol.divisor)?;
            Some((symbol.name.to_string(), multiple))
        })
        .collect()
}

/// Whether the polynomial is zero when each symbol's atom is a multiple as given.
fn vanishes(poly: &Poly, multiples: &BTreeMap<&Symbol, i128>) -> bool {
    let value = replace(poly, &|symbol, atom| {
        let multiple = multiples.get(symbol).copied().unwrap_or(1);
        vec![Term::new(atom, multiple)]
    });
    value.is_ok_and(|value| value == Dim::ZERO)
}

/// All divisors of a positive number, the number itself last.
fn divisors_ascending(number: i128) -> Vec<i128> {
    let mut divisors = Vec::new();
    for candidate in (1..).take_while(|candidate| candidate * candidate <= number) {
        if number % candidate == 0 {
            divisors.push(candidate);
            divisors.push(number / candidate);
        }
    }
    divisors.sort_unstable();
    divisors.dedup();
    divisors
}
