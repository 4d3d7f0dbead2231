//! Checked, exact, possibly symbolic integers: tensor dimensions and cost counts.
//!
//! A [`Dim`] is either a known `i128` or a polynomial with integer coefficients over atoms. An atom
//! is a symbol divided by its known divisor (`H` with `H % 16 == 0` is kept as `16 * h`, so `H/16`
//! stays exact) or a floor division `floor(P / n)` of such a polynomial.
//!
//! Every operation checks for overflow and returns its result in canonical form: terms in one order
//! without zeros, coefficients under a floor reduced into `[0, n)` and freed of factors shared with
//! `n`, nested floors flattened. Height and width that go through the same windows therefore
//! compare equal with `==`, however the windows are composed; [`Dim::equals`] proves more, where
//! sums of several floors coincide.
//! Symbols stand for integers that are at least 1.
//!
//! `poly` holds the terms and their arithmetic, `divide` the divisions, `compare` what can be
//! proved for every value of the symbols, `print` the text form; `tests` has a test for each rule,
//! `proptests` compares random expressions with plain integers.

mod compare;
mod divide;
mod poly;
mod print;
#[cfg(test)]
mod proptests;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use poly::{Atom, Poly, Symbol, Term};

/// A term of a [`Dim`]: a number times factors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// The number.
    pub coefficient: i128,
    /// The factors, as often as they occur.
    pub factors: Vec<Factor>,
}

/// A factor of a [`Product`]: an integer that is never negative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Factor {
    /// A symbol divided by what is known to divide it.
    Symbol {
        /// The symbol.
        name: String,
        /// The divisor.
        divisor: u64,
    },
    /// `floor(of / by)` of a value that is never negative.
    Floor {
        /// What is divided.
        of: Dim,
        /// By what, at least 2.
        by: i128,
    },
}

impl Product {
    fn of(term: &Term) -> Product {
        let factor = |atom: &Atom| match atom {
            Atom::Symbol(symbol) => Factor::Symbol { name: symbol.name.to_string(), divisor: symbol.divisor },
            Atom::Floor(floor) => Factor::Floor { of: Dim(Repr::Symbolic(Arc::new(floor.poly.clone()))), by: floor.by },
        };
        let factors = term.monomial.factors.iter();
        let factors = factors.flat_map(|(atom, exponent)| std::iter::repeat_n(factor(atom), *exponent as usize));
        Product { coefficient: term.coefficient, factors: factors.collect() }
    }
}

/// An integer: known, or a polynomial in symbols such as `H` and floor divisions of such
/// polynomials.
///
/// Dimensions and counts are non-negative; differences on the way to one may be negative.
///
/// `Ord` is a structural order for maps and sorting, not the numeric one, for which see
/// [`Dim::compare`]. For the same reason write `Dim::max(&a, &b)` rather than `a.max(&b)` when `a`
/// is an owned value: method lookup would find `Ord::max` first.
///
/// ```
/// use netc::dim::Dim;
///
/// let h = Dim::symbol("H", 1);
/// // A 3x3 convolution of stride 2 and padding 1.
/// let out = h.add(&Dim::from(2 - 3))?.floor_div(2)?.add(&Dim::ONE)?;
/// assert_eq!(out.to_string(), "floor((H + 1)/2)");
/// let bound = out.evaluate(&[("H".to_string(), 224)].into())?;
/// assert_eq!(bound, Dim::known(112));
/// # Ok::<(), netc::dim::DimError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dim(Repr);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    Known(i128),
    /// Never a constant.
    Symbolic(Arc<Poly>),
}

/// Why an operation on dimensions has no result.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DimError {
    /// A value or coefficient leaves 128 bits.
    #[error("the number is too large: it does not fit in 128 bits")]
    Overflow,
    /// The divisor is zero.
    #[error("division by zero")]
    DivideByZero,
    /// The division leaves a remainder, whatever the symbols are.
    #[error("{value} is not divisible by {by}")]
    NotDivisible {
        /// The value to divide.
        value: Dim,
        /// The divisor.
        by: Dim,
    },
    /// The answer depends on the symbols, or was not found for all of them.
    #[error("it is not known {text}")]
    NotProvable {
        /// What was to be decided, as in `whether H + 1 is divisible by 2`.
        text: String,
    },
    /// A symbol is bound to a value that its condition `symbol % divisor == 0` excludes.
    #[error("{symbol} = {value} is not a multiple of {divisor}")]
    NotMultiple {
        /// The symbol's name.
        symbol: String,
        /// What it has to be a multiple of.
        divisor: u64,
        /// The value it was given.
        value: u64,
    },
    /// A symbol is bound to zero.
    #[error("{symbol} = 0: it must be at least 1")]
    NotPositive {
        /// The symbol's name.
        symbol: String,
    },
    /// The expression has too many terms or too deeply nested floors.
    #[error("the symbolic expression grows too large")]
    TooComplex,
}

