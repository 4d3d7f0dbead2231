//! Which cells an output position takes its value from.

use super::super::Window;
use super::Mode;

/// The two cells that an output position takes its value from, and the share of the second.
pub(super) struct Tap {
    pub(super) first: usize,
    pub(super) second: usize,
    pub(super) share: f64,
}

impl Tap {
    /// Both cells with their shares.
    pub(super) fn parts(&self) -> [(usize, f64); 2] {
        [(self.first, 1.0 - self.share), (self.second, self.share)]
    }

    pub(super) fn mix(&self, first: f64, second: f64) -> f64 {
        if self.share == 0.0 { first } else { (1.0 - self.share) * first + self.share * second }
    }
}

/// The four cells that an output position takes its value from, and their shares.
pub(super) struct Cubic {
    cells: [usize; 4],
    shares: [f64; 4],
}

impl Cubic {
    /// At a position between cells, the last of which is known. Those outside are the nearest ones inside.
    fn at(source: f64, last: usize) -> Cubic {
        let (floor, t) = (source.floor(), source - source.floor());
        let cells = [-1.0, 0.0, 1.0, 2.0].map(|by| (floor + by).clamp(0.0, last as f64) as usize);
        Cubic { cells, shares: [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)] }
    }

    /// The cells that have a share.
    pub(super) fn parts(&self) -> impl Iterator<Item = (usize, f64)> {
        self.cells.into_iter().zip(self.shares).filter(|&(_, share)| share != 0.0)
    }
}

/// The parameter of the cubic convolution kernel.
const A: f64 = -0.75;

/// The kernel up to a distance of 1.
fn near(distance: f64) -> f64 {
    ((A + 2.0) * distance - (A + 3.0)) * distance * distance + 1.0
}

/// The kernel from a distance of 1 to one of 2.
fn far(distance: f64) -> f64 {
    ((A * distance - 5.0 * A) * distance + 8.0 * A) * distance - 4.0 * A
}

impl Mode {
    pub(super) fn is_cubic(self) -> bool {
        matches!(self, Mode::BicubicHalfPixel | Mode::BicubicAligned)
    }

    /// The cells of an output position, of the cubic modes.
    pub(super) fn cubic(self, position: usize, from: usize, to: usize) -> Cubic {
        let last = from.saturating_sub(1);
        let source = match self {
            Mode::BicubicAligned if to > 1 => position as f64 * last as f64 / (to - 1) as f64,
            Mode::BicubicAligned => 0.0,
            _ => (position as f64 + 0.5) * from as f64 / to as f64 - 0.5,
        };
        Cubic::at(source, last)
    }

    /// The cells of an output position, of all modes but the cubic ones.
    pub(super) fn tap(self, position: usize, from: usize, to: usize) -> Tap {
        let last = from.saturating_sub(1);
        let source = match self {
            Mode::Nearest => {
                let cell = (position as u128 * from as u128 / to as u128) as usize;
                return Tap { first: cell, second: cell, share: 0.0 };
            }
            Mode::BilinearHalfPixel | Mode::BicubicHalfPixel => ((position as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0),
            Mode::BilinearAligned | Mode::BicubicAligned if to > 1 => position as f64 * last as f64 / (to - 1) as f64,
            Mode::BilinearAligned | Mode::BicubicAligned => 0.0,
            Mode::BilinearTopLeft => position as f64 * from as f64 / to as f64,
        };
        let first = (source.floor() as usize).min(last);
        Tap { first, second: (first + 1).min(last), share: source - first as f64 }
    }

    /// The cells that can have a part in an output cell. Aligned corners stretch the input by a little more than the
    /// quotient of the sizes; their windows hold what is seen at either end.
    pub(super) fn window(self, (from, to): (u64, u64)) -> Window {
        let (step, by) = (i128::from(from), i128::from(to));
        match self {
            _ if from == to => Window::shifted(0),
            Mode::Nearest => Window { stride: (from, to), first: 0, last: 0 },
            Mode::BilinearTopLeft => Window { stride: (from, to), first: 0, last: by },
            Mode::BilinearHalfPixel => {
                let stride = (from.saturating_mul(2), to.saturating_mul(2));
                Window { stride, first: step - by, last: step + by }
            }
            Mode::BicubicHalfPixel => {
                let stride = (from.saturating_mul(2), to.saturating_mul(2));
                Window { stride, first: step - 3 * by, last: step + 3 * by }
            }
            Mode::BicubicAligned => {
                Window { stride: (from, to), first: -by - (by - step).max(0), last: 2 * by + (step - by).max(0) }
            }
            Mode::BilinearAligned => {
                Window { stride: (from, to), first: -(by - step).max(0), last: by + (step - by).max(0) }
            }
        }
    }
}
