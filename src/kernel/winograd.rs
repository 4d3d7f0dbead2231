//! Convolutions of 3x3 and 5x5 taps at stride 1 by Winograd's minimal filtering (Lavin & Gray 2015, arXiv:1509.09308).
//!
//! An input tile of `n²` pixels gives `m²` outputs, `m` less by the taps but one: `out = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A`.
//! The products at each of the `n²` positions of all tiles and channels are one matrix product, on the same tiles in
//! registers as any other. The points of F(4,3) and F(2,5) are 0, ±1/√2, ±√2 and ∞: half the error of 0, ±1, ±2
//! (Barabasz et al. 2018, arXiv:1803.10986 search for such points). `G` is applied in f64 and rounded once.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};
use std::sync::Arc;

use super::buffer::Buffer;
use super::conv::{Around, Context, Geometry};
use super::isa::{Isa, LANES, Lanes, MAX_ROWS, Task};
use super::product::{PANEL, Packed, Product, Range};
use super::rows::{Rows, RowsMut};

/// Positions along a side of the largest tile.
const SIDE: usize = 6;

/// The outputs and the taps along a side of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tile {
    /// F(4x4, 3x3).
    F4x3,
    /// F(2x2, 3x3).
    F2x3,
    /// F(2x2, 5x5), at the same positions as F(4x4, 3x3).
    F2x5,
}

impl Tile {
    /// Every tile.
    pub const ALL: [Tile; 3] = [Tile::F4x3, Tile::F2x3, Tile::F2x5];

    /// Outputs along a side.
    pub fn outputs(self) -> usize {
        match self {
            Tile::F4x3 => 4,
            Tile::F2x3 | Tile::F2x5 => 2,
        }
    }

    /// Taps along a side.
    pub fn taps(self) -> usize {
        match self {
            Tile::F4x3 | Tile::F2x3 => 3,
            Tile::F2x5 => 5,
        }
    }

    /// Positions: pixels of an input tile.
    pub fn positions(self) -> usize {
        (self.outputs() + self.taps() - 1).pow(2)
    }

    /// Floats of the weights between so many channels.
    pub fn floats(self, [out_c, in_c]: [usize; 2]) -> usize {
        self.positions() * Packed::floats(out_c, in_c)
    }
}

/// Weights carried over to the positions of a tile.
#[derive(Clone, Debug)]
pub struct Weights {
    tile: Tile,
    positions: Vec<Packed>,
    bias: Vec<f32>,
}

/// Carries over `weight: [out_c, in_c, taps, taps]`, with a factor for each output, into as many floats as
/// [`Tile::floats`] says.
pub fn carry_over(isa: Isa, tile: Tile, channels: [usize; 2], weight: &[f32], scale: &[f64], to: &mut [f32]) {
    isa.run(CarryOver { tile, channels, weight, scale, to });
}

struct CarryOver<'a> {
    tile: Tile,
    channels: [usize; 2],
    weight: &'a [f32],
    scale: &'a [f64],
    to: &'a mut [f32],
}

/// A number for each output of a panel.
type Outputs = [f64; PANEL];

