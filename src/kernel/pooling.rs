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
    check([size, result], spans);
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

/// Asserts that a result of this size has a span for each row and column, whose cells lie in the operand.
pub(super) fn check([size, result]: [Nchw; 2], spans: &[Vec<Span>; 2]) {
    assert!(spans[0].len() == result.h && spans[1].len() == result.w, "spans of another result");
    let inside = |axis: usize, size: usize| spans[axis].iter().all(|span| span.cells.iter().all(|&cell| cell < size));
    assert!(inside(0, size.h) && inside(1, size.w), "cells outside of the operand");
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
            let mut c = self.channels.start;
            while c + BESIDE * LANES <= whole {
                let values = self.vectors::<L, BESIDE, true>(lanes, sample, down, across, c, counted);
                for (at, value) in values.into_iter().enumerate() {
                    // SAFETY: `c` and the vectors from there on are at most the number of channels, the length of `to`.
                    unsafe { lanes.store(to.as_mut_ptr().add(c + at * LANES), value) };
                }
                c += BESIDE * LANES;
            }
            while c < whole {
                let [value] = self.vectors::<L, 1, true>(lanes, sample, down, across, c, counted);
                // SAFETY: `c + 8` is at most the number of channels, the length of `to`.
                unsafe { lanes.store(to.as_mut_ptr().add(c), value) };
                c += LANES;
            }
            if rest != 0 {
                let [value] = self.vectors::<L, 1, false>(lanes, sample, down, across, whole, counted);
                // SAFETY: `whole + rest` is at most the number of channels, the length of `to`.
                unsafe { lanes.store_part(to.as_mut_ptr().add(whole), value, rest) };
            }
        }
    }
}

impl Line<'_> {
    /// `N` vectors of channels from `c` on: whole ones, or the one of those that are left.
    #[inline(always)]
    fn vectors<L: Lanes, const N: usize, const WHOLE: bool>(
        &self,
        l: L,
        sample: usize,
        down: &Span,
        across: &Span,
        c: usize,
        counted: usize,
    ) -> [L::V; N] {
        let is_max = self.function == Function::Max;
        let mut all = [l.splat(if is_max { f32::NEG_INFINITY } else { 0.0 }); N];
        let stride = self.from.stride();
        for &y in &down.cells {
            // Sums of rows first: the error grows with the side of the window, not with its area.
            let mut row = if is_max { all } else { [l.splat(0.0); N] };
            let line = self.from.ptr().wrapping_add((sample + y * self.size.w) * stride + c);
            for &x in &across.cells {
                let cell = line.wrapping_add(x * stride);
                for at in 0..N {
                    // SAFETY: the cell is a pixel of the input (`pool` asserts it), whose row holds N vectors from `c` on
                    // where `WHOLE`, and else all that are left.
                    let cell = unsafe {
                        if WHOLE { l.load(cell.add(at * LANES)) } else { l.load_part(cell, self.size.c - c) }
                    };
                    row[at] = if is_max { l.larger(row[at], cell) } else { l.add(row[at], cell) };
                }
            }
            for at in 0..N {
                all[at] = if is_max { row[at] } else { l.add(all[at], row[at]) };
            }
        }
        if !is_max {
            for value in &mut all {
                *value = l.div(*value, l.splat(counted as f32));
            }
        }
        all
    }
}

/// Vectors of channels that are taken together.
const BESIDE: usize = 4;
