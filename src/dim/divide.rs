//! Divisions: floors in canonical form, and by symbolic divisors.

use std::sync::Arc;

use super::poly::{self, Atom, Monomial, Term};
use super::{Dim, DimError, Repr};

/// The most terms of a quotient of polynomials.
const MAX_QUOTIENT: usize = 256;

/// `floor(value / by)` for a positive `by`.
///
/// The multiple of `by` in every coefficient leaves the floor: `floor((n*Q + R)/n) = Q +
/// floor(R/n)`. What stays is freed of common factors, and an inner floor with coefficient 1 is
/// merged: `floor((floor(P/a) + R)/b) = floor((P + a*R)/(a*b))`.
pub(super) fn floor_div(value: &Dim, by: i128) -> Result<Dim, DimError> {
    let mut whole = Vec::new();
    let (mut rest, mut by) = (value.clone(), by);
    loop {
        let remainders = split_multiples(&rest, by, &mut whole)?;
        if remainders.iter().all(Term::is_constant) {
            return poly::collect(whole);
        }
        let (reduced, reduced_by) = cancel(remainders, by);
        match merge_inner(reduced, reduced_by)? {
            Merged::Again(next, next_by) => (rest, by) = (next, next_by),
            Merged::Done(atom) => {
                whole.push(Term::new(atom, 1));
                return poly::collect(whole);
            }
        }
    }
}

/// Moves the quotients of all coefficients by `by` to `whole` and returns the remainders.
fn split_multiples(value: &Dim, by: i128, whole: &mut Vec<Term>) -> Result<Vec<Term>, DimError> {
    let mut remainders = Vec::new();
    poly::push_scaled(&mut remainders, value, 1)?;
    for term in &mut remainders {
        let quotient = term.coefficient.div_euclid(by);
        if quotient != 0 {
            whole.push(Term { monomial: term.monomial.clone(), coefficient: quotient });
        }
        term.coefficient = term.coefficient.rem_euclid(by);
    }
    remainders.retain(|term| term.coefficient != 0);
    Ok(remainders)
}

/// Divides by what `by` and all coefficients but the constant have in common; the constant is
/// rounded down, which the floor around it does not see.
fn cancel(mut terms: Vec<Term>, by: i128) -> (Vec<Term>, i128) {
    let common = terms.iter().filter(|term| !term.is_constant()).fold(by, |common, term| gcd(common, term.coefficient));
    for term in &mut terms {
        term.coefficient /= common;
    }
    terms.retain(|term| term.coefficient != 0);
    (terms, by / common)
}

enum Merged {
    /// `floor(value / by)` holds the merged form, still to be reduced.
    Again(Dim, i128),
    Done(Atom),
}

fn merge_inner(terms: Vec<Term>, by: i128) -> Result<Merged, DimError> {
    let inner = terms.iter().enumerate().find_map(|(idx, term)| match (&term.monomial.factors[..], term.coefficient) {
        ([(Atom::Floor(floor), 1)], 1) => Some((idx, floor.clone())),
        _ => None,
    });
    let Some((idx, floor)) = inner else {
        return match poly::collect(terms)?.0 {
            Repr::Symbolic(poly) => Ok(Merged::Done(Atom::floor(Arc::unwrap_or_clone(poly), by)?)),
            Repr::Known(_) => Err(DimError::TooComplex),
        };
    };
    let mut merged = floor.poly.terms().to_vec();
    for (other, term) in terms.iter().enumerate() {
        if other != idx {
            merged.push(term.scaled(floor.by)?);
        }
    }
    let by = by.checked_mul(floor.by).ok_or(DimError::Overflow)?;
    Ok(Merged::Again(poly::collect(merged)?, by))
}

/// The greatest common divisor of two non-negative numbers.
pub(super) fn gcd(mut a: i128, mut b: i128) -> i128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

pub(super) fn not_divisible_provably(value: &Dim, by: &Dim) -> DimError {
    DimError::NotProvable { text: format!("whether {value} is divisible by {by}") }
}

/// A known divisor made positive, with the dividend's sign changed along.
fn with_positive_divisor(value: &Dim, by: i128) -> Result<(Dim, i128), DimError> {
    match by {
        0 => Err(DimError::DivideByZero),
        1.. => Ok((value.clone(), by)),
        ..0 => {
            let by = by.checked_neg().ok_or(DimError::Overflow)?;
            Ok((Dim::ZERO.sub(value)?, by))
        }
    }
}

pub(super) fn floor_div_dim(value: &Dim, by: &Dim) -> Result<Dim, DimError> {
    if let Some(by) = by.as_known() {
        let (value, by) = with_positive_divisor(value, by)?;
        return floor_div(&value, by);
    }
    let (quotient, rest) = divide_polynomials(value, by)?;
    if rest == Dim::ZERO || (rest.at_least(&Dim::ZERO) == Some(true) && rest.at_least(by) == Some(false)) {
        return Ok(quotient);
    }
    Err(DimError::NotProvable { text: format!("what floor(({value})/({by})) is") })
}

pub(super) fn exact_div_dim(value: &Dim, by: &Dim) -> Result<Dim, DimError> {
    if let Some(known) = by.as_known() {
        let (positive_value, positive_by) = with_positive_divisor(value, known)?;
        let Ok(divisor) = u64::try_from(positive_by) else {
            return Err(not_divisible_provably(value, by));
        };
        return positive_value.exact_div(divisor);
    }
    let (quotient, rest) = divide_polynomials(value, by)?;
    if rest == Dim::ZERO {
        return Ok(quotient);
    }
    let above_zero = rest.compare(&Dim::ZERO).is_some_and(|order| order.is_gt());
    if above_zero && rest.at_least(by) == Some(false) {
        return Err(DimError::NotDivisible { value: value.clone(), by: by.clone() });
    }
    Err(not_divisible_provably(value, by))
}

/// Quotient and remainder of the division of polynomials by leading terms. The remainder is zero
/// exactly if the divisor is a factor.
fn divide_polynomials(value: &Dim, by: &Dim) -> Result<(Dim, Dim), DimError> {
    let Repr::Symbolic(divisor) = &by.0 else {
        return Err(not_divisible_provably(value, by));
    };
    let mut quotient = Vec::new();
    let mut rest = value.clone();
    while let Some(term) = divisor.leading().and_then(|lead| leading_quotient(&rest, lead)) {
        if quotient.len() >= MAX_QUOTIENT {
            return Err(DimError::TooComplex);
        }
        let step = poly::collect(vec![term.clone()])?;
        quotient.push(term);
        rest = rest.sub(&step.mul(by)?)?;
    }
    Ok((poly::collect(quotient)?, rest))
}

/// The leading term of `value` divided by `lead`, if that is a term.
fn leading_quotient(value: &Dim, lead: &Term) -> Option<Term> {
    let Repr::Symbolic(poly) = &value.0 else {
        return None;
    };
    let term = poly.leading()?;
    let monomial: Monomial = term.monomial.quotient(&lead.monomial)?;
    let remainder = term.coefficient.checked_rem(lead.coefficient)?;
    let coefficient = term.coefficient.checked_div(lead.coefficient)?;
    (remainder == 0).then_some(Term { monomial, coefficient })
}