impl Task for CarryOver<'_> {
    type Output = ();

    /// All outputs of a panel at once: the compiler makes vectors of the loops over them.
    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let CarryOver { tile, channels: [out_c, in_c], weight, scale, to } = self;
        let (taps, side) = (tile.taps(), tile.outputs() + tile.taps() - 1);
        assert!(weight.len() == out_c * in_c * taps * taps && to.len() == tile.floats([out_c, in_c]));
        assert!(scale.len() == out_c);
        let each = Packed::floats(out_c, in_c);
        for first in (0..out_c).step_by(PANEL) {
            for i in 0..in_c {
                let mut kernel = [[[0.0; PANEL]; 5]; 5];
                for o in 0..PANEL.min(out_c - first) {
                    let from = &weight[((first + o) * in_c + i) * taps * taps..][..taps * taps];
                    for y in 0..taps {
                        for x in 0..taps {
                            kernel[y][x][o] = f64::from(from[y * taps + x]) * scale[first + o];
                        }
                    }
                }
                // G g, a column for each tap; then (G g) Gᵀ.
                let mut columns = [[[0.0; PANEL]; 5]; SIDE];
                for x in 0..taps {
                    let column =
                        filter(tile, [&kernel[0][x], &kernel[1][x], &kernel[2][x], &kernel[3][x], &kernel[4][x]]);
                    for y in 0..side {
                        columns[y][x] = column[y];
                    }
                }
                let place = Packed::place(in_c, first, i);
                for y in 0..side {
                    let [a, b, c, d, e] = &columns[y];
                    let row = filter(tile, [a, b, c, d, e]);
                    for x in 0..side {
                        let to = &mut to[(y * side + x) * each + place..][..PANEL];
                        for o in 0..PANEL {
                            to[o] = row[x][o] as f32;
                        }
                    }
                }
            }
        }
    }
}

impl Weights {
    /// Weights that have been [carried over](carry_over) into memory from `start` on.
    pub fn on(
        tile: Tile,
        [out_c, in_c]: [usize; 2],
        carried: &Arc<Buffer>,
        start: usize,
        bias: Option<&[f32]>,
    ) -> Weights {
        let each = Packed::floats(out_c, in_c);
        let part = |position: usize| Packed::part(Arc::clone(carried), start + position * each, out_c, 1, in_c, None);
        let positions = (0..tile.positions()).map(part).collect();
        Weights { tile, positions, bias: bias.map_or_else(|| vec![0.0; out_c], <[f32]>::to_vec) }
    }
}

/// `G` times the taps of a row or column.
#[inline(always)]
fn filter(tile: Tile, g: [&Outputs; 5]) -> [Outputs; SIDE] {
    let mut all = [[0.0; PANEL]; SIDE];
    for o in 0..PANEL {
        if tile == Tile::F2x3 {
            let even = 0.5 * (g[0][o] + g[2][o]);
            all[1][o] = even + 0.5 * g[1][o];
            all[2][o] = even - 0.5 * g[1][o];
            all[3][o] = g[2][o];
        } else {
            // Σ p^k g(k) / N(p) at p² = 1/2, N = -3/2 and at p² = 2, N = 6: even powers, then odd ones. Taps that a
            // kernel of three does not have are zero.
            let small = (g[0][o] + 0.5 * (g[2][o] + 0.5 * g[4][o])) / -1.5;
            let near = (g[1][o] + 0.5 * g[3][o]) * (FRAC_1_SQRT_2 / -1.5);
            let large = (g[0][o] + 2.0 * (g[2][o] + 2.0 * g[4][o])) / 6.0;
            let far = (g[1][o] + 2.0 * g[3][o]) * (SQRT_2 / 6.0);
            all[1][o] = small + near;
            all[2][o] = small - near;
            all[3][o] = large + far;
            all[4][o] = large - far;
            all[5][o] = g[tile.taps() - 1][o];
        }
        all[0][o] = g[0][o];
    }
    all
}

/// `Bᵀ` times a row or column of an input tile.
#[inline(always)]
fn input<L: Lanes, const N: usize>(l: L, d: [L::V; SIDE]) -> [L::V; SIDE] {
    if N == 4 {
        return [l.sub(d[0], d[2]), l.add(d[1], d[2]), l.sub(d[2], d[1]), l.sub(d[1], d[3]), d[4], d[5]];
    }
    let (two, half, large) = (l.splat(-2.0), l.splat(-0.5), l.splat(-2.5));
    let (a, b) = (l.splat(FRAC_1_SQRT_2 as f32), l.splat(SQRT_2 as f32));
    let (t, u) = (l.fma(two, d[2], d[4]), l.mul(a, l.fma(two, d[1], d[3])));
    let (v, w) = (l.fma(half, d[2], d[4]), l.mul(b, l.fma(half, d[1], d[3])));
    [
        l.add(l.fma(large, d[2], d[0]), d[4]),
        l.add(t, u),
        l.sub(t, u),
        l.add(v, w),
        l.sub(v, w),
        l.add(l.fma(large, d[3], d[1]), d[5]),
    ]
}

