//! Sums of outer products: the gradients of weights, and products with weights as they lie.
//!
//! `out[m][j] = Σ over k of a[k][m] · b[k][j]`. Rows of `b` are given by pointers, so that the windows of a convolution
//! need no unfolded copy; the columns are cut into slots of at most sixteen, which may lie in rows of different taps. A
//! tile of 8x48 leaves 24 sums and 3 factors in 27 of AVX-512's 32 registers, one of 6x16 fills AVX2's. Every sum begins
//! at zero for at most [`DEPTH`] products and is then added to the result: the error of a long sum grows with its parts,
//! and the order of its terms depends on the sizes alone.

use super::isa::{Lanes, Task, WIDE};

/// Products that are summed in registers.
pub(super) const DEPTH: usize = 256;

/// Rows that a tile has at most; work is dealt in multiples of them.
pub(super) const ROWS: usize = 8;

/// Up to sixteen neighbouring columns of the result.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// The tap in whose rows they lie.
    pub(super) tap: usize,
    /// Where in a row.
    pub(super) first: usize,
    /// How many.
    pub(super) width: usize,
    /// Where in a row of the result.
    pub(super) column: usize,
}

/// The slots of rows of `taps` taps, each of `len` elements, whose columns follow each other.
pub(super) fn slots(taps: usize, len: usize) -> Vec<Slot> {
    let of_tap = |tap: usize| {
        (0..len).step_by(WIDE).map(move |first| Slot {
            tap,
            first,
            width: WIDE.min(len - first),
            column: tap * len + first,
        })
    };
    (0..taps).flat_map(of_tap).collect()
}

/// One stretch of the sum: at most [`DEPTH`] products.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outer<'a> {
    a: *const f32,
    a_stride: usize,
    /// `[tap][k]`.
    b: &'a [*const f32],
    depth: usize,
    rows: (usize, usize),
    slots: &'a [Slot],
    out: *mut f32,
    stride: usize,
    adds: bool,
}

impl<'a> Outer<'a> {
    /// `depth` products. `a` is element `m = 0` of the first, with the distance to the next; `b` holds `[tap][k]`. `out`
    /// is column 0 of row `m = 0`, with the distance of rows; only `rows` are computed. What is there is added to where
    /// `adds` holds, and written over where not.
    ///
    /// # Safety
    /// Rows of `a` can be read up to `rows.end`, those of `b` for the slots in them. In the rows of `out` the columns of
    /// the slots can be read and written, and nobody else uses them until this has run.
    pub(super) unsafe fn new(
        (a, a_stride): (*const f32, usize),
        b: &'a [*const f32],
        depth: usize,
        rows: std::ops::Range<usize>,
        slots: &'a [Slot],
        (out, stride): (*mut f32, usize),
        adds: bool,
    ) -> Self {
        assert!(slots.iter().all(|slot| (slot.tap + 1) * depth <= b.len() && slot.width <= WIDE));
        Outer { a, a_stride, b, depth, rows: (rows.start, rows.end), slots, out, stride, adds }
    }
}

impl Task for Outer<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let [height, width] = L::OUTER;
        for slots in self.slots.chunks(width) {
            let full = slots.iter().all(|slot| slot.width == WIDE);
            // Masks take two registers, which a machine with narrow tiles has not to spare.
            let height = if full || 1 < width { height } else { height - 1 };
            let mut row = self.rows.0;
            while row < self.rows.1 {
                let rows = height.min(self.rows.1 - row);
                macro_rules! tile {
                    ($(($height:literal, $width:literal)),*) => {
                        match (rows, slots.len()) {
                            $(($height, $width) if $height <= L::OUTER[0] && $width <= L::OUTER[1] => {
                                if full {
                                    self.tile::<L, $height, $width, true>(lanes, row, slots);
                                } else if 1 < L::OUTER[1] || $height < L::OUTER[0] {
                                    self.tile::<L, $height, $width, false>(lanes, row, slots);
                                }
                            })*
                            (height, width) => unreachable!("a tile of {height} rows and {width} slots"),
                        }
                    };
                }
                tile!(
                    (1, 1),
                    (2, 1),
                    (3, 1),
                    (4, 1),
                    (5, 1),
                    (6, 1),
                    (7, 1),
                    (8, 1),
                    (1, 2),
                    (2, 2),
                    (3, 2),
                    (4, 2),
                    (5, 2),
                    (6, 2),
                    (7, 2),
                    (8, 2),
                    (1, 3),
                    (2, 3),
                    (3, 3),
                    (4, 3),
                    (5, 3),
                    (6, 3),
                    (7, 3),
                    (8, 3)
                );
                row += rows;
            }
        }
    }
}

impl Outer<'_> {
    #[inline(always)]
    fn tile<L: Lanes, const M: usize, const P: usize, const FULL: bool>(&self, lanes: L, row: usize, slots: &[Slot]) {
        // SAFETY: `slots` are P of `self.slots` and `row + M` is at most `rows.1`: what `new` demands of the pointers
        // covers every element here. Each tap has `depth` pointers (`new` asserts it).
        unsafe {
            let taps: [*const *const f32; P] =
                std::array::from_fn(|p| self.b.as_ptr().add(slots.get_unchecked(p).tap * self.depth));
            let firsts: [usize; P] = std::array::from_fn(|p| slots.get_unchecked(p).first);
            let widths: [usize; P] = std::array::from_fn(|p| slots.get_unchecked(p).width);
            let mut sums = [[lanes.wide_splat(0.0); P]; M];
            let mut a = self.a.add(row);
            for k in 0..self.depth {
                let mut b = [lanes.wide_splat(0.0); P];
                for p in 0..P {
                    let from = (*taps[p].add(k)).add(firsts[p]);
                    b[p] = if FULL { lanes.wide_load(from) } else { lanes.wide_load_part(from, widths[p]) };
                }
                for m in 0..M {
                    for p in 0..P {
                        sums[m][p] = lanes.wide_fma(*a.add(m), b[p], sums[m][p]);
                    }
                }
                a = a.wrapping_add(self.a_stride);
            }
            for m in 0..M {
                for p in 0..P {
                    let to = self.out.add((row + m) * self.stride + slots.get_unchecked(p).column);
                    if FULL {
                        let sum = if self.adds { lanes.wide_add(sums[m][p], lanes.wide_load(to)) } else { sums[m][p] };
                        lanes.wide_store(to, sum);
                    } else {
                        let before =
                            if self.adds { lanes.wide_load_part(to, widths[p]) } else { lanes.wide_splat(0.0) };
                        lanes.wide_store_part(to, lanes.wide_add(sums[m][p], before), widths[p]);
                    }
                }
            }
        }
    }
}
