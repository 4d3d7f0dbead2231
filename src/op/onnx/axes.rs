//! How the axes of an ONNX tensor lie on a value of the net.
//!
//! A net's value is a map `[c, h, w]` or a vector `[n]`, with the batch in front. A tensor of the model may show the same
//! numbers under other axes: a flattened map, channels cut into groups, an image with its channels last. Reshape,
//! Transpose, Squeeze and Unsqueeze only change that view. [`Axes`] keeps it, so that most of them vanish, and the
//! others are known for what they are once a layer wants the numbers: a flatten, a shuffle of channels.

use std::collections::VecDeque;

use super::Unfit;
use crate::dim::{Dim, DimError};
use crate::tensor::Shape;

/// What an atom is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// The batch.
    Batch,
    /// An axis of the value's shape.
    Axis(usize),
}

/// A factor of an axis of the value: index `i` of the atom adds `i * step` to the position on that axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Atom {
    /// The axis it is a factor of.
    pub of: Of,
    /// How many positions it has.
    pub size: Dim,
    /// What one step moves on the axis.
    pub step: u64,
}

/// For each axis of the tensor, the atoms that it is made of, the slowest first. Axes of size 1 have none; the batch is
/// an atom whatever its size.
#[derive(Clone, Debug, PartialEq)]
pub struct Axes(pub Vec<Vec<Atom>>);

/// A size that a tensor is reshaped to.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// So many.
    Size(Dim),
    /// What remains.
    Rest,
}

impl Axes {
    /// The axes of a value as they are: the batch if there is one, then those of the shape.
    pub fn plain(batch: Option<&Dim>, shape: &Shape) -> Axes {
        let batch = batch.map(|size| vec![Atom { of: Of::Batch, size: size.clone(), step: 1 }]);
        let own = shape.0.iter().enumerate().map(|(axis, size)| whole(axis, size).into_iter().collect());
        Axes(batch.into_iter().chain(own).collect())
    }

    /// The size of the batch, if there is one.
    pub fn batch(&self) -> Option<&Dim> {
        self.0.iter().flatten().find(|atom| atom.of == Of::Batch).map(|atom| &atom.size)
    }

    /// Whether the batch, if there is one, is the first axis and that alone.
    pub fn starts_with_batch(&self) -> bool {
        let holds = |axis: &Vec<Atom>| axis.iter().any(|atom| atom.of == Of::Batch);
        let alone = self.0.first().is_some_and(|first| first.len() == 1 && holds(first));
        alone || !self.0.iter().any(holds)
    }

    /// How many axes there are.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The sizes of the axes.
    ///
    /// # Errors
    /// When they overflow.
    pub fn dims(&self) -> Result<Vec<Dim>, DimError> {
        let product = |axis: &Vec<Atom>| axis.iter().try_fold(Dim::ONE, |product, atom| product.mul(&atom.size));
        self.0.iter().map(product).collect()
    }

