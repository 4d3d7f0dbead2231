//! Batch norm in training: statistics of a batch, normalisation by them, and the gradients of both (Ioffe & Szegedy
//! 2015, arXiv:1502.03167, section 3).

use super::conv::Context;
use super::elementwise::blocks;
use super::isa::{LANES, Lanes, Task};
use super::product::Range;
use super::reduce::{self, Mask, Masked, Moments};
use super::rows::{Rows, RowsMut};

/// Mean and variance (with the divisor `n`) of each column.
pub fn statistics(cx: &mut Context, from: Rows, mean: &mut [f32], variance: &mut [f32]) {
    let (isa, count, width) = (cx.isa, from.count(), from.width());
    assert!(count != 0 && mean.len() == width && variance.len() == width, "statistics of other columns");
    // The first row is within a few deviations of the mean, which is all that the difference of squares needs.
    let shift = from.row(0);
    let sums = reduce::rows(cx, count, 2 * width, |rows, part| {
        isa.run(Moments { from, factor: None, shift, rows, to: part });
    });
    for column in 0..width {
        let first = sums[column] / count as f64;
        mean[column] = (f64::from(shift[column]) + first) as f32;
        variance[column] = (sums[width + column] / count as f64 - first * first).max(0.0) as f32;
    }
}

/// Scale and shift of each column; ones and zeros where there are none.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    /// Factors.
    pub scale: Option<&'a [f32]>,
    /// Summands.
    pub shift: Option<&'a [f32]>,
}

impl Affine<'_> {
    /// The factor and the summand that normalising a column comes to.
    fn terms(&self, [mean, variance]: [&[f32]; 2], eps: f64) -> [Vec<f32>; 2] {
        let columns = mean.iter().zip(variance).enumerate();
        let terms = columns.map(|(column, (&mean, &variance))| {
            let of = |values: Option<&[f32]>, or: f64| values.map_or(or, |values| f64::from(values[column]));
            let factor = of(self.scale, 1.0) / (f64::from(variance) + eps).sqrt();
            (factor as f32, (of(self.shift, 0.0) - f64::from(mean) * factor) as f32)
        });
        let (factor, summand) = terms.unzip();
        [factor, summand]
    }
}

/// `to = range((from - mean) / √(variance + eps) · scale + shift)`.
pub fn normalise(
    cx: &Context,
    [mean, variance]: [&[f32]; 2],
    eps: f64,
    affine: Affine,
    (from, to): (Rows, &mut RowsMut),
    range: Range,
) {
    let [factor, summand] = affine.terms([mean, variance], eps);
    let terms = factor.into_iter().zip(summand).map(|(factor, summand)| [factor, 0.0, summand]);
    let terms = Terms::new(terms, from.width());
    combine(cx, &terms, Masked { gradient: from, mask: None }, None, range, to);
}

/// What the gradients of [`normalise`] by the [`statistics`] of its operand come from.
#[derive(Clone, Copy, Debug)]
pub struct Backward<'a> {
    /// The operand.
    pub from: Rows<'a>,
    /// Its mean and variance.
    pub statistics: [&'a [f32]; 2],
    /// Added to the variance.
    pub eps: f64,
    /// Scale and shift.
    pub affine: Affine<'a>,
    /// The gradient of the result; what lies in the place of the operand's gradient where there is none.
    pub gradient: Option<Rows<'a>>,
    /// The range of an activation behind it, whose gradient is taken on the way.
    pub mask: Option<Range>,
}

impl<'a> Backward<'a> {
    /// The factors and summands that normalising came to.
    fn terms(&self) -> [Vec<f32>; 2] {
        self.affine.terms(self.statistics, self.eps)
    }

    /// A gradient of the result, as it is in front of the activation.
    fn masked(&self, gradient: Rows<'a>, [factor, summand]: &'a [Vec<f32>; 2]) -> Masked<'a> {
        let mask = self.mask.map(|range| Mask { from: self.from, terms: [factor, summand], range });
        Masked { gradient, mask }
    }
}

/// The gradients with respect to the operand: `s·(g - mean(g) - (from - mean)/(variance + eps) · mean(g·(from - mean)))`
/// with `s = scale/√(variance + eps)`; and, where they are wanted, with respect to scale and shift.
pub fn gradients(
    cx: &mut Context,
    by: &Backward,
    to: &mut RowsMut,
    scale: Option<&mut [f32]>,
    shift: Option<&mut [f32]>,
) {
    // SAFETY: `to` is not written before all rows have been summed, and then row by row, each read before it is written.
    let gradient = by.gradient.unwrap_or_else(|| unsafe { to.aliased() });
    let terms = by.terms();
    let gradient = by.masked(gradient, &terms);
    let sums = sums(cx, by, gradient, scale, shift);
    let ([mean, variance], width, count) = (by.statistics, by.from.width(), by.from.count() as f64);
    let terms = (0..width).map(|column| {
        let inverse = 1.0 / (f64::from(variance[column]) + by.eps).sqrt();
        let factor = by.affine.scale.map_or(1.0, |scale| f64::from(scale[column])) * inverse;
        let [first, second] = [sums[column], sums[width + column]].map(|sum| sum / count);
        let slope = -factor * inverse * inverse * second;
        [factor, slope, -factor * first - slope * f64::from(mean[column])].map(|term| term as f32)
    });
    combine(cx, &Terms::new(terms, width), gradient, Some(by.from), Range::ALL, to);
}

