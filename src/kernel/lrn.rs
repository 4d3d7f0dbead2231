//! Local response normalisation across the channels of a row.

use super::conv::Context;
use super::isa::{LANES, Lanes, Task};
use super::rows::{Rows, RowsMut};

/// The constants: `out[c] = in[c] / (k + factor · Σ in[j]²)^beta` over `size` channels from `c - size / 2` on.
#[derive(Clone, Copy, Debug)]
pub struct Lrn {
    /// Channels in a window.
    pub size: usize,
    /// The factor of the sum of squares.
    pub factor: f32,
    /// The exponent.
    pub beta: f32,
    /// Added to the sum.
    pub k: f32,
}

/// Normalises each row.
pub fn normalise(cx: &mut Context, lrn: Lrn, from: Rows, to: &mut RowsMut) {
    assert!(from.count() == to.count() && from.width() == to.width(), "other sizes");
    let (isa, count) = (cx.isa, from.count());
    let size = lrn.size.min(2 * from.width());
    let lrn = Lrn { size, ..lrn };
    let (_, parts) = cx.scratch.parts(0, cx.threads.count(), from.width() + size + LANES);
    let blocks = count.div_ceil((1 << 14) / from.width().max(1) + 1);
    let to = &*to;
    cx.threads.run(blocks, |block, thread| {
        // SAFETY: the scratch memory is borrowed until the loop has ended; a thread runs one call at a time.
        let squares = unsafe { parts.of(thread) };
        for row in count * block / blocks..count * (block + 1) / blocks {
            // SAFETY: each row is written once.
            let to = unsafe { to.row_shared(row) };
            isa.run(Row { lrn, from: from.row(row), squares, to });
        }
    });
}

struct Row<'a> {
    lrn: Lrn,
    from: &'a [f32],
    /// The squares with zeros around them.
    squares: &'a mut [f32],
    to: &'a mut [f32],
}

impl Task for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Lrn { size, factor, beta, k } = self.lrn;
        let (channels, before) = (self.from.len(), size / 2);
        let squares = &mut self.squares[..channels + size + LANES];
        squares[..before].fill(0.0);
        squares[before + channels..].fill(0.0);
        for (square, &x) in squares[before..].iter_mut().zip(self.from) {
            *square = x * x;
        }
        let whole = channels - channels % LANES;
        for c in (0..whole).step_by(LANES) {
            // SAFETY: `squares` holds `channels + size + 8` floats; both rows hold `channels`, and `c + 8 <= channels`.
            unsafe {
                let mut sum = lanes.splat(0.0);
                for j in 0..size {
                    sum = lanes.add(sum, lanes.load(squares.as_ptr().add(c + j)));
                }
                let base = lanes.fma(lanes.splat(factor), sum, lanes.splat(k));
                let x = lanes.load(self.from.as_ptr().add(c));
                if beta == 0.75 {
                    let root = lanes.sqrt(base);
                    lanes.store(self.to.as_mut_ptr().add(c), lanes.div(x, lanes.mul(root, lanes.sqrt(root))));
                } else {
                    let mut bases = [0.0f32; LANES];
                    lanes.store(bases.as_mut_ptr(), base);
                    for lane in 0..LANES {
                        self.to[c + lane] = self.from[c + lane] / bases[lane].powf(beta);
                    }
                }
            }
        }
        for c in whole..channels {
            let base = k + factor * squares[c..c + size].iter().sum::<f32>();
            self.to[c] = self.from[c] / base.powf(beta);
        }
    }
}