    /// The axes in another order; `order` names for each new axis the old one.
    ///
    /// # Errors
    /// When it is no order of all of them.
    pub fn permuted(&self, order: &[usize]) -> Result<Axes, Unfit> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..self.rank()) {
            return Err(Unfit::new(format!("`perm` {order:?} is no order of {} axes", self.rank())));
        }
        Ok(Axes(order.iter().map(|&axis| self.0[axis].clone()).collect()))
    }

    /// The same numbers in the same order under other sizes.
    ///
    /// # Errors
    /// When the sizes cut an axis in a way that cannot be followed, or are another number of elements.
    pub fn reshaped(&self, target: &[Target]) -> Result<Axes, Unfit> {
        let mut atoms: VecDeque<Atom> = self.0.iter().flatten().cloned().collect();
        let rest = target.iter().position(|size| *size == Target::Rest).unwrap_or(target.len());
        let mut axes = Vec::new();
        for size in target[..rest].iter().filter_map(Target::size) {
            axes.push(take(&mut atoms, size, End::Front)?);
        }
        let mut behind = Vec::new();
        for size in target[rest..].iter().rev().filter_map(Target::size) {
            behind.push(take(&mut atoms, size, End::Back)?);
        }
        if rest < target.len() {
            axes.push(atoms.drain(..).collect());
        }
        axes.extend(behind.into_iter().rev());
        if atoms.iter().any(|atom| atom.of != Of::Batch || atom.size != Dim::ONE) {
            return Err(Unfit::new("the sizes are fewer elements than the tensor has"));
        }
        if let Some(first) = axes.first_mut() {
            first.splice(0..0, atoms);
        }
        Ok(Axes(axes).rejoined())
    }

    /// The same axes with the parts of one axis that lie together made one.
    pub fn rejoined(self) -> Axes {
        Axes(self.0.into_iter().map(joined).collect())
    }

    /// All atoms, the slowest first.
    pub fn atoms(&self) -> Vec<&Atom> {
        self.0.iter().flatten().collect()
    }

    /// Whether the elements lie in the order in which the value has them.
    pub fn in_order(&self) -> bool {
        let place = |atom: &Atom| (atom.of, std::cmp::Reverse(atom.step));
        self.atoms().is_sorted_by_key(|atom| place(atom))
    }

    /// Whether each axis is a whole one of the value, or has size 1.
    pub fn whole(&self, shape: &Shape) -> bool {
        self.0.iter().all(|axis| match axis.as_slice() {
            [] => true,
            [atom] => match atom.of {
                Of::Batch => true,
                Of::Axis(of) => atom.step == 1 && shape.0.get(of) == Some(&atom.size),
            },
            _ => false,
        })
    }

    /// The value's axis that an axis of the tensor is; `None` where that is the batch, of size 1 or no whole one.
    pub fn axis(&self, at: usize, shape: &Shape) -> Option<usize> {
        let [Atom { of: Of::Axis(of), size, step: 1 }] = self.0.get(at)?.as_slice() else { return None };
        (shape.0.get(*of) == Some(size)).then_some(*of)
    }

    /// The axis of the tensor that is this whole axis of the value.
    pub fn place(&self, of: usize) -> Option<usize> {
        self.0.iter().position(|axis| matches!(axis.as_slice(), [atom] if atom.of == Of::Axis(of) && atom.step == 1))
    }

    /// The same axes of a value whose shape has changed. An axis that had size 1 and now has another must stand where
    /// the order of a map or vector puts it.
    pub fn resized(&self, shape: &Shape) -> Axes {
        let plain = Axes::plain(self.batch(), shape);
        let resize = |(at, axis): (usize, &Vec<Atom>)| match axis.as_slice() {
            [Atom { of: Of::Axis(of), .. }] => shape.0.get(*of).and_then(|size| whole(*of, size)).into_iter().collect(),
            [] if self.rank() == plain.rank() => {
                let free = |atom: &&Atom| !self.0.iter().flatten().any(|own| own.of == atom.of);
                plain.0.get(at).into_iter().flatten().filter(free).cloned().collect()
            }
            other => other.to_vec(),
        };
        Axes(self.0.iter().enumerate().map(resize).collect())
    }
}

/// The atom that is a whole axis; `None` for one position.
fn whole(axis: usize, size: &Dim) -> Option<Atom> {
    (*size != Dim::ONE).then(|| Atom { of: Of::Axis(axis), size: size.clone(), step: 1 })
}

/// Neighbours that are parts of one axis, the fast one going through the steps of the slow one, made one again.
fn joined(axis: Vec<Atom>) -> Vec<Atom> {
    let mut atoms: Vec<Atom> = Vec::new();
    for atom in axis {
        let joint = atoms.last_mut().filter(|slow| {
            let through = atom.size.as_u64().and_then(|size| size.checked_mul(atom.step));
            slow.of == atom.of && Some(slow.step) == through
        });
        match joint.and_then(|slow| Some((slow.size.mul(&atom.size).ok()?, slow))) {
            Some((size, slow)) => (slow.size, slow.step) = (size, atom.step),
            None => atoms.push(atom),
        }
    }
    atoms
}

