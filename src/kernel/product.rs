//! Matrix products: rows that lie anywhere in memory times packed weights, in tiles held in registers.
//!
//! `out[row][o] = finish(Σ over taps t and k of a[t][row][k] · weight[t, k][o])`. A row of `a` is given by one pointer for
//! each tap, so a convolution needs no unfolded copy of its input (the indirect convolution of Dukhan 2019,
//! arXiv:1907.02129). A tile of 6x16 leaves 12 sums, 2 weights and 1 broadcast in 15 of AVX2's 16 registers, one of 12x32
//! leaves 24 sums and 2 weights in 26 of AVX-512's 32; either has enough independent sums to hide the latency of two
//! multiply-adds a cycle. The sum of an output runs over taps and `k` in order, cut at fixed places: it does not depend
//! on how rows and panels are dealt to threads, nor on the tile.

use std::sync::Arc;

use super::buffer::Buffer;
use super::isa::{LANES, Lanes, MAX_ROWS, Task, WIDE};

/// Outputs of a panel.
pub const PANEL: usize = WIDE;
/// Products that are summed in registers before a sum goes to memory: a panel's part of the weights, 20 KiB, stays in
/// the first-level cache. Each such sum begins at zero, so that the error of a long one grows with its parts.
const DEPTH: usize = 320;
/// Floats of weights that stay in the second-level cache while rows pass.
const RESIDENT: usize = 1 << 16;
/// Floats of a cache line; the rows of the next tile are asked for line by line.
const LINE: usize = 16;

/// A stretch of the summed axis within one tap.
#[derive(Clone, Copy, Debug)]
struct Segment {
    tap: usize,
    first: usize,
    len: usize,
}

/// Weights in the order in which tiles read them: panels of [`PANEL`] outputs, within a panel tap by tap, within a tap
/// `k` by `k`. The last panel is filled up with zeros.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Shared with others that have parts of it.
    weight: Arc<Buffer>,
    /// Where its part begins.
    start: usize,
    /// For whole panels; zeros where there is none.
    bias: Vec<f32>,
    /// Segments of one block of the summed axis, and where the block begins.
    blocks: Vec<(usize, Vec<Segment>)>,
    depth: usize,
    outputs: usize,
    taps: usize,
    len: usize,
}

impl Packed {
    /// Packs weights for `outputs` outputs that sum over `taps` taps of `len` elements each: `weight(o, tap, k)`.
    pub fn new(
        outputs: usize,
        taps: usize,
        len: usize,
        weight: impl Fn(usize, usize, usize) -> f32,
        bias: Option<&[f32]>,
    ) -> Packed {
        let mut packed = Buffer::zeros(Packed::floats(outputs, taps * len));
        pack(&mut packed, outputs, taps, len, weight);
        Packed::part(Arc::new(packed), 0, outputs, taps, len, bias)
    }

    /// Packs other weights into the same memory.
    ///
    /// # Panics
    /// When the weights are shared.
    pub(super) fn repack(&mut self, weight: impl Fn(usize, usize, usize) -> f32) {
        let packed = Arc::get_mut(&mut self.weight).unwrap_or_else(|| panic!("the weights are shared"));
        pack(&mut packed[self.start..], self.outputs, self.taps, self.len, weight);
    }

    /// Weights that stand packed in `weight` from `start` on.
    pub(super) fn part(
        weight: Arc<Buffer>,
        start: usize,
        outputs: usize,
        taps: usize,
        len: usize,
        bias: Option<&[f32]>,
    ) -> Packed {
        assert!(start + Packed::floats(outputs, taps * len) <= weight.len());
        let mut padded = vec![0.0; outputs.next_multiple_of(PANEL)];
        if let Some(bias) = bias {
            padded[..outputs].copy_from_slice(bias);
        }
        Packed { weight, start, bias: padded, blocks: blocks(taps, len), depth: taps * len, outputs, taps, len }
    }

    /// Floats of packed weights.
    pub(super) fn floats(outputs: usize, depth: usize) -> usize {
        outputs.next_multiple_of(PANEL) * depth
    }

    /// Where the weight of an output for an element of the summed axis stands in packed weights.
    pub(super) fn place(depth: usize, output: usize, element: usize) -> usize {
        (output / PANEL * depth + element) * PANEL + output % PANEL
    }

