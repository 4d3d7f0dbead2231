//! Convolutions on rows of channels, as products of the input's own rows.

use std::sync::Arc;

use super::buffer::Buffer;
use super::elementwise::each_row;
use super::isa::{Isa, LANES, Lanes, MAX_ROWS, Task};
use super::product::{self, PANEL, Packed, Product, Range};
use super::rows::{Rows, RowsMut};
use super::scratch::Scratch;
use super::threads::Threads;
use crate::tensor::Nchw;

/// The numbers of a convolution that the loops need.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// Input sizes.
    pub from: Nchw,
    /// Output sizes.
    pub to: Nchw,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Strides.
    pub stride: [usize; 2],
    /// Dilations.
    pub dilation: [usize; 2],
    /// Padding at the top and on the left.
    pub before: [usize; 2],
    /// Groups.
    pub groups: usize,
}

impl Geometry {
    /// Input channels of a group.
    pub fn group_in(&self) -> usize {
        self.from.c / self.groups
    }

    /// Output channels of a group.
    pub fn group_out(&self) -> usize {
        self.to.c / self.groups
    }

    /// Whether each channel is convolved by itself.
    pub fn is_depthwise(&self) -> bool {
        1 < self.groups && self.groups == self.from.c && self.groups == self.to.c
    }

    /// Output pixels.
    pub fn pixels(&self) -> usize {
        self.to.n * self.to.h * self.to.w
    }

    /// Output positions of an axis at which tap `k` reads inside the input, as a range.
    pub(super) fn valid(&self, axis: usize, k: usize) -> std::ops::Range<usize> {
        let (size, outputs) = if axis == 0 { (self.from.h, self.to.h) } else { (self.from.w, self.to.w) };
        let (shift, stride, before) = (k * self.dilation[axis], self.stride[axis], self.before[axis]);
        let start = before.saturating_sub(shift).div_ceil(stride).min(outputs);
        let end = (size + before).saturating_sub(shift).div_ceil(stride).min(outputs);
        start..end.max(start)
    }

    /// Columns of zeros on the right of the input that the last window reads.
    fn behind(&self) -> usize {
        let last = (self.to.w - 1) * self.stride[1] + (self.kernel[1] - 1) * self.dilation[1] + 1;
        last.saturating_sub(self.from.w + self.before[1])
    }

    /// Whether a row of a window is one stretch of memory once the input has columns of zeros beside it, and joining its
    /// taps is worth a copy of the input: the channels are few.
    pub fn joins_taps(&self) -> bool {
        self.groups == 1 && self.dilation[1] == 1 && 1 < self.kernel[1] && self.from.c <= 16
    }

    /// How many neighbouring pixels of the output are best computed as one of so many times the channels: results of few
    /// channels leave most of a panel empty, and neighbours share most of their window. 1 where they are not.
    pub fn best_fold(&self) -> usize {
        if !self.joins_taps() {
            return 1;
        }
        let [_, k_w] = self.kernel;
        let fits = |fold: &usize| self.to.w.is_multiple_of(*fold) && fold * self.to.c <= PANEL;
        // Products for a pixel: columns that the joint window covers, shared by all.
        let cost = |fold: &usize| (k_w + (fold - 1) * self.stride[1]) as f64 / *fold as f64;
        (1..=PANEL).filter(fits).min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or(1)
    }

    /// The same convolution with this many pixels of the output as one.
    fn folded(&self, fold: usize) -> Geometry {
        let [[k_h, k_w], [s_h, s_w]] = [self.kernel, self.stride];
        let to = Nchw { c: self.to.c * fold, w: self.to.w / fold, ..self.to };
        Geometry { to, kernel: [k_h, k_w + (fold - 1) * s_w], stride: [s_h, s_w * fold], ..*self }
    }

    /// The same convolution of the input with columns of zeros beside it.
    fn widened(&self) -> Geometry {
        let from = Nchw { w: self.before[1] + self.from.w + self.behind(), ..self.from };
        Geometry { from, before: [self.before[0], 0], ..*self }
    }
}