/// `Aᵀ` times a row or column of summed products.
#[inline(always)]
fn output<L: Lanes, const M: usize, const N: usize>(l: L, m: [L::V; SIDE]) -> [L::V; 4] {
    let (plus, minus) = (l.add(m[1], m[2]), l.sub(m[1], m[2]));
    if N == 4 {
        return [l.add(m[0], plus), l.sub(minus, m[3]), m[0], m[0]];
    }
    let (far_plus, far_minus) = (l.add(m[3], m[4]), l.sub(m[3], m[4]));
    let (a, b) = (l.splat(FRAC_1_SQRT_2 as f32), l.splat(SQRT_2 as f32));
    let (half, two) = (l.splat(0.5), l.splat(2.0));
    let (near, far) = (l.mul(a, minus), l.mul(b, far_minus));
    if M == 2 {
        return [l.add(m[0], l.add(plus, far_plus)), l.add(l.add(near, far), m[5]), m[0], m[0]];
    }
    [
        l.add(m[0], l.add(plus, far_plus)),
        l.add(near, far),
        l.fma(half, plus, l.mul(two, far_plus)),
        l.add(l.fma(half, near, m[5]), l.mul(two, far)),
    ]
}

/// Tiles that are worth a block: their weights are read once for all of them.
const BLOCK: usize = 30;

/// A convolution of 3x3 or 5x5 taps at stride 1 without dilation or groups, both channel counts multiples of 8.
pub fn convolve(cx: &mut Context, g: &Geometry, weights: &Weights, from: Rows, to: &mut RowsMut, around: &Around) {
    assert!(g.kernel == [weights.tile.taps(); 2] && g.stride == [1, 1] && g.dilation == [1, 1] && g.groups == 1);
    assert!(g.from.c.is_multiple_of(LANES) && g.to.c.is_multiple_of(LANES) && around.prologue.is_none());
    assert!(from.count() == g.from.n * g.from.h * g.from.w && from.width() == g.from.c, "input of another size");
    assert!(to.count() == g.pixels() && to.width() == g.to.c, "output of another size");
    assert!(weights.positions[0].outputs() == g.to.c && weights.positions[0].tap_len() == g.from.c);
    match weights.tile {
        Tile::F4x3 => run::<4, 6>(cx, g, weights, from, to, around),
        Tile::F2x3 => run::<2, 4>(cx, g, weights, from, to, around),
        Tile::F2x5 => run::<2, 6>(cx, g, weights, from, to, around),
    }
}

