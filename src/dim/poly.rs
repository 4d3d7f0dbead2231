//! Polynomials over atoms: their canonical form, order, sums and products.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::{Dim, DimError, Repr, divide};

/// The most terms a polynomial may have.
pub(super) const MAX_TERMS: usize = 1024;
/// The most term-by-term products one multiplication may take.
const MAX_PRODUCTS: usize = 1 << 13;
/// The most floors inside one another.
const MAX_DEPTH: u32 = 64;
/// The largest size of an expression.
const MAX_SIZE: u64 = 1 << 13;

/// A sum of terms that is not a constant.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Poly {
    /// Largest monomial first, each once, without zero coefficients.
    terms: Vec<Term>,
    /// How deeply floors are nested.
    depth: u32,
    /// Terms and factors, those inside floors included: what it takes to print or walk it.
    size: u64,
}

/// `coefficient * monomial`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Term {
    pub(super) monomial: Monomial,
    pub(super) coefficient: i128,
}

/// A product of powers of atoms; the empty product is 1.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Monomial {
    /// Ascending by atom; exponents are positive.
    pub(super) factors: Vec<(Atom, u32)>,
}

/// What polynomials are made of. Always an integer, and never negative.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Atom {
    /// The symbol divided by its divisor; at least 1.
    Symbol(Arc<Symbol>),
    Floor(Arc<Floor>),
}

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Symbol {
    pub(super) name: Box<str>,
    pub(super) divisor: u64,
}

/// `floor(poly / by)`. All coefficients are in `[0, by)`, so it is not negative.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Floor {
    pub(super) poly: Poly,
    /// At least 2.
    pub(super) by: i128,
    /// The alphabetically first symbol inside.
    lead: Arc<Symbol>,
}

impl Poly {
    /// `terms` must be canonical and not constant.
    pub(super) fn from_sorted(terms: Vec<Term>) -> Poly {
        let (mut depth, mut size) = (0, 0u64);
        for term in &terms {
            size = size.saturating_add(1);
            for (atom, _) in &term.monomial.factors {
                depth = depth.max(atom.depth());
                size = size.saturating_add(atom.size());
            }
        }
        Poly { terms, depth, size }
    }

    pub(super) fn terms(&self) -> &[Term] {
        &self.terms
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The term of the largest monomial.
    pub(super) fn leading(&self) -> Option<&Term> {
        self.terms.first()
    }

    pub(super) fn visit_symbols<'a>(&'a self, visit: &mut impl FnMut(&'a Arc<Symbol>)) {
        for (atom, _) in self.terms.iter().flat_map(|term| &term.monomial.factors) {
            match atom {
                Atom::Symbol(symbol) => visit(symbol),
                Atom::Floor(floor) => floor.poly.visit_symbols(visit),
            }
        }
    }
}

impl Term {
    pub(super) fn new(atom: Atom, coefficient: i128) -> Term {
        Term { monomial: Monomial { factors: vec![(atom, 1)] }, coefficient }
    }

    pub(super) fn constant(coefficient: i128) -> Term {
        Term { monomial: Monomial { factors: Vec::new() }, coefficient }
    }

    pub(super) fn is_constant(&self) -> bool {
        self.monomial.factors.is_empty()
    }

    pub(super) fn scaled(&self, by: i128) -> Result<Term, DimError> {
        let coefficient = self.coefficient.checked_mul(by).ok_or(DimError::Overflow)?;
        Ok(Term { monomial: self.monomial.clone(), coefficient })
    }

    fn times(&self, other: &Term) -> Result<Term, DimError> {
        let product = self.coefficient.checked_mul(other.coefficient);
        let coefficient = product.ok_or(DimError::Overflow)?;
        Ok(Term { monomial: self.monomial.times(&other.monomial)?, coefficient })
    }
}

impl Monomial {
    fn degree(&self) -> u64 {
        self.factors.iter().map(|(_, exponent)| u64::from(*exponent)).sum()
    }

    fn times(&self, other: &Monomial) -> Result<Monomial, DimError> {
        let mut factors = Vec::with_capacity(self.factors.len() + other.factors.len());
        let (mut left, mut right) = (&self.factors[..], &other.factors[..]);
        while let ([first, left_rest @ ..], [second, right_rest @ ..]) = (left, right) {
            match first.0.cmp(&second.0) {
                Ordering::Less => {
                    factors.push(first.clone());
                    left = left_rest;
                }
                Ordering::Greater => {
                    factors.push(second.clone());
                    right = right_rest;
                }
                Ordering::Equal => {
                    let exponent = first.1.checked_add(second.1).ok_or(DimError::Overflow)?;
                    factors.push((first.0.clone(), exponent));
                    (left, right) = (left_rest, right_rest);
                }
            }
        }
        factors.extend_from_slice(left);
        factors.extend_from_slice(right);
        Ok(Monomial { factors })
    }