/// The weights of a convolution, packed; a product for each group.
#[derive(Clone, Debug)]
pub struct Weights {
    groups: Vec<Packed>,
    joined: bool,
    /// Pixels of the output that are computed as one.
    fold: usize,
}

/// Floats of packed weights, where this many pixels of the output are computed as one.
pub fn floats(g: &Geometry, fold: usize) -> usize {
    let g = g.folded(fold);
    g.groups * Packed::floats(g.group_out(), g.group_in() * g.kernel[0] * g.kernel[1])
}

/// Taps of a product, and elements that each sums over.
fn taps(g: &Geometry) -> (usize, usize) {
    let [k_h, k_w] = g.kernel;
    if g.joins_taps() { (k_h, k_w * g.group_in()) } else { (k_h * k_w, g.group_in()) }
}

/// Packs `weight: [out_c, in_c / groups, k_h, k_w]`, with a factor for each output, into as many floats as [`floats`]
/// says.
pub fn pack(isa: Isa, g: &Geometry, fold: usize, weight: &[f32], scale: &[f64], to: &mut [f32]) {
    let (group_in, group_out, [k_h, k_w]) = (g.group_in(), g.group_out(), g.kernel);
    assert!(weight.len() == g.to.c * group_in * k_h * k_w && scale.len() == g.to.c && to.len() == floats(g, fold));
    if fold == 1 {
        return isa.run(Pack { g, weight, scale, to });
    }
    let (taps, len) = taps(&g.folded(fold));
    product::pack(to, fold * group_out, taps, len, |o, tap, k| {
        // The window of a pixel begins behind those of the pixels before it.
        let (pixel, o) = (o / group_out, o % group_out);
        let column = (k / group_in).wrapping_sub(pixel * g.stride[1]);
        if k_w <= column {
            return 0.0;
        }
        (f64::from(weight[((o * group_in + k % group_in) * k_h + tap) * k_w + column]) * scale[o]) as f32
    });
}

struct Pack<'a> {
    g: &'a Geometry,
    weight: &'a [f32],
    scale: &'a [f64],
    to: &'a mut [f32],
}

impl Task for Pack<'_> {
    type Output = ();

    /// Element by element of the sum, all outputs of a panel: memory is written in order.
    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let Pack { g, weight, scale, to } = self;
        let (group_in, group_out, area) = (g.group_in(), g.group_out(), g.kernel[0] * g.kernel[1]);
        let depth = group_in * area;
        let panels = group_out.div_ceil(PANEL);
        for (at, to) in to.chunks_exact_mut((depth * PANEL).max(1)).enumerate() {
            let (first, inside) = (at / panels * group_out + at % panels * PANEL, at % panels * PANEL);
            let count = PANEL.min(group_out - inside);
            let mut factors = [0.0; PANEL];
            factors[..count].copy_from_slice(&scale[first..first + count]);
            let from = &weight[first * depth..][..count * depth];
            for tap in 0..area {
                for i in 0..group_in {
                    let mut values = [0.0f32; PANEL];
                    for o in 0..count {
                        values[o] = from[o * depth + i * area + tap];
                    }
                    let to = &mut to[(tap * group_in + i) * PANEL..][..PANEL];
                    for o in 0..PANEL {
                        to[o] = (f64::from(values[o]) * factors[o]) as f32;
                    }
                }
            }
        }
    }
}

impl Weights {
    /// Weights that have been [packed](pack) into memory from `start` on.
    pub fn on(g: &Geometry, fold: usize, packed: &Arc<Buffer>, start: usize, bias: Option<&[f32]>) -> Weights {
        let (group_out, (taps, len)) = (g.group_out(), taps(&g.folded(fold)));
        let groups = (0..g.groups).map(|group| {
            let bias = bias.map(|bias| bias[group * group_out..][..group_out].repeat(fold));
            let start = start + group * floats(g, fold) / g.groups;
            Packed::part(Arc::clone(packed), start, fold * group_out, taps, len, bias.as_deref())
        });
        Weights { groups: groups.collect(), joined: g.joins_taps(), fold }
    }

