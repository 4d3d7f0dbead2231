//! Gradients of pooling, on rows of channels: each sample's is gathered by one task, position by position.

use super::conv::Context;
use super::isa::{LANES, Lanes, Task};
use super::pooling::check;
use super::rows::{Rows, RowsMut};
use crate::op::pool::span::Span;
use crate::tensor::Nchw;

/// What a maximum's gradient is found by: the operand and the result.
pub type Maximum<'a> = (Rows<'a>, Rows<'a>);

/// The gradient with respect to the operand. Of a maximum the first cell of a window that has it gets all, of an average
/// each cell its part; `count_pad` says whether padded cells count.
pub fn pool(
    cx: &Context,
    sizes: [Nchw; 2],
    spans: &[Vec<Span>; 2],
    maximum: Option<Maximum>,
    count_pad: bool,
    gradient: Rows,
    to: &mut RowsMut,
) {
    let [size, result] = sizes;
    assert!(to.count() == size.n * size.h * size.w && to.width() == size.c && result.n == size.n, "other sizes");
    let fits = |rows: &Rows, size: &Nchw| rows.count() == size.n * size.h * size.w && rows.width() == size.c;
    assert!(result.c == size.c && fits(&gradient, &result), "other sizes");
    assert!(maximum.is_none_or(|(from, most)| fits(&from, &size) && fits(&most, &result)), "other sizes");
    check(sizes, spans);
    // Where windows neither overlap nor leave a gap, each cell is written once.
    let once = |axis: usize, size: usize| spans[axis].iter().flat_map(|span| span.cells.iter().copied()).eq(0..size);
    let is_once = once(0, size.h) && once(1, size.w);
    let (isa, to) = (cx.isa, &*to);
    let vectors = size.c.div_ceil(LANES);
    let parts = TASKS.div_ceil(size.n).clamp(1, vectors);
    cx.threads.run(size.n * parts, |task, _| {
        let (sample, part) = (task / parts, task % parts);
        let channels = vectors * part / parts * LANES..(vectors * (part + 1) / parts * LANES).min(size.c);
        isa.run(Sample { size, spans, maximum, count_pad, is_once, gradient, to, sample, channels });
    });
}

/// Tasks that are wanted at least, whatever the number of threads.
const TASKS: usize = 8;

/// A range of channels of one sample.
struct Sample<'a> {
    size: Nchw,
    spans: &'a [Vec<Span>; 2],
    maximum: Option<Maximum<'a>>,
    count_pad: bool,
    is_once: bool,
    gradient: Rows<'a>,
    to: &'a RowsMut<'a>,
    sample: usize,
    channels: std::ops::Range<usize>,
}

impl Task for Sample<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        if self.is_once {
            return self.windows::<L, true>(l);
        }
        let pixels = self.size.h * self.size.w;
        for pixel in self.sample * pixels..(self.sample + 1) * pixels {
            // SAFETY: these channels of this sample are written here only, here through a slice that ends at once.
            unsafe { std::slice::from_raw_parts_mut(self.cell(pixel, self.channels.start), self.channels.len()) }
                .fill(0.0);
        }
        self.windows::<L, false>(l);
    }
}

impl Sample<'_> {
    fn cell(&self, pixel: usize, channel: usize) -> *mut f32 {
        self.to.ptr().wrapping_add(pixel * self.to.stride() + channel)
    }

    /// All windows; `ONCE` says that their cells are written for the first time.
    #[inline(always)]
    fn windows<L: Lanes, const ONCE: bool>(&self, l: L) {
        let [rows, columns] = self.spans;
        for (y, down) in rows.iter().enumerate() {
            for (x, across) in columns.iter().enumerate() {
                let at = (self.sample * rows.len() + y) * columns.len() + x;
                for c in self.channels.clone().step_by(LANES) {
                    self.window::<L, ONCE>(l, at, down, across, c);
                }
            }
        }
    }

    /// Eight channels of one window, or those that are left.
    #[inline(always)]
    fn window<L: Lanes, const ONCE: bool>(&self, l: L, at: usize, down: &Span, across: &Span, c: usize) {
        let (first, count) = (self.sample * self.size.h * self.size.w, LANES.min(self.channels.end - c));
        // SAFETY: windows, cells and results are those of values of these sizes (`pool` and `check` assert it), whose rows hold
        // `count` channels from `c` on; those of `to` are used by this task alone.
        unsafe {
            let zero = l.splat(0.0);
            let mut left = self.gradient.load(l, at, c, count);
            let most = match &self.maximum {
                Some((_, most)) => most.load(l, at, c, count),
                None => {
                    let padded = down.with_padding * across.with_padding;
                    let counted = if self.count_pad { padded } else { down.cells.len() * across.cells.len() };
                    left = l.div(left, l.splat(counted as f32));
                    zero
                }
            };
            for &row in &down.cells {
                for &column in &across.cells {
                    let pixel = first + row * self.size.w + column;
                    let to = self.cell(pixel, c);
                    let part = match &self.maximum {
                        // A cell is at most the maximum: where it is less, nothing is left for it.
                        Some((from, _)) => {
                            let cell = from.load(l, pixel, c, count);
                            let part = l.select_less(cell, most, zero, left);
                            left = l.select_less(cell, most, left, zero);
                            part
                        }
                        None => left,
                    };
                    let sum = if ONCE { part } else { l.add(l.load_up_to(to, count), part) };
                    l.store_part(to, sum, count);
                }
            }
        }
    }
}