    /// Outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Panels.
    pub fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// Taps: pointers that a row has.
    pub fn taps(&self) -> usize {
        self.taps
    }

    /// Elements that a tap sums over.
    pub fn tap_len(&self) -> usize {
        self.len
    }

    /// Blocks that the summed axis is cut into.
    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Floats from one row to the next where blocks are brought together: a cache line more than the longest block.
    pub(super) fn gathered_row(&self) -> usize {
        self.depth.div_ceil(self.blocks.len()).next_multiple_of(LINE) + LINE
    }
}

/// Puts `weight(o, tap, k)` into its places.
pub(super) fn pack(
    packed: &mut [f32],
    outputs: usize,
    taps: usize,
    len: usize,
    weight: impl Fn(usize, usize, usize) -> f32,
) {
    for (panel, values) in packed.chunks_exact_mut((taps * len * PANEL).max(1)).enumerate() {
        let count = PANEL.min(outputs - panel * PANEL);
        for (at, row) in values.chunks_exact_mut(PANEL).enumerate() {
            let (tap, k) = (at / len, at % len);
            for (o, value) in row[..count].iter_mut().enumerate() {
                *value = weight(panel * PANEL + o, tap, k);
            }
        }
    }
}

/// Cuts the summed axis into blocks of about [`DEPTH`] products.
fn blocks(taps: usize, len: usize) -> Vec<(usize, Vec<Segment>)> {
    let depth = taps * len;
    let count = depth.div_ceil(DEPTH).max(1);
    (0..count)
        .map(|block| {
            let (mut at, end) = (depth * block / count, depth * (block + 1) / count);
            let start = at;
            let mut segments = Vec::new();
            while at < end {
                let (tap, first) = (at / len, at % len);
                let segment = Segment { tap, first, len: (len - first).min(end - at) };
                at += segment.len;
                segments.push(segment);
            }
            (start, segments)
        })
        .collect()
}

/// The range that results are brought into: relu and its like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Results below become this.
    pub low: f32,
    /// Results above become this.
    pub high: f32,
}

impl Range {
    /// Every result stays as it is.
    pub const ALL: Range = Range { low: f32::NEG_INFINITY, high: f32::INFINITY };

    /// A number brought into the range; NaN stays.
    #[inline(always)]
    pub fn apply_one(self, x: f32) -> f32 {
        let x = if self.low > x { self.low } else { x };
        if self.high < x { self.high } else { x }
    }

    /// Numbers brought into the range; NaN stays.
    #[inline(always)]
    pub(super) fn apply<L: Lanes>(self, lanes: L, v: L::V) -> L::V {
        lanes.min(lanes.splat(self.high), lanes.max(lanes.splat(self.low), v))
    }
}

/// Rows times panels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product<'a> {
    packed: &'a Packed,
    rows: &'a [*const f32],
    count: usize,
    panels: (usize, usize),
    out: *mut f32,
    stride: usize,
    summand: Option<(*const f32, usize)>,
    range: Range,
    /// Whether weights come from beyond the second-level cache.
    streams: bool,
    gather: Option<Gather>,
}

/// Memory in which each block of the summed axis is brought together.
#[derive(Clone, Copy, Debug)]
struct Gather {
    values: *mut f32,
    /// A pointer for each row, and [`MAX_ROWS`] more.
    rows: *const *const f32,
    /// From one row to the next.
    stride: usize,
}

impl<'a> Product<'a> {
    /// `count` rows times the outputs of these panels. `rows` holds `[tap][row]`, where a row's elements of a tap begin,
    /// and then [`MAX_ROWS`] more that are not read from. `out` is output 0 of row 0, with the distance of rows. `summand`
    /// is what is added to the sums: values that lie as the results do, or the results themselves.
    ///
    /// # Safety
    /// Each pointer of a row can be read for the length of a tap. In each of `count` rows of `out` the outputs of the
    /// panels can be written, those of `summand` read; nobody else uses them until the product has run.
    pub(super) unsafe fn new(
        packed: &'a Packed,
        rows: &'a [*const f32],
        count: usize,
        panels: std::ops::Range<usize>,
        (out, stride): (*mut f32, usize),
        summand: Option<(*const f32, usize)>,
        range: Range,
    ) -> Self {
        assert!(packed.taps * count + MAX_ROWS <= rows.len() && panels.end <= packed.panels());
        let streams = RESIDENT < packed.weight.len();
        let panels = (panels.start, panels.end);
        Product { packed, rows, count, panels, out, stride, summand, range, streams, gather: None }
    }