/// The gradients with respect to scale and shift alone.
///
/// # Panics
/// When there is no gradient of the result.
pub fn parameter_gradients(cx: &mut Context, by: &Backward, scale: Option<&mut [f32]>, shift: Option<&mut [f32]>) {
    let gradient = by.gradient.unwrap_or_else(|| panic!("no operand's gradient to lie in"));
    sums(cx, by, by.masked(gradient, &by.terms()), scale, shift);
}

/// `Σ g` and `Σ g · (from - mean)` for each column.
fn sums(
    cx: &mut Context,
    by: &Backward,
    gradient: Masked,
    scale: Option<&mut [f32]>,
    shift: Option<&mut [f32]>,
) -> Vec<f64> {
    let (isa, from, [mean, variance], width) = (cx.isa, by.from, by.statistics, by.from.width());
    assert!(mean.len() == width && variance.len() == width && gradient.fits(from.count(), width), "other sizes");
    let sums = reduce::rows(cx, from.count(), 2 * width, |rows, part| {
        isa.run(Moments { from, factor: Some(gradient), shift: mean, rows, to: part });
    });
    for (column, to) in scale.into_iter().flatten().enumerate() {
        *to = (sums[width + column] / (f64::from(variance[column]) + by.eps).sqrt()) as f32;
    }
    for (to, &sum) in shift.into_iter().flatten().zip(&sums) {
        *to = sum as f32;
    }
    sums
}

/// Three numbers for each column.
struct Terms {
    values: [Vec<f32>; 3],
}

impl Terms {
    fn new(terms: impl Iterator<Item = [f32; 3]>, width: usize) -> Terms {
        let mut values = [const { Vec::new() }; 3];
        terms.for_each(|terms| values.iter_mut().zip(terms).for_each(|(values, term)| values.push(term)));
        assert!(values.iter().all(|values| values.len() == width), "terms of other columns");
        Terms { values }
    }
}

/// `to = range(t₀ · first + t₁ · second + t₂)`, with terms for each column. `first` may lie where `to` does.
fn combine(cx: &Context, terms: &Terms, first: Masked, second: Option<Rows>, range: Range, to: &mut RowsMut) {
    let (isa, to) = (cx.isa, &*to);
    assert!(first.fits(to.count(), to.width()), "other sizes");
    assert!(second.is_none_or(|rows| rows.count() == to.count() && rows.width() == to.width()), "other sizes");
    blocks(cx, to.count(), to.width(), |rows| isa.run(Combine { terms, first, second, range, to, rows }));
}

struct Combine<'a> {
    terms: &'a Terms,
    first: Masked<'a>,
    second: Option<Rows<'a>>,
    range: Range,
    to: &'a RowsMut<'a>,
    rows: std::ops::Range<usize>,
}

impl Task for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let (width, mut column) = (self.to.width(), 0);
        while column + 2 * LANES <= width {
            self.vectors::<L, 2, true>(l, column);
            column += 2 * LANES;
        }
        if column + LANES <= width {
            self.vectors::<L, 1, true>(l, column);
            column += LANES;
        }
        if column < width {
            self.vectors::<L, 1, false>(l, column);
        }
    }
}

impl Combine<'_> {
    /// `N` vectors of columns of all rows, or the last columns.
    #[inline(always)]
    fn vectors<L: Lanes, const N: usize, const WHOLE: bool>(&self, l: L, column: usize) {
        let count = if WHOLE { LANES } else { self.to.width() - column };
        // SAFETY: all values have these rows (`combine` asserts it) and, like the terms, N vectors from `column` on, or
        // `count` columns. The rows of `to` are written here only; where `first` lies in them it is read before.
        unsafe {
            let mut terms = [[l.splat(0.0); N]; 3];
            for term in 0..3 {
                for n in 0..N {
                    terms[term][n] = l.load_up_to(self.terms.values[term].as_ptr().add(column + n * LANES), count);
                }
            }
            for row in self.rows.clone() {
                for n in 0..N {
                    let column = column + n * LANES;
                    let mut value = self.first.load(l, row, column, count);
                    value = match &self.second {
                        Some(second) => {
                            let second = second.load(l, row, column, count);
                            l.fma(terms[0][n], value, l.fma(terms[1][n], second, terms[2][n]))
                        }
                        None => l.fma(terms[0][n], value, terms[2][n]),
                    };
                    let to = self.to.ptr().add(row * self.to.stride() + column);
                    l.store_part(to, self.range.apply(l, value), count);
                }
            }
        }
    }
}