    /// Packs `weight: [out_c, in_c / groups, k_h, k_w]`.
    pub fn new(isa: Isa, g: &Geometry, weight: &[f32], bias: Option<&[f32]>) -> Weights {
        let mut packed = Buffer::zeros(floats(g, 1));
        pack(isa, g, 1, weight, &vec![1.0; g.to.c], &mut packed);
        Weights::on(g, 1, &Arc::new(packed), 0, bias)
    }
}

/// A batch norm in front of a 1x1 convolution: a factor and a summand for each channel, then the range.
#[derive(Clone, Debug)]
pub struct Prologue {
    /// Factors.
    pub scale: Vec<f32>,
    /// Summands.
    pub shift: Vec<f32>,
    /// The range.
    pub range: Range,
}

/// What is done around the sums of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// What is done to the input first.
    pub prologue: Option<&'a Prologue>,
    /// What is added to the sums.
    pub summand: Summand<'a>,
    /// The range of the results.
    pub range: Range,
}

/// What is added to the sums of a convolution.
#[derive(Clone, Copy, Debug)]
pub enum Summand<'a> {
    /// Nothing.
    None,
    /// What is in the place of the results.
    Result,
    /// Another value of the same sizes.
    Value(Rows<'a>),
}

impl Summand<'_> {
    /// Where the summands of the first result lie, and the distance of their rows.
    pub(super) fn pointer(&self, output: &RowsMut) -> Option<(*const f32, usize)> {
        match self {
            Summand::None => None,
            Summand::Result => Some((output.ptr().cast_const(), output.stride())),
            Summand::Value(rows) => {
                assert!(rows.count() == output.count() && rows.width() == output.width(), "summands have other sizes");
                Some((rows.ptr(), rows.stride()))
            }
        }
    }
}

/// What every kernel is handed.
#[derive(Debug)]
pub struct Context<'a> {
    /// The instructions.
    pub isa: Isa,
    /// The threads.
    pub threads: &'a Threads,
    /// Memory to work in.
    pub scratch: &'a mut Scratch,
}

/// Pointers of a task: rows of one block for each tap. 20 KiB, so that they stay in the first-level cache.
const POINTERS: usize = 2560;
/// Rows of a task, where the pointers leave room for as many.
const BLOCK: usize = 96;
/// Pixels of a map that is dealt by outputs instead.
const SMALL: usize = 256;

/// Any convolution.
pub fn direct(cx: &mut Context, g: &Geometry, weights: &Weights, input: Rows, output: &mut RowsMut, around: &Around) {
    assert!(input.count() == g.from.n * g.from.h * g.from.w && input.width() == g.from.c, "input of another size");
    assert!(output.count() == g.pixels() && output.width() == g.to.c, "output of another size");
    if !weights.joined {
        return products(cx, g, weights, input, output, around);
    }
    let summand = match around.summand {
        Summand::Value(rows) => Summand::Value(rows.joined(weights.fold)),
        summand => summand,
    };
    let (g, output, around) = (&g.folded(weights.fold), &output.joined(weights.fold), &Around { summand, ..*around });
    let mut padded = std::mem::take(&mut cx.scratch.padded);
    let (wide, rows) = widened(cx, g, input, &mut padded);
    products(cx, &wide, weights, rows, output, around);
    cx.scratch.padded = padded;
}

/// The input between columns of zeros, so that every window lies inside: as it is where it needs none, else a copy in
/// `padded`. And the convolution of that.
pub(super) fn widened<'a>(
    cx: &Context,
    g: &Geometry,
    input: Rows<'a>,
    padded: &'a mut Vec<f32>,
) -> (Geometry, Rows<'a>) {
    let wide = g.widened();
    if wide.from.w == g.from.w && input.stride() == input.width() {
        return (wide, input);
    }
    let (lines, line) = (wide.from.n * wide.from.h, wide.from.w * wide.from.c);
    padded.resize(lines * line, 0.0);
    widen(cx, g, input, &mut RowsMut::of(padded, lines, line));
    (wide, Rows::of(padded, lines * wide.from.w, wide.from.c))
}