    /// Lets each block of the summed axis be copied into `values` before it is multiplied: rows that are far apart fall
    /// on few sets of the caches. `rows` takes `count` pointers and [`MAX_ROWS`] more.
    pub(super) fn gathered(mut self, values: &'a mut [f32], rows: &'a mut [*const f32]) -> Self {
        let stride = self.packed.gathered_row();
        assert!(self.count * stride <= values.len() && self.count + MAX_ROWS <= rows.len());
        for (row, pointer) in rows[..self.count].iter_mut().enumerate() {
            *pointer = values[row * stride..].as_ptr();
        }
        self.gather = Some(Gather { values: values.as_mut_ptr(), rows: rows.as_ptr(), stride });
        self
    }
}

impl Task for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let packed = self.packed;
        let last = packed.blocks.len() - 1;
        for (at, (start, segments)) in packed.blocks.iter().enumerate() {
            let mut whole = [Segment { tap: 0, first: 0, len: 0 }];
            let (mut segments, mut rows) = (&segments[..], self.rows.as_ptr());
            if let Some(gather) = self.gather {
                whole[0].len = self.bring_together(lanes, segments, gather);
                (segments, rows) = (&whole, gather.rows);
            }
            for panel in (self.panels.0..self.panels.1).step_by(L::TILE[1]) {
                let (first, panels) = (panel * PANEL, L::TILE[1].min(self.panels.1 - panel));
                let part = Part {
                    segments,
                    rows,
                    weight: packed.weight[packed.start + (panel * packed.depth + start) * PANEL..].as_ptr(),
                    bias: (at == last).then(|| packed.bias[first..][..panels * PANEL].as_ptr()),
                    is_first: at == 0,
                    first,
                    width: (panels * PANEL).min(packed.outputs - first),
                };
                if panels == 2 { self.panels::<L, 2>(lanes, &part) } else { self.panels::<L, 1>(lanes, &part) }
            }
        }
    }
}

/// One or two panels' part of one block of the summed axis.
struct Part<'a> {
    segments: &'a [Segment],
    /// `[tap][row]`.
    rows: *const *const f32,
    weight: *const f32,
    /// The bias, in the last block.
    bias: Option<*const f32>,
    is_first: bool,
    /// The first output.
    first: usize,
    /// How many outputs there are.
    width: usize,
}

/// Where a tile begins, and which it is of how many.
#[derive(Clone, Copy)]
struct At {
    row: usize,
    /// [`usize::MAX`] where no tile asks for weights ahead.
    tile: usize,
    tiles: usize,
}