impl Dim {
    /// The known value 0.
    pub const ZERO: Dim = Dim::known(0);
    /// The known value 1.
    pub const ONE: Dim = Dim::known(1);

    /// A known value.
    pub const fn known(value: i128) -> Dim {
        Dim(Repr::Known(value))
    }

    /// A symbol known to be a multiple of `divisor`: 1 (or 0) when nothing is known.
    ///
    /// Within one expression a name must always come with the same divisor.
    pub fn symbol(name: &str, divisor: u64) -> Dim {
        let divisor = divisor.max(1);
        let symbol = Symbol { name: name.into(), divisor };
        let terms = vec![Term::new(Atom::Symbol(Arc::new(symbol)), i128::from(divisor))];
        Dim(Repr::Symbolic(Arc::new(Poly::from_sorted(terms))))
    }

    /// The value, unless it is symbolic.
    pub fn as_known(&self) -> Option<i128> {
        match &self.0 {
            Repr::Known(value) => Some(*value),
            Repr::Symbolic(_) => None,
        }
    }

    /// The value as `u64`; `None` if it is symbolic, negative or too large.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_known().and_then(|value| u64::try_from(value).ok())
    }

    /// The value as `usize`; `None` if it is symbolic, negative or too large.
    pub fn as_usize(&self) -> Option<usize> {
        self.as_known().and_then(|value| usize::try_from(value).ok())
    }

    /// Whether the value depends on a symbol.
    pub fn is_symbolic(&self) -> bool {
        matches!(self.0, Repr::Symbolic(_))
    }

    /// The terms whose sum it is; a known value is one term without factors.
    ///
    /// ```
    /// use netc::dim::{Dim, Factor};
    ///
    /// let h = Dim::symbol("H", 2);
    /// let terms = h.mul(&Dim::known(3))?.terms();
    /// assert_eq!(terms[0].coefficient, 6);
    /// assert_eq!(terms[0].factors, [Factor::Symbol { name: "H".to_owned(), divisor: 2 }]);
    /// # Ok::<(), netc::dim::DimError>(())
    /// ```
    pub fn terms(&self) -> Vec<Product> {
        match &self.0 {
            Repr::Known(value) => vec![Product { coefficient: *value, factors: Vec::new() }],
            Repr::Symbolic(poly) => poly.terms().iter().map(Product::of).collect(),
        }
    }

    /// The names of the symbols it depends on, sorted, each once.
    pub fn symbols(&self) -> Vec<String> {
        let mut names = BTreeSet::new();
        if let Repr::Symbolic(poly) = &self.0 {
            poly.visit_symbols(&mut |symbol| {
                names.insert(&*symbol.name);
            });
        }
        names.into_iter().map(str::to_string).collect()
    }

    /// The sum.
    ///
    /// # Errors
    /// `Overflow`, `TooComplex`.
    #[inline]
    pub fn add(&self, other: &Dim) -> Result<Dim, DimError> {
        match (&self.0, &other.0) {
            (Repr::Known(a), Repr::Known(b)) => a.checked_add(*b).map(Dim::known).ok_or(DimError::Overflow),
            _ => poly::add_scaled(self, other, 1),
        }
    }

    /// The difference, which may be negative.
    ///
    /// # Errors
    /// `Overflow`, `TooComplex`.
    #[inline]
    pub fn sub(&self, other: &Dim) -> Result<Dim, DimError> {
        match (&self.0, &other.0) {
            (Repr::Known(a), Repr::Known(b)) => a.checked_sub(*b).map(Dim::known).ok_or(DimError::Overflow),
            _ => poly::add_scaled(self, other, -1),
        }
    }

    /// The product.
    ///
    /// # Errors
    /// `Overflow`, `TooComplex`.
    #[inline]
    pub fn mul(&self, other: &Dim) -> Result<Dim, DimError> {
        match (&self.0, &other.0) {
            (Repr::Known(a), Repr::Known(b)) => a.checked_mul(*b).map(Dim::known).ok_or(DimError::Overflow),
            _ => poly::mul(self, other),
        }
    }

    /// `floor(self / by)`.
    ///
    /// # Errors
    /// `DivideByZero`, `Overflow`, `TooComplex`.
    #[inline]
    pub fn floor_div(&self, by: u64) -> Result<Dim, DimError> {
        match &self.0 {
            _ if by == 0 => Err(DimError::DivideByZero),
            Repr::Known(value) => Ok(Dim::known(value.div_euclid(i128::from(by)))),
            Repr::Symbolic(_) => divide::floor_div(self, i128::from(by)),
        }
    }

    /// `ceil(self / by)`, which is `floor((self + by - 1) / by)`.
    ///
    /// # Errors
    /// `DivideByZero`, `Overflow`, `TooComplex`.
    pub fn ceil_div(&self, by: u64) -> Result<Dim, DimError> {
        if by == 0 {
            return Err(DimError::DivideByZero);
        }
        self.add(&Dim::from(by - 1))?.floor_div(by)
    }

    /// `self / by` where that leaves no remainder.
    ///
    /// # Errors
    /// `NotDivisible` if it leaves one whatever the symbols are, `NotProvable` if that depends on
    /// them, `DivideByZero`, `Overflow`, `TooComplex`.
    pub fn exact_div(&self, by: u64) -> Result<Dim, DimError> {
        if by == 0 {
            return Err(DimError::DivideByZero);
        }
        match self.divisible_by(by) {
            Some(true) => self.floor_div(by),
            Some(false) => Err(DimError::NotDivisible { value: self.clone(), by: Dim::from(by) }),
            None => Err(divide::not_divisible_provably(self, &Dim::from(by))),
        }
    }

    /// `floor(self / by)` for a divisor that may be symbolic and is taken to be non-zero.
    ///
    /// Symbolic divisors work where the quotient is a polynomial: the division is exact, or leaves
    /// a remainder that provably lies between 0 and the divisor.
    ///
    /// # Errors
    /// `NotProvable` where that is not so, `DivideByZero`, `Overflow`, `TooComplex`.
    pub fn floor_div_dim(&self, by: &Dim) -> Result<Dim, DimError> {
        divide::floor_div_dim(self, by)
    }

    /// `self / by` without remainder for a divisor that may be symbolic and is taken to be non-zero.
    ///
    /// ```
    /// use netc::dim::Dim;
    ///
    /// let (h, w) = (Dim::symbol("H", 1), Dim::symbol("W", 1));
    /// let volume = Dim::known(64).mul(&h)?.mul(&w)?;
    /// assert_eq!(volume.exact_div_dim(&h.mul(&w)?)?, Dim::known(64));
    /// # Ok::<(), netc::dim::DimError>(())
    /// ```
    ///
    /// # Errors
    /// `NotDivisible` if there is a remainder whatever the symbols are, `NotProvable` if that
    /// depends on them, `DivideByZero`, `Overflow`, `TooComplex`.
    pub fn exact_div_dim(&self, by: &Dim) -> Result<Dim, DimError> {
        divide::exact_div_dim(self, by)
    }

    /// Whether `by` divides the value; `None` when that depends on a symbol or was not proved.
    /// Nothing but zero is divisible by zero.
    pub fn divisible_by(&self, by: u64) -> Option<bool> {
        match &self.0 {
            Repr::Known(value) if by == 0 => Some(*value == 0),
            Repr::Known(value) => Some(value.rem_euclid(i128::from(by)) == 0),
            Repr::Symbolic(_) if by == 0 => self.equals(&Dim::ZERO),
            Repr::Symbolic(poly) => compare::divisible(poly, i128::from(by)),
        }
    }

    /// The numeric order, if it is the same for all values of the symbols; `None` when it depends
    /// on them or was not proved.
    pub fn compare(&self, other: &Dim) -> Option<Ordering> {
        compare::signs(self, other).ordering()
    }

    /// Whether the two are equal for all values of the symbols (`Some(true)`), for none
    /// (`Some(false)`), or for some (`None`, also when no proof was found).
    ///
    /// This sees more than `==`, which compares canonical forms: `floor(H/2) + floor((H + 1)/2)`
    /// equals `H`.
    pub fn equals(&self, other: &Dim) -> Option<bool> {
        if self == other {
            return Some(true);
        }
        compare::signs(self, other).zero()
    }

    /// Whether `self >= other` for all values of the symbols, for none, or (`None`) for some.
    pub fn at_least(&self, other: &Dim) -> Option<bool> {
        compare::signs(self, other).negative().map(|less| !less)
    }

    /// Small values of the symbols for which the two differ; `None` if none was found. Empty if they
    /// differ whatever the symbols are.
    ///
    /// ```
    /// use netc::dim::Dim;
    ///
    /// let h = Dim::symbol("H", 1);
    /// let down_and_up = h.floor_div(2)?.mul(&Dim::known(2))?;
    /// assert_eq!(h.counterexample(&down_and_up), Some([("H".to_string(), 1)].into()));
    /// assert_eq!(h.equal_for_multiples(&down_and_up), Some([("H".to_string(), 2)].into()));
    /// # Ok::<(), netc::dim::DimError>(())
    /// ```
    pub fn counterexample(&self, other: &Dim) -> Option<BTreeMap<String, u64>> {
        compare::counterexample(self, other)
    }

    /// What the symbols would have to be multiples of for the two to be equal, each multiple as
    /// small as possible in the order of the names; symbols that need no more than they have are
    /// left out. `None` if no multiples were found to help.
    ///
    /// This is the `where H % 16 == 0` that mends a U-Net's skip connections.
    pub fn equal_for_multiples(&self, other: &Dim) -> Option<BTreeMap<String, u64>> {
        compare::equal_for_multiples(self, other)
    }

    /// The larger of the two.
    ///
    /// # Errors
    /// `NotProvable` when it depends on the symbols which one that is.
    pub fn max(&self, other: &Dim) -> Result<Dim, DimError> {
        let signs = compare::signs(self, other);
        if signs.negative() == Some(false) {
            Ok(self.clone())
        } else if signs.positive() == Some(false) {
            Ok(other.clone())
        } else {
            Err(DimError::NotProvable { text: format!("which of {self} and {other} is larger") })
        }
    }

    /// The smaller of the two.
    ///
    /// # Errors
    /// `NotProvable` when it depends on the symbols which one that is.
    pub fn min(&self, other: &Dim) -> Result<Dim, DimError> {
        let signs = compare::signs(self, other);
        if signs.positive() == Some(false) {
            Ok(self.clone())
        } else if signs.negative() == Some(false) {
            Ok(other.clone())
        } else {
            Err(DimError::NotProvable { text: format!("which of {self} and {other} is smaller") })
        }
    }

    /// The value with the given symbols replaced by numbers; the others stay. Names that do not
    /// occur are ignored.
    ///
    /// # Errors
    /// `NotMultiple` or `NotPositive` if a symbol cannot have its value, `Overflow`, `TooComplex`.
    pub fn evaluate(&self, bindings: &BTreeMap<String, u64>) -> Result<Dim, DimError> {
        let Repr::Symbolic(poly) = &self.0 else {
            return Ok(self.clone());
        };
        poly::substitute(poly, &|symbol: &Arc<Symbol>| {
            let Some(&value) = bindings.get(&*symbol.name) else {
                return poly::collect(vec![Term::new(Atom::Symbol(symbol.clone()), 1)]);
            };
            if value % symbol.divisor != 0 {
                let (symbol, divisor) = (symbol.name.to_string(), symbol.divisor);
                return Err(DimError::NotMultiple { symbol, divisor, value });
            }
            if value == 0 {
                return Err(DimError::NotPositive { symbol: symbol.name.to_string() });
            }
            Ok(Dim::from(value / symbol.divisor))
        })
    }
}

/// The sum of all values; zero if there are none. Linear in the number of terms.
///
/// # Errors
/// `Overflow`, `TooComplex`.
///
/// ```
/// use netc::dim::{Dim, sum};
///
/// assert_eq!(sum(&[Dim::known(3), Dim::known(4)]), Ok(Dim::known(7)));
/// ```
pub fn sum<'a>(values: impl IntoIterator<Item = &'a Dim>) -> Result<Dim, DimError> {
    poly::sum(values)
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dim({self})")
    }
}

macro_rules! from_integers {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Dim {
            fn from(value: $integer) -> Dim {
                Dim::known(i128::from(value))
            }
        }
    )*};
}
from_integers!(u64, i64, i32, u32);

impl From<usize> for Dim {
    fn from(value: usize) -> Dim {
        Dim::known(value as i128)
    }
}
