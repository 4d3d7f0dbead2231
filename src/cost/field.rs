//! The receptive field: what one position of a value sees of the net's input.
//!
//! A window sends output position `i` to an interval of input positions, and intervals compose. Where a step is a
//! fraction (transposed convolution, upsampling, adaptive pooling) the intervals repeat with a period, so a value keeps
//! one interval for each position of a period, and the result is the widest of them. Branches unite position by
//! position. Borders do not cut the field: that of a deep layer may be larger than the input.

use std::sync::Arc;

use crate::dim::Dim;
use crate::ir::{Net, NodeId};
use crate::op::{Op, Reach, Window};
use crate::shape::Shapes;

/// A receptive field on one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// All positions of the input.
    Whole,
    /// Branches of different steps meet, so that no one field describes all positions.
    Mixed,
    /// An interval that moves with the position.
    Window {
        /// How many input positions it spans, at the position where that is most.
        extent: u64,
        /// Input positions from one position to the next, as a reduced fraction.
        stride: (u64, u64),
    },
}

/// Positions after which the intervals repeat; beyond this a field counts as mixed.
const MAX_PERIOD: i128 = 1024;

/// The field of each node's results, by index: height, width.
pub(super) fn fields(net: &Net, shapes: &Shapes) -> Vec<[Field; 2]> {
    let mut sights: Vec<[Sight; 2]> = vec![[Sight::Whole, Sight::Whole]; net.bound()];
    for id in net.topological() {
        sights[id.index()] = [0, 1].map(|axis| sight_of(net, shapes, id, axis, &sights));
    }
    sights.iter().map(|axes| [axes[0].field(), axes[1].field()]).collect()
}

/// What the positions of a value see.
#[derive(Clone, Debug, PartialEq)]
enum Sight {
    Whole,
    Mixed,
    Track(Track),
}

/// Position `m * period + r` sees the input positions `m * advance + first ..= m * advance + last` of `spans[r]`.
#[derive(Clone, Debug, PartialEq)]
struct Track {
    advance: i128,
    spans: Arc<[(i128, i128)]>,
}

fn sight_of(net: &Net, shapes: &Shapes, id: NodeId, axis: usize, sights: &[[Sight; 2]]) -> Sight {
    let op = &net.node(id).op;
    let result = size_on(shapes, id, axis);
    if matches!(op, Op::Input(_)) {
        return if result.is_some() { Sight::Track(Track::input()) } else { Sight::Whole };
    }
    let operands = shapes.operands(net, id);
    let reach = op.reach(&operands);
    let seen = net.operands(id).into_iter().zip(&operands).map(|(value, shape)| {
        let sight = &sights[value.node.index()][axis];
        match &reach {
            Reach::Everything => Sight::Whole,
            Reach::Window(windows) => sight.through(&windows[axis]),
            // Broadcast over the axis, or joined along it: positions do not correspond.
            Reach::Point if shape.0.get(axis + 1) != result => sight.fixed(),
            Reach::Point => sight.clone(),
        }
    });
    seen.reduce(|a, b| a.unite(&b)).unwrap_or(Sight::Whole)
}

/// The size of a node's results on height or width; `None` for vectors.
fn size_on(shapes: &Shapes, id: NodeId, axis: usize) -> Option<&Dim> {
    shapes.results(id).first().filter(|shape| shape.rank() == 3)?.0.get(axis + 1)
}

impl Sight {
    fn field(&self) -> Field {
        match self {
            Sight::Whole => Field::Whole,
            Sight::Mixed => Field::Mixed,
            Sight::Track(track) => track.field(),
        }
    }

    /// What is left when positions do not correspond.
    fn fixed(&self) -> Sight {
        if *self == Sight::Whole { Sight::Whole } else { Sight::Mixed }
    }

    fn through(&self, window: &Window) -> Sight {
        match self {
            Sight::Whole | Sight::Mixed => self.clone(),
            Sight::Track(track) => track.through(window).map_or(Sight::Mixed, Sight::Track),
        }
    }

    fn unite(&self, other: &Sight) -> Sight {
        match (self, other) {
            (Sight::Whole, _) | (_, Sight::Whole) => Sight::Whole,
            (Sight::Mixed, _) | (_, Sight::Mixed) => Sight::Mixed,
            (Sight::Track(a), Sight::Track(b)) => a.unite(b).map_or(Sight::Mixed, Sight::Track),
        }
    }
}

impl Track {
    fn input() -> Track {
        Track { advance: 1, spans: [(0, 0)].into() }
    }

    fn period(&self) -> i128 {
        self.spans.len() as i128
    }

    /// The interval that any position sees.
    fn span(&self, position: i128) -> Option<(i128, i128)> {
        let (first, last) = self.spans[position.rem_euclid(self.period()) as usize];
        let moved = position.div_euclid(self.period()).checked_mul(self.advance)?;
        Some((moved.checked_add(first)?, moved.checked_add(last)?))
    }

    /// `None` where the period or a position grows out of range.
    fn through(&self, window: &Window) -> Option<Track> {
        let (step, by) = (i128::from(window.stride.0), i128::from(window.stride.1.max(1)));
        let base = by.checked_mul(self.period())?;
        let period = base / gcd(base, step).max(1);
        if period > MAX_PERIOD {
            return None;
        }
        let spans = (0..period).map(|position| {
            let seen = window.seen(position as u64);
            Some((self.span(*seen.start())?.0, self.span(*seen.end())?.1))
        });
        let advance = (period * step / base).checked_mul(self.advance)?;
        Some(Track { advance, spans: spans.collect::<Option<_>>()? })
    }