/// Copies each line of the input between columns of zeros.
fn widen(cx: &Context, g: &Geometry, input: Rows, padded: &mut RowsMut) {
    let c = g.from.c;
    each_row(cx, padded, |line, to| {
        let (left, rest) = to.split_at_mut(g.before[1] * c);
        let (middle, right) = rest.split_at_mut(g.from.w * c);
        left.fill(0.0);
        right.fill(0.0);
        match input.dense(line * g.from.w, g.from.w) {
            Some(pixels) => middle.copy_from_slice(pixels),
            None => middle.chunks_exact_mut(c).enumerate().for_each(|(x, to)| {
                to.copy_from_slice(input.row(line * g.from.w + x));
            }),
        }
    });
}

fn products(cx: &mut Context, g: &Geometry, weights: &Weights, input: Rows, output: &RowsMut, around: &Around) {
    let (isa, threads) = (cx.isa, cx.threads);
    let (pixels, panels) = (g.pixels(), weights.groups[0].panels());
    let (taps, len) = (weights.groups[0].taps(), weights.groups[0].tap_len());
    let split = Split::of(g, threads.count(), taps, panels);
    // Bringing rows together pays when several panels read them; without blocks they are short.
    let packed = &weights.groups[0];
    let gathers = 1 < packed.blocks() && 4 <= panels / split.panel_blocks && around.prologue.is_none();
    let working = match around.prologue {
        Some(_) => split.rows * input.width(),
        None if gathers => split.rows * packed.gathered_row(),
        None => 0,
    };
    let (zeros, parts) = cx.scratch.parts(len, threads.count(), working);
    let per_group = split.row_blocks * split.panel_blocks;
    threads.run(g.groups * per_group, |task, thread| {
        let (group, task) = (task / per_group, task % per_group);
        let (row_block, panel_block) = (task % split.row_blocks, task / split.row_blocks);
        let cut = |total: usize, block: usize, blocks: usize| total * block / blocks..total * (block + 1) / blocks;
        let rows = cut(pixels, row_block, split.row_blocks);
        let panels = cut(panels, panel_block, split.panel_blocks);
        let count = rows.len();
        if count == 0 || panels.is_empty() {
            return;
        }
        let (mut stack, mut heap) = ([std::ptr::null(); POINTERS], Vec::new());
        let needed = taps * count + MAX_ROWS + if gathers { count + MAX_ROWS } else { 0 };
        let table: &mut [*const f32] = if needed <= POINTERS {
            &mut stack[..needed]
        } else {
            heap.resize(needed, std::ptr::null());
            &mut heap
        };
        let (table, gathered) = table.split_at_mut(taps * count + MAX_ROWS);
        let first = group * g.group_in();
        if let Some(prologue) = around.prologue {
            // SAFETY: `zeros` borrows the scratch memory until the loop has ended; a thread runs one call at a time.
            let prepared = unsafe { parts.of(thread) };
            isa.run(Prepare { prologue, input, rows: rows.clone(), to: &mut prepared[..count * input.width()] });
            for (row, pointer) in table[..count].iter_mut().enumerate() {
                *pointer = prepared[row * input.width()..].as_ptr();
            }
        } else {
            point(g, weights.joined, &input, first, rows.clone(), zeros, table);
        }
        let column = group * g.group_out();
        let summand = around.summand.pointer(output);
        let at = |(from, stride): (*const f32, usize)| (from.wrapping_add(rows.start * stride + column), stride);
        // SAFETY: `point` and the prologue leave pointers to rows of the input, of its prepared copy or of zeros that
        // are as long as a tap. The task writes the outputs of its panels in its rows, which no other task does;
        // `summand` lies as the output does.
        let product = unsafe {
            Product::new(
                &weights.groups[group],
                table,
                count,
                panels,
                (output.ptr().wrapping_add(rows.start * output.stride() + column), output.stride()),
                summand.map(at),
                around.range,
            )
        };
        if gathers {
            // SAFETY: `zeros` borrows the scratch memory until the loop has ended; a thread runs one call at a time.
            isa.run(product.gathered(unsafe { parts.of(thread) }, gathered));
        } else {
            isa.run(product);
        }
    });
}