fn run<const M: usize, const N: usize>(
    cx: &mut Context,
    g: &Geometry,
    weights: &Weights,
    from: Rows,
    to: &RowsMut,
    around: &Around,
) {
    let (isa, threads) = (cx.isa, cx.threads);
    let across = [g.to.h.div_ceil(M), g.to.w.div_ceil(M)];
    let tiles = g.to.n * across[0] * across[1];
    let positions = N * N;
    let job = Job::<M, N> { g, weights, from, to, around, across, zeros: &[], summand: around.summand.pointer(to) };
    if 2 * BLOCK <= tiles {
        let blocks = tiles.div_ceil(BLOCK).next_multiple_of(threads.count());
        let most = tiles.div_ceil(blocks);
        let (v_len, m_len) = (positions * step(most, g.from.c), positions * step(most, g.to.c));
        let (zeros, parts) = cx.scratch.parts(g.from.c, threads.count(), v_len + m_len);
        let job = Job { zeros, ..job };
        threads.run(blocks, |block, thread| {
            // SAFETY: `zeros` borrows the scratch memory until the loop has ended; a thread runs one call at a time.
            let (v, m) = unsafe { parts.of(thread) }.split_at_mut(v_len);
            let (first, end) = (tiles * block / blocks, tiles * (block + 1) / blocks);
            let block = Block { first, count: end - first, v: v.as_mut_ptr(), m: m.as_mut_ptr() };
            for tile in first..end {
                isa.run(Scatter { job: &job, block, tile });
            }
            for position in 0..positions {
                job.multiply(isa, block, position, 0..weights.positions[position].panels());
            }
            for tile in first..end {
                isa.run(Gather { job: &job, block, tile });
            }
        });
        return;
    }
    // Too few tiles to deal them to threads: each step is dealt by itself.
    let (v_len, m_len) = (positions * step(tiles, g.from.c), positions * step(tiles, g.to.c));
    let (zeros, parts) = cx.scratch.parts(g.from.c, 1, v_len + m_len);
    let job = Job { zeros, ..job };
    // SAFETY: `zeros` borrows the scratch memory until the loops have ended; this is its only part.
    let (v, m) = unsafe { parts.of(0) }.split_at_mut(v_len);
    let block = Block { first: 0, count: tiles, v: v.as_mut_ptr(), m: m.as_mut_ptr() };
    threads.run(tiles, |tile, _| isa.run(Scatter { job: &job, block, tile }));
    let panels = weights.positions[0].panels();
    let parts = panels.min(4);
    threads.run(positions * parts, |task, _| {
        let (position, part) = (task / parts, task % parts);
        job.multiply(isa, block, position, panels * part / parts..panels * (part + 1) / parts);
    });
    threads.run(tiles, |tile, _| isa.run(Gather { job: &job, block, tile }));
}

/// Floats from one position to the next: a cache line more than needed, so that the positions of a tile do not all fall
/// on the same set of the cache.
fn step(tiles: usize, channels: usize) -> usize {
    (tiles * channels).next_multiple_of(16) + 16
}

/// One call.
struct Job<'a, const M: usize, const N: usize> {
    g: &'a Geometry,
    weights: &'a Weights,
    from: Rows<'a>,
    to: &'a RowsMut<'a>,
    around: &'a Around<'a>,
    /// Tiles along height and width.
    across: [usize; 2],
    zeros: &'a [f32],
    summand: Option<(*const f32, usize)>,
}

// SAFETY: the pointer in `summand` is into a value that is borrowed for the call; each tile reads and writes its own
// pixels.
unsafe impl<const M: usize, const N: usize> Sync for Job<'_, M, N> {}

/// Neighbouring tiles with their memory: `v: [position][tile][in_c]`, `m: [position][tile][out_c]`.
#[derive(Clone, Copy)]
struct Block {
    first: usize,
    count: usize,
    v: *mut f32,
    m: *mut f32,
}

// SAFETY: each use writes what is of one tile, or one position's panels, and is the only one to do so.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl<const M: usize, const N: usize> Job<'_, M, N> {
    /// The sample and the first output row and column of a tile.
    #[inline(always)]
    fn corner(&self, tile: usize) -> [usize; 3] {
        let [down, along] = self.across;
        [tile / (down * along), tile / along % down * M, tile % along * M]
    }

    /// The products at one position, for these panels.
    fn multiply(&self, isa: Isa, block: Block, position: usize, panels: std::ops::Range<usize>) {
        let (in_c, out_c) = (self.g.from.c, self.g.to.c);
        let mut rows = [std::ptr::null(); 2 * BLOCK + MAX_ROWS];
        for (tile, row) in rows[..block.count].iter_mut().enumerate() {
            *row = block.v.wrapping_add(position * step(block.count, in_c) + tile * in_c).cast_const();
        }
        let out = block.m.wrapping_add(position * step(block.count, out_c));
        let packed = &self.weights.positions[position];
        // SAFETY: `v` holds `in_c` floats for each position and tile, written before; `m` holds `out_c`, and this
        // position's panels are written by this call only.
        isa.run(unsafe { Product::new(packed, &rows, block.count, panels, (out, out_c), None, Range::ALL) });
    }
}

