//! Maximum and average over the cells that each position covers, on rows of channels.

use super::conv::Context;
use super::isa::{LANES, Lanes, Task};
use super::rows::{Rows, RowsMut};
use crate::op::pool::Function;
use crate::op::pool::span::Span;
use crate::tensor::Nchw;

/// Pools a feature map; the spans say which rows and columns of it each row and column of the result covers.
pub fn pool(
    cx: &mut Context,
    sizes: [Nchw; 2],
    spans: &[Vec<Span>; 2],
    function: Function,
    from: Rows,
    to: &mut RowsMut,
) {
    let [size, result] = sizes;
    assert!(from.count() == size.n * size.h * size.w && to.count() == result.n * result.h * result.w, "other sizes");
    assert!(from.width() == size.c && to.width() == size.c && result.n == size.n, "other channels");
    assert!(spans[0].len() == result.h && spans[1].len() == result.w, "spans of another result");
    let (isa, to) = (cx.isa, &*to);
    let cells = |axis: usize| spans[axis].iter().map(|span| span.cells.len()).sum::<usize>();
    let work = size.n * cells(0) * cells(1) * size.c;
    let lines = result.n * result.h;
    // Few cells are not worth a thread of their own; a single line is dealt by channels.
    let blocks = (work / 50_000).max(1);
    let (down, across) = if lines == 1 { (1, blocks.min(size.c.div_ceil(LANES))) } else { (lines.min(blocks), 1) };
    cx.threads.run(down * across, |task, _| {
        let (block, part) = (task / across, task % across);
        let vectors = size.c.div_ceil(LANES);
        let channels = vectors * part / across * LANES..(vectors * (part + 1) / across * LANES).min(size.c);
        for line in lines * block / down..lines * (block + 1) / down {
            isa.run(Line { size, spans, function, from, to, line, channels: channels.clone() });
        }
    });
}

/// One line of the output.
struct Line<'a> {
    size: Nchw,
    spans: &'a [Vec<Span>; 2],
    function: Function,
    from: Rows<'a>,
    to: &'a RowsMut<'a>,
    line: usize,
    channels: std::ops::Range<usize>,
}

impl Task for Line<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let [rows, columns] = self.spans;
        let down = &rows[self.line % rows.len()];
        let sample = self.line / rows.len() * self.size.h * self.size.w;
        for (x, across) in columns.iter().enumerate() {
            let counted = match self.function {
                Function::Average { count_pad: true } => down.with_padding * across.with_padding,
                _ => down.cells.len() * across.cells.len(),
            };
            // SAFETY: this part of this line of the output is written here only.
            let to = unsafe { self.to.row_shared(self.line * columns.len() + x) };
            let rest = self.channels.len() % LANES;
            let whole = self.channels.end - rest;
            for c in (self.channels.start..whole).step_by(LANES) {
                let value = self.vector::<L, true>(lanes, sample, down, across, c, counted);
                // SAFETY: `c + 8` is at most the number of channels, the length of `to`.
                unsafe { lanes.store(to.as_mut_ptr().add(c), value) };
            }
            if rest != 0 {
                let value = self.vector::<L, false>(lanes, sample, down, across, whole, counted);
                // SAFETY: `whole + rest` is at most the number of channels, the length of `to`.
                unsafe { lanes.store_part(to.as_mut_ptr().add(whole), value, rest) };
            }
        }
    }
}

impl Line<'_> {
    /// The vector of channels from `c` on: all eight, or those that are left.
    #[inline(always)]
    fn vector<L: Lanes, const WHOLE: bool>(
        &self,
        l: L,
        sample: usize,
        down: &Span,
        across: &Span,
        c: usize,
        counted: usize,
    ) -> L::V {
        let is_max = self.function == Function::Max;
        let mut all = l.splat(if is_max { f32::NEG_INFINITY } else { 0.0 });
        for &y in &down.cells {
            // Sums of rows first: the error grows with the side of the window, not with its area.
            let mut row = all;
            if !is_max {
                row = l.splat(0.0);
            }
            for &x in &across.cells {
                let cell = &self.from.row(sample + y * self.size.w + x)[c..];
                let cell = if WHOLE {
                    assert!(LANES <= cell.len());
                    // SAFETY: the slice holds 8 floats.
                    unsafe { l.load(cell.as_ptr()) }
                } else {
                    // SAFETY: the slice holds what is left of the row.
                    unsafe { l.load_part(cell.as_ptr(), cell.len()) }
                };
                row = if is_max { l.larger(row, cell) } else { l.add(row, cell) };
            }
            all = if is_max { row } else { l.add(all, row) };
        }
        if is_max { all } else { l.div(all, l.splat(counted as f32)) }
    }
}