impl Product<'_> {
    /// Copies one block of every row; its length.
    #[inline(always)]
    fn bring_together<L: Lanes>(&self, lanes: L, segments: &[Segment], gather: Gather) -> usize {
        let len = segments.iter().map(|segment| segment.len).sum();
        for row in 0..self.count {
            let mut to = gather.values.wrapping_add(row * gather.stride);
            for segment in segments {
                // SAFETY: a row's pointer can be read for the length of its tap; `values` holds a block for each row
                // (`gathered` asserts it).
                unsafe {
                    let from = (*self.rows.as_ptr().add(segment.tap * self.count + row)).add(segment.first);
                    let whole = segment.len - segment.len % LANES;
                    for k in (0..whole).step_by(LANES) {
                        lanes.store(to.add(k), lanes.load(from.add(k)));
                    }
                    for k in whole..segment.len {
                        to.add(k).write(from.add(k).read());
                    }
                    to = to.add(segment.len);
                }
            }
        }
        len
    }

    /// All rows of `P` panels.
    #[inline(always)]
    fn panels<L: Lanes, const P: usize>(&self, lanes: L, part: &Part) {
        let tiles = self.count.div_ceil(L::TILE[0]);
        for tile in 0..tiles {
            // Tiles of nearly the same height, so that none is left with a single row.
            let (row, end) = (self.count * tile / tiles, self.count * (tile + 1) / tiles);
            let at = At { row, tile: if self.streams { tile } else { usize::MAX }, tiles };
            macro_rules! tile {
                ($($height:literal),*) => {
                    match end - row {
                        $($height if $height <= L::TILE[0] => self.tile::<L, $height, P>(lanes, part, at),)*
                        height => unreachable!("a tile of {height} rows"),
                    }
                };
            }
            tile!(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
        }
    }

    /// One tile.
    #[inline(always)]
    fn tile<L: Lanes, const M: usize, const P: usize>(&self, lanes: L, part: &Part, at: At) {
        if part.width == P * PANEL {
            self.sum::<L, M, P, true>(lanes, part, at);
        } else {
            self.sum::<L, M, P, false>(lanes, part, at);
        }
    }

    /// The sums of a tile; `FULL` where all outputs of its panels are there.
    #[inline(always)]
    fn sum<L: Lanes, const M: usize, const P: usize, const FULL: bool>(
        &self,
        lanes: L,
        part: &Part,
        At { row, tile, tiles }: At,
    ) {
        let stride = self.stride;
        let out = self.out.wrapping_add(row * stride + part.first);
        let summand = if part.is_first {
            self.summand.map(|(from, stride)| (from.wrapping_add(row * stride + part.first), stride))
        } else {
            Some((out.cast_const(), stride))
        };
        // SAFETY: `row + M <= count`; in each of M rows `out` and `summand` hold `width` floats from `first` on, all of
        // P panels where `FULL` (`Product`'s contract, and `tile`). `rows` holds `count` pointers and more for each tap,
        // each readable for the length of a tap; `weight` and `bias` are slices of `Packed` that hold P panels. Pointers
        // ahead are only prefetched.
        unsafe {
            let mut sums = [[lanes.wide_splat(0.0); P]; M];
            let rows = part.rows.add(row);
            let panel = self.packed.depth * PANEL;
            let mut weight = part.weight;
            for segment in part.segments {
                let rows = rows.add(segment.tap * self.count);
                let a: [*const f32; M] = std::array::from_fn(|i| (*rows.add(i)).add(segment.first));
                let mut k = 0;
                while k < segment.len {
                    if LINE <= segment.len {
                        for i in 0..M {
                            lanes.prefetch((*rows.add(M + i)).wrapping_add(segment.first + k));
                        }
                    }
                    let end = segment.len.min(k + LINE);
                    // The next panels' weights come in while these are multiplied: a share of them with each tile.
                    let mut line = tile;
                    while line < end - k {
                        for p in 0..P {
                            lanes.prefetch_far(weight.wrapping_add((P + p) * panel + line * PANEL));
                        }
                        line += tiles;
                    }
                    while k < end {
                        let mut b = [lanes.wide_splat(0.0); P];
                        for p in 0..P {
                            b[p] = lanes.wide_load(weight.add(p * panel));
                        }
                        for i in 0..M {
                            for p in 0..P {
                                sums[i][p] = lanes.wide_fma(*a[i].add(k), b[p], sums[i][p]);
                            }
                        }
                        weight = weight.add(PANEL);
                        k += 1;
                    }
                }
            }
            if let Some((from, stride)) = summand {
                for i in 0..M {
                    for p in 0..P {
                        let from = from.add(i * stride + p * PANEL);
                        let before = if FULL {
                            lanes.wide_load(from)
                        } else {
                            lanes.wide_load_part(from, part.width - p * PANEL)
                        };
                        sums[i][p] = lanes.wide_add(sums[i][p], before);
                    }
                }
            }
            if let Some(bias) = part.bias {
                let Range { low, high } = self.range;
                for p in 0..P {
                    let bias = lanes.wide_load(bias.add(p * PANEL));
                    for i in 0..M {
                        sums[i][p] = lanes.wide_clamp(lanes.wide_add(sums[i][p], bias), low, high);
                    }
                }
            }
            for i in 0..M {
                for p in 0..P {
                    let to = out.add(i * stride + p * PANEL);
                    if FULL {
                        lanes.wide_store(to, sums[i][p]);
                    } else {
                        lanes.wide_store_part(to, sums[i][p], part.width - p * PANEL);
                    }
                }
            }
        }
    }
}