impl Target {
    fn size(&self) -> Option<&Dim> {
        match self {
            Target::Size(size) => Some(size),
            Target::Rest => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Front,
    Back,
}

/// Takes atoms that are together so many elements from one end.
fn take(atoms: &mut VecDeque<Atom>, size: &Dim, end: End) -> Result<Vec<Atom>, Unfit> {
    let mut taken = VecDeque::new();
    let mut left = size.clone();
    // A model that has been written for one sample says 1 where others have a batch.
    if end == End::Front
        && left == Dim::ONE
        && let Some(batch) = atoms.front().filter(|atom| atom.of == Of::Batch && stands_for_one(atom)).cloned()
    {
        atoms.pop_front();
        return Ok(vec![batch]);
    }
    while left != Dim::ONE {
        let next = if end == End::Front { atoms.pop_front() } else { atoms.pop_back() };
        let Some(atom) = next else { return Err(Unfit::new("the sizes are more elements than the tensor has")) };
        let (part, rest) = if let Ok(quotient) = left.exact_div_dim(&atom.size) {
            left = quotient;
            (atom, None)
        } else {
            let (part, rest) = cut(atom, &left, end).ok_or_else(|| {
                Unfit::new("it cuts axes at places that do not divide them, so that no layer can follow it")
            })?;
            left = Dim::ONE;
            (part, Some(rest))
        };
        match end {
            End::Front => {
                taken.push_back(part);
                rest.into_iter().for_each(|rest| atoms.push_front(rest));
            }
            End::Back => {
                taken.push_front(part);
                rest.into_iter().for_each(|rest| atoms.push_back(rest));
            }
        }
    }
    Ok(taken.into())
}

/// Whether one sample is meant.
fn stands_for_one(batch: &Atom) -> bool {
    batch.size == Dim::ONE || batch.size.is_symbolic()
}

/// Cuts so many positions off an atom: at the front the slow ones, at the back the fast ones.
fn cut(atom: Atom, size: &Dim, end: End) -> Option<(Atom, Atom)> {
    let (whole, part) = (atom.size.as_u64()?, size.as_u64()?);
    if atom.of == Of::Batch || part == 0 || whole % part != 0 {
        return None;
    }
    let other = whole / part;
    let slow = |size: u64, fast: u64| Some(Atom { of: atom.of, size: size.into(), step: atom.step.checked_mul(fast)? });
    let fast = |size: u64| Atom { of: atom.of, size: size.into(), step: atom.step };
    match end {
        End::Front => Some((slow(part, other)?, fast(other))),
        End::Back => Some((fast(part), slow(other, part)?)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sizes(sizes: &[i128]) -> Vec<Target> {
        sizes.iter().map(|&size| if size < 0 { Target::Rest } else { Target::Size(Dim::known(size)) }).collect()
    }

    fn known(axes: &Axes) -> Vec<i128> {
        axes.dims().unwrap().iter().map(|dim| dim.as_known().unwrap_or(-1)).collect()
    }

    fn map() -> Axes {
        Axes::plain(Some(&Dim::symbol("N", 1)), &Shape::known(&[6, 4, 5]))
    }

    #[test]
    fn reshapes_cut_and_join() {
        let axes = map();
        assert_eq!(known(&axes.reshaped(&sizes(&[-1, 120])).unwrap()), [-1, 120]);
        assert_eq!(known(&axes.reshaped(&sizes(&[1, -1])).unwrap()), [-1, 120]);
        let groups = axes.reshaped(&sizes(&[-1, 2, 3, 4, 5])).unwrap();
        assert_eq!(known(&groups), [-1, 2, 3, 4, 5]);
        assert_eq!((groups.0[1][0].step, groups.0[2][0].step), (3, 1));
        let back = groups.reshaped(&sizes(&[-1, 6, 4, 5])).unwrap();
        assert!(back.in_order() && back.whole(&Shape::known(&[6, 4, 5])));
        let shuffled = groups.permuted(&[0, 2, 1, 3, 4]).unwrap();
        assert!(!shuffled.in_order());
        assert_eq!(known(&shuffled.reshaped(&sizes(&[-1, 6, 4, 5])).unwrap()), [-1, 6, 4, 5]);
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        assert!(map().reshaped(&sizes(&[-1, 4, 30])).is_err());
        assert!(map().reshaped(&sizes(&[1, 60])).is_err());
        assert!(map().reshaped(&sizes(&[1, 240])).is_err());
        assert!(map().permuted(&[0, 1, 1, 2]).is_err());
    }

    #[test]
    fn axes_are_found_through_a_transpose() {
        let shape = Shape::known(&[6, 4, 5]);
        let last = map().permuted(&[0, 2, 3, 1]).unwrap();
        assert!(last.whole(&shape));
        assert_eq!((last.axis(3, &shape), last.axis(0, &shape), last.place(0)), (Some(0), None, Some(3)));
    }
}