    /// `None` where the two step differently, or grow out of range.
    fn unite(&self, other: &Track) -> Option<Track> {
        let (a, b) = (self.period(), other.period());
        if self.advance.checked_mul(b)? != other.advance.checked_mul(a)? {
            return None;
        }
        let period = a / gcd(a, b).max(1) * b;
        if period > MAX_PERIOD {
            return None;
        }
        let spans = (0..period).map(|position| {
            let (x, y) = (self.span(position)?, other.span(position)?);
            Some((x.0.min(y.0), x.1.max(y.1)))
        });
        Some(Track { advance: self.advance.checked_mul(period / a)?, spans: spans.collect::<Option<_>>()? })
    }

    fn field(&self) -> Field {
        let extent = self.spans.iter().map(|(first, last)| last - first + 1).max().unwrap_or(1);
        let common = gcd(self.advance, self.period()).max(1);
        let stride = (u64::try_from(self.advance / common), u64::try_from(self.period() / common));
        match (u64::try_from(extent), stride) {
            (Ok(extent), (Ok(step), Ok(by))) => Field::Window { extent, stride: (step, by) },
            _ => Field::Mixed,
        }
    }
}

fn gcd(mut a: i128, mut b: i128) -> i128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn track(windows: &[Window]) -> Track {
        windows.iter().fold(Track::input(), |track, window| track.through(window).unwrap())
    }

    /// Windows of every kind that operators have: sliding, transposed or upsampling, in parts, shifted.
    fn windows() -> impl Strategy<Value = Window> {
        prop_oneof![
            (1u64..5, 1u64..4, 0u64..3).prop_map(|(extent, stride, before)| Window::sliding(extent, stride, before)),
            (1u64..4, 0i128..4).prop_map(|(by, last)| Window { stride: (1, by), first: (last - 2).min(last), last }),
            (1u64..6, 1u64..6).prop_map(|(size, parts)| Window {
                stride: (size, parts),
                first: 0,
                last: i128::from(size) - 1
            }),
            (-3i128..4).prop_map(Window::shifted),
        ]
    }

    /// The input positions between the ends of what a position sees, step by step.
    fn seen(windows: &[Window], position: i128) -> (i128, i128) {
        let mut ends = (position, position);
        for window in windows.iter().rev() {
            let (step, by) = (i128::from(window.stride.0), i128::from(window.stride.1));
            ends.0 = (ends.0 * step + window.first).div_euclid(by);
            ends.1 = (ends.1 * step + window.last).div_euclid(by);
        }
        ends
    }

    proptest! {
        #[test]
        fn positions_see_what_the_windows_say(windows in prop::collection::vec(windows(), 0..6)) {
            let track = track(&windows);
            let positions = -40..200i128;
            for position in positions.clone() {
                prop_assert_eq!(track.span(position), Some(seen(&windows, position)));
            }
            let widest = positions.map(|position| seen(&windows, position)).map(|(first, last)| last - first + 1).max();
            let Field::Window { extent, stride } = track.field() else { panic!("a window") };
            prop_assert_eq!(Some(i128::from(extent)), widest);
            let step = windows.iter().fold((1, 1), |(a, b), w| (a * w.stride.0, b * w.stride.1));
            prop_assert_eq!(stride.0 * step.1, stride.1 * step.0);
        }

        #[test]
        fn branches_see_both(
            a in prop::collection::vec((1u64..5, 0u64..3), 0..4), b in prop::collection::vec((1u64..5, 0u64..3), 0..4),
        ) {
            let of = |branch: &[(u64, u64)]| {
                branch.iter().map(|&(extent, before)| Window::sliding(extent, 1, before)).collect::<Vec<Window>>()
            };
            let (a, b) = (of(&a), of(&b));
            let both = track(&a).unite(&track(&b)).unwrap();
            let (x, y) = (seen(&a, 7), seen(&b, 7));
            prop_assert_eq!(both.span(7), Some((x.0.min(y.0), x.1.max(y.1))));
        }
    }

    #[test]
    fn branches_of_different_steps_are_mixed() {
        let halved = Sight::Track(track(&[Window::sliding(2, 2, 0)]));
        let plain = Sight::Track(Track::input());
        assert_eq!(halved.unite(&plain), Sight::Mixed);
        assert_eq!(halved.unite(&Sight::Whole), Sight::Whole);
        assert_eq!(Sight::Mixed.unite(&plain), Sight::Mixed);
    }

    #[test]
    fn odd_positions_of_a_doubled_map_see_other_cells() {
        // Doubled to the nearest and through a window of two, aligned or across: one cell of the input, or two.
        let doubled = Window { stride: (1, 2), first: 0, last: 0 };
        let across = track(&[doubled, Window::sliding(2, 1, 0)]);
        let widths: BTreeSet<i128> = (0..2).map(|at| across.span(at).unwrap()).map(|(a, b)| b - a + 1).collect();
        assert_eq!(widths, BTreeSet::from([1, 2]));
        assert_eq!(across.field(), Field::Window { extent: 2, stride: (1, 2) });
        let back = track(&[doubled, Window::sliding(2, 2, 0)]);
        assert_eq!(back.field(), Field::Window { extent: 1, stride: (1, 1) });
    }

    #[test]
    fn what_grows_out_of_range_is_mixed() {
        let wide = Window { stride: (1, u64::MAX), first: 0, last: 0 };
        assert_eq!(Track::input().through(&wide), None);
        let far = Window { stride: (u64::MAX, 1), first: 0, last: 0 };
        let many = (0..4).try_fold(Track::input(), |track, _| track.through(&far));
        assert_eq!(many.map(|track| track.field()), None);
    }
}