    /// `self / other`, if that is a monomial.
    pub(super) fn quotient(&self, other: &Monomial) -> Option<Monomial> {
        let mut factors = Vec::with_capacity(self.factors.len());
        let mut divisors = other.factors.iter().peekable();
        for (atom, exponent) in &self.factors {
            let taken = divisors.next_if(|(divisor, _)| divisor == atom).map_or(0, |(_, n)| *n);
            let left = exponent.checked_sub(taken)?;
            if left > 0 {
                factors.push((atom.clone(), left));
            }
        }
        divisors.next().is_none().then_some(Monomial { factors })
    }
}

/// By total degree, then by the power of the first atom in which they differ. Multiplying both
/// sides by a monomial keeps the order, which polynomial division relies on.
impl Ord for Monomial {
    fn cmp(&self, other: &Monomial) -> Ordering {
        self.degree().cmp(&other.degree()).then_with(|| {
            for ((atom, exponent), (other_atom, other_exponent)) in self.factors.iter().zip(&other.factors) {
                let order = other_atom.cmp(atom).then(exponent.cmp(other_exponent));
                if order != Ordering::Equal {
                    return order;
                }
            }
            self.factors.len().cmp(&other.factors.len())
        })
    }
}

impl PartialOrd for Monomial {
    fn partial_cmp(&self, other: &Monomial) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Atom {
    /// `floor(poly / by)` as an atom; the two must be reduced as [`Floor`] has it.
    pub(super) fn floor(poly: Poly, by: i128) -> Result<Atom, DimError> {
        if poly.depth >= MAX_DEPTH {
            return Err(DimError::TooComplex);
        }
        let first = |term: &Term| term.monomial.factors.first().map(|(atom, _)| atom.lead().clone());
        let lead = poly.terms.iter().filter_map(first).min_by(|a, b| a.name.cmp(&b.name));
        let lead = lead.ok_or(DimError::TooComplex)?;
        Ok(Atom::Floor(Arc::new(Floor { poly, by, lead })))
    }

    fn depth(&self) -> u32 {
        match self {
            Atom::Symbol(_) => 0,
            Atom::Floor(floor) => floor.poly.depth + 1,
        }
    }

    fn size(&self) -> u64 {
        match self {
            // A long name counts for more, so that texts stay short.
            Atom::Symbol(symbol) => 1 + symbol.name.len() as u64 / 32,
            Atom::Floor(floor) => floor.poly.size.saturating_add(1),
        }
    }

    fn lead(&self) -> &Arc<Symbol> {
        match self {
            Atom::Symbol(symbol) => symbol,
            Atom::Floor(floor) => &floor.lead,
        }
    }
}

/// By the first symbol's name, so that what comes from `H` stands before what comes from `W`.
impl Ord for Atom {
    fn cmp(&self, other: &Atom) -> Ordering {
        let (lead, other_lead) = (self.lead(), other.lead());
        if !Arc::ptr_eq(lead, other_lead) {
            let order = lead.name.cmp(&other_lead.name);
            if order != Ordering::Equal {
                return order;
            }
        }
        match (self, other) {
            (Atom::Symbol(a), Atom::Symbol(b)) => a.divisor.cmp(&b.divisor),
            (Atom::Symbol(_), Atom::Floor(_)) => Ordering::Less,
            (Atom::Floor(_), Atom::Symbol(_)) => Ordering::Greater,
            (Atom::Floor(a), Atom::Floor(b)) if Arc::ptr_eq(a, b) => Ordering::Equal,
            (Atom::Floor(a), Atom::Floor(b)) => {
                (a.poly.depth, a.by, &a.poly, a.lead.divisor).cmp(&(b.poly.depth, b.by, &b.poly, b.lead.divisor))
            }
        }
    }
}

impl PartialOrd for Atom {
    fn partial_cmp(&self, other: &Atom) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Appends `scale * value` to `terms`.
pub(super) fn push_scaled(terms: &mut Vec<Term>, value: &Dim, scale: i128) -> Result<(), DimError> {
    match &value.0 {
        Repr::Known(value) => {
            let value = value.checked_mul(scale).ok_or(DimError::Overflow)?;
            terms.push(Term::constant(value));
        }
        Repr::Symbolic(poly) => {
            terms.reserve(poly.terms.len());
            for term in &poly.terms {
                terms.push(term.scaled(scale)?);
            }
        }
    }
    Ok(())
}

/// The canonical sum of terms in any order.
pub(super) fn collect(mut terms: Vec<Term>) -> Result<Dim, DimError> {
    terms.sort_by(|a, b| b.monomial.cmp(&a.monomial));
    let mut sums: Vec<Term> = Vec::with_capacity(terms.len());
    for term in terms {
        match sums.last_mut() {
            Some(last) if last.monomial == term.monomial => {
                let sum = last.coefficient.checked_add(term.coefficient);
                last.coefficient = sum.ok_or(DimError::Overflow)?;
            }
            Some(_) | None => sums.push(term),
        }
    }
    sums.retain(|term| term.coefficient != 0);
    match &sums[..] {
        [] => return Ok(Dim::ZERO),
        [term] if term.is_constant() => return Ok(Dim::known(term.coefficient)),
        [..] => {}
    }
    let poly = Poly::from_sorted(sums);
    if poly.terms.len() > MAX_TERMS || poly.size > MAX_SIZE {
        return Err(DimError::TooComplex);
    }
    debug_assert!(divisors_agree(&poly), "one symbol with two divisors in one expression");
    Ok(Dim(Repr::Symbolic(Arc::new(poly))))
}

fn divisors_agree(poly: &Poly) -> bool {
    let mut divisors = BTreeMap::new();
    let mut agree = true;
    poly.visit_symbols(&mut |symbol| {
        agree &= *divisors.entry(&*symbol.name).or_insert(symbol.divisor) == symbol.divisor;
    });
    agree
}

/// `left + scale * right`.
pub(super) fn add_scaled(left: &Dim, right: &Dim, scale: i128) -> Result<Dim, DimError> {
    let mut terms = Vec::new();
    push_scaled(&mut terms, left, 1)?;
    push_scaled(&mut terms, right, scale)?;
    collect(terms)
}

pub(super) fn mul(left: &Dim, right: &Dim) -> Result<Dim, DimError> {
    let (a, b) = match (&left.0, &right.0) {
        (Repr::Symbolic(a), Repr::Symbolic(b)) => (a, b),
        (Repr::Known(scale), _) => return add_scaled(&Dim::ZERO, right, *scale),
        (_, Repr::Known(scale)) => return add_scaled(&Dim::ZERO, left, *scale),
    };
    let products = a.terms.len() * b.terms.len();
    if products > MAX_PRODUCTS {
        return Err(DimError::TooComplex);
    }
    let mut terms = Vec::with_capacity(products);
    for term in &a.terms {
        for other in &b.terms {
            terms.push(term.times(other)?);
        }
    }
    collect(terms)
}

pub(super) fn sum<'a>(values: impl IntoIterator<Item = &'a Dim>) -> Result<Dim, DimError> {
    let mut known = 0i128;
    let mut sums: BTreeMap<&Monomial, i128> = BTreeMap::new();
    for value in values {
        match &value.0 {
            Repr::Known(value) => known = known.checked_add(*value).ok_or(DimError::Overflow)?,
            Repr::Symbolic(poly) => {
                for term in &poly.terms {
                    let sum = sums.entry(&term.monomial).or_insert(0);
                    *sum = sum.checked_add(term.coefficient).ok_or(DimError::Overflow)?;
                }
                if sums.len() > MAX_TERMS {
                    return Err(DimError::TooComplex);
                }
            }
        }
    }
    if sums.is_empty() {
        return Ok(Dim::known(known));
    }
    let mut terms: Vec<Term> =
        sums.into_iter().map(|(monomial, coefficient)| Term { monomial: monomial.clone(), coefficient }).collect();
    terms.push(Term::constant(known));
    collect(terms)
}

fn pow(base: &Dim, mut exponent: u32) -> Result<Dim, DimError> {
    if let Repr::Known(value) = base.0 {
        return value.checked_pow(exponent).map(Dim::known).ok_or(DimError::Overflow);
    }
    let (mut square, mut power) = (base.clone(), Dim::ONE);
    loop {
        if exponent % 2 == 1 {
            power = power.mul(&square)?;
        }
        exponent /= 2;
        if exponent == 0 {
            return Ok(power);
        }
        square = square.mul(&square)?;
    }
}

/// `poly` with each symbol's atom replaced by what `lookup` gives for it.
pub(super) fn substitute(
    poly: &Poly,
    lookup: &impl Fn(&Arc<Symbol>) -> Result<Dim, DimError>,
) -> Result<Dim, DimError> {
    let mut values: BTreeMap<&Atom, Dim> = BTreeMap::new();
    let mut terms = Vec::new();
    for term in &poly.terms {
        let mut product = Dim::known(term.coefficient);
        for (atom, exponent) in &term.monomial.factors {
            let value = match values.entry(atom) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(match atom {
                    Atom::Symbol(symbol) => lookup(symbol)?,
                    Atom::Floor(floor) => divide::floor_div(&substitute(&floor.poly, lookup)?, floor.by)?,
                }),
            };
            product = product.mul(&pow(value, *exponent)?)?;
        }
        push_scaled(&mut terms, &product, 1)?;
    }
    collect(terms)
}