/// How a convolution is dealt out.
struct Split {
    rows: usize,
    row_blocks: usize,
    panel_blocks: usize,
}

impl Split {
    /// Small maps are dealt by panels, so that each weight leaves memory once; others by rows.
    fn of(g: &Geometry, threads: usize, taps: usize, panels: usize) -> Split {
        let pixels = g.pixels();
        let fitting = (POINTERS.saturating_sub(2 * MAX_ROWS) / (taps + 1)).max(1);
        let (rows, panel_blocks) = if pixels <= SMALL.min(fitting) && threads.min(2) <= panels {
            (pixels, (threads * 4).min(panels))
        } else {
            (BLOCK.min(fitting), 1)
        };
        let tiny = pixels * g.to.c * g.group_in() * g.kernel[0] * g.kernel[1] < TINY;
        if tiny && pixels <= fitting {
            return Split { rows: pixels, row_blocks: 1, panel_blocks: 1 };
        }
        let row_blocks = pixels.div_ceil(rows).max(1);
        // As many for each thread.
        let row_blocks = if panel_blocks == 1 { row_blocks.next_multiple_of(threads).min(pixels) } else { row_blocks };
        Split { rows: pixels.div_ceil(row_blocks), row_blocks, panel_blocks }
    }
}

/// Multiplies that are not worth waking a thread for.
const TINY: usize = 100_000;

/// Where the rows of each tap lie.
pub(super) fn point(
    g: &Geometry,
    joined: bool,
    input: &Rows,
    first: usize,
    rows: std::ops::Range<usize>,
    zeros: &[f32],
    table: &mut [*const f32],
) {
    let (stride, base) = (input.stride(), input.ptr().wrapping_add(first));
    let columns = if joined { 1 } else { g.kernel[1] };
    for (tap, table) in table.chunks_exact_mut(rows.len()).take(g.kernel[0] * columns).enumerate() {
        let (ky, kx) = (tap / columns, tap % columns);
        let (valid, shift) = (g.valid(1, kx), kx * g.dilation[1]);
        let mut row = rows.start;
        let mut table = table.iter_mut();
        // Line by line of the output.
        while row < rows.end {
            let (line, x) = (row / g.to.w, row % g.to.w);
            let end = g.to.w.min(x + rows.end - row);
            let in_y = (line % g.to.h * g.stride[0] + ky * g.dilation[0]).wrapping_sub(g.before[0]);
            let inside = if in_y < g.from.h { valid.clone() } else { 0..0 };
            let start = (line / g.to.h * g.from.h).wrapping_add(in_y).wrapping_mul(g.from.w);
            let start = start.wrapping_add(shift).wrapping_sub(g.before[1]).wrapping_mul(stride);
            for (x, pointer) in (x..end).zip(&mut table) {
                let at = start.wrapping_add(x * g.stride[1] * stride);
                *pointer = if inside.contains(&x) { base.wrapping_add(at) } else { zeros.as_ptr() };
            }
            row += end - x;
        }
    }
}

/// Rows of the input after the prologue, one behind the other.
struct Prepare<'a> {
    prologue: &'a Prologue,
    input: Rows<'a>,
    rows: std::ops::Range<usize>,
    to: &'a mut [f32],
}

impl Task for Prepare<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let width = self.input.width();
        let Prologue { scale, shift, range } = self.prologue;
        assert!(scale.len() == width && shift.len() == width && self.to.len() == self.rows.len() * width);
        for (row, to) in self.rows.zip(self.to.chunks_exact_mut(width)) {
            let from = self.input.row(row);
            let whole = width - width % LANES;
            for c in (0..whole).step_by(LANES) {
                // SAFETY: all four slices are `width` long, and `c + 8 <= width`.
                unsafe {
                    let x = lanes.load(from.as_ptr().add(c));
                    let y = lanes.fma(x, lanes.load(scale.as_ptr().add(c)), lanes.load(shift.as_ptr().add(c)));
                    lanes.store(to.as_mut_ptr().add(c), range.apply(lanes, y));
                }
            }
            for c in whole..width {
                to[c] = range.apply_one(from[c] * scale[c] + shift[c]);
            }
        }
    }
}