/// Carries one input tile over to its positions.
struct Scatter<'a, const M: usize, const N: usize> {
    job: &'a Job<'a, M, N>,
    block: Block,
    tile: usize,
}

impl<const M: usize, const N: usize> Task for Scatter<'_, M, N> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Job { g, from, zeros, .. } = self.job;
        let [n, y, x] = self.job.corner(self.tile);
        let mut pixels = [[zeros.as_ptr(); SIDE]; SIDE];
        for (i, line) in pixels[..N].iter_mut().enumerate() {
            let in_y = (y + i).wrapping_sub(g.before[0]);
            for (j, pixel) in line[..N].iter_mut().enumerate() {
                let in_x = (x + j).wrapping_sub(g.before[1]);
                if in_y < g.from.h && in_x < g.from.w {
                    *pixel = from.row((n * g.from.h + in_y) * g.from.w + in_x).as_ptr();
                }
            }
        }
        let v = self.block.v.wrapping_add((self.tile - self.block.first) * g.from.c);
        let step = step(self.block.count, g.from.c);
        for c in (0..g.from.c).step_by(LANES) {
            // SAFETY: every pixel and `zeros` hold `from.c` floats, a multiple of 8; `v` holds as many for each position
            // of this tile, which nobody else touches.
            unsafe {
                let mut t = [[l.splat(0.0); SIDE]; SIDE];
                for j in 0..N {
                    let mut column = [l.splat(0.0); SIDE];
                    for i in 0..N {
                        column[i] = l.load(pixels[i][j].add(c));
                    }
                    t[j] = input::<L, N>(l, column);
                }
                for i in 0..N {
                    let mut row = [l.splat(0.0); SIDE];
                    for j in 0..N {
                        row[j] = t[j][i];
                    }
                    let row = input::<L, N>(l, row);
                    for j in 0..N {
                        l.store(v.add((i * N + j) * step + c), row[j]);
                    }
                }
            }
        }
    }
}

/// Brings the sums of one tile back to its outputs.
struct Gather<'a, const M: usize, const N: usize> {
    job: &'a Job<'a, M, N>,
    block: Block,
    tile: usize,
}

impl<const M: usize, const N: usize> Task for Gather<'_, M, N> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Job { g, to, around, summand, weights, .. } = self.job;
        let [n, y, x] = self.job.corner(self.tile);
        let m = self.block.m.wrapping_add((self.tile - self.block.first) * g.to.c);
        let step = step(self.block.count, g.to.c);
        let (height, width) = (M.min(g.to.h - y), M.min(g.to.w - x));
        let first = (n * g.to.h + y) * g.to.w + x;
        for c in (0..g.to.c).step_by(LANES) {
            // SAFETY: `m` holds `to.c` floats, a multiple of 8, for each position of this tile; the output and what it
            // begins with have a row of as many for each pixel of the tile, which nobody else touches.
            unsafe {
                let mut t = [[l.splat(0.0); SIDE]; 4];
                for j in 0..N {
                    let mut column = [l.splat(0.0); SIDE];
                    for i in 0..N {
                        column[i] = l.load(m.add((i * N + j) * step + c));
                    }
                    let column = output::<L, M, N>(l, column);
                    for i in 0..M {
                        t[i][j] = column[i];
                    }
                }
                let bias = l.load(weights.bias.as_ptr().add(c));
                for i in 0..height {
                    let row = output::<L, M, N>(l, t[i]);
                    for j in 0..width {
                        let pixel = first + i * g.to.w + j;
                        let mut sum = l.add(row[j], bias);
                        if let Some((from, stride)) = summand {
                            sum = l.add(sum, l.load(from.add(pixel * stride + c)));
                        }
                        l.store(to.ptr().add(pixel * to.stride() + c), around.range.apply(l, sum));
                    }
                }
            }
        }
    }
}
