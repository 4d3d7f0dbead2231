//! One count as a part or a multiple of another.

use crate::dim::Dim;

/// A quotient of two counts that is the same for all values of the symbols.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(pub f64);

impl Ratio {
    /// `part / whole`; `None` where it depends on the symbols or the whole is zero.
    ///
    /// ```
    /// use netc::cost::Ratio;
    /// use netc::dim::Dim;
    ///
    /// let area = Dim::symbol("H", 1).mul(&Dim::symbol("W", 1))?;
    /// let (part, whole) = (area.mul(&Dim::from(3u64))?, area.mul(&Dim::from(12u64))?);
    /// assert_eq!(Ratio::of(&part, &whole), Some(Ratio(0.25)));
    /// assert_eq!(Ratio::of(&area, &Dim::from(12u64)), None);
    /// # Ok::<(), netc::dim::DimError>(())
    /// ```
    pub fn of(part: &Dim, whole: &Dim) -> Option<Ratio> {
        if let (Some(part), Some(whole)) = (part.as_known(), whole.as_known()) {
            return (whole != 0).then(|| Ratio(part as f64 / whole as f64));
        }
        if *part == Dim::ZERO {
            return Some(Ratio(0.0));
        }
        // Where the two are proportional, any one place gives the factor; the products prove it.
        let at = super::symbolic::sample(&[part, whole])?;
        let value = |size: &Dim| size.evaluate(&at).ok()?.as_u64();
        let (a, b) = (value(part)?, value(whole)?);
        let common = gcd(a, b).max(1);
        let (a, b) = (a / common, b / common);
        let equal = part.mul(&Dim::from(b)).ok()? == whole.mul(&Dim::from(a)).ok()?;
        (equal && b != 0).then(|| Ratio(a as f64 / b as f64))
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
