//! A tensor that is known when a model is read: a weight, an argument, a shape.

use std::sync::Arc;

use ndarray::{ArcArray, Array, ArrayD, IxDyn};

use crate::dim::Dim;

/// Sizes that shape arithmetic may hold.
pub const MAX_SIZES: usize = 65_536;
/// Numbers that a tensor without data of its own may be filled out to.
pub const MAX_FILLED: u64 = 1 << 28;

/// A known tensor.
#[derive(Clone, Debug)]
pub struct Constant {
    /// Its name in the model, where it has one.
    pub name: Arc<str>,
    /// Its numbers.
    pub data: Data,
}

/// The numbers of a [`Constant`], in row-major order.
#[derive(Clone, Debug)]
pub enum Data {
    /// Floats of any width, as 32 bits.
    Floats(ArcArray<f32, IxDyn>),
    /// Integers of any width, and booleans.
    Ints(ArcArray<i64, IxDyn>),
    /// Integers that may depend on the net's free sizes.
    Sizes(ArcArray<Dim, IxDyn>),
    /// The same float everywhere, not yet filled out.
    Fill(Vec<u64>, f32),
}

impl Constant {
    /// One without a name.
    pub fn new(data: impl Into<Data>) -> Constant {
        Constant { name: Arc::from(""), data: data.into() }
    }

    /// Floats in row-major order; `None` where there are more or fewer than the sizes say.
    pub fn floats(dims: &[u64], values: Vec<f32>) -> Option<Constant> {
        let dims: Option<Vec<usize>> = dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
        let array = Array::from_shape_vec(IxDyn(&dims?), values).ok()?;
        Some(Constant::new(array))
    }

    /// Its sizes.
    pub fn dims(&self) -> Vec<u64> {
        let dims = |shape: &[usize]| shape.iter().map(|&dim| dim as u64).collect();
        match &self.data {
            Data::Floats(array) => dims(array.shape()),
            Data::Ints(array) => dims(array.shape()),
            Data::Sizes(array) => dims(array.shape()),
            Data::Fill(dims, _) => dims.clone(),
        }
    }

    /// How many numbers it has; `None` where that overflows.
    pub fn elements(&self) -> Option<u64> {
        self.dims().iter().try_fold(1u64, |product, &dim| product.checked_mul(dim))
    }

    /// Its numbers as floats; `None` where they depend on free sizes, or filling them out takes too much memory.
    pub fn to_floats(&self) -> Option<ArcArray<f32, IxDyn>> {
        match &self.data {
            Data::Floats(array) => Some(array.clone()),
            Data::Ints(array) => Some(array.mapv(|value| value as f32).into_shared()),
            Data::Sizes(array) => {
                let known: Option<Vec<f32>> = array.iter().map(|dim| Some(dim.as_known()? as f32)).collect();
                Some(Array::from_shape_vec(array.raw_dim(), known?).ok()?.into_shared())
            }
            Data::Fill(dims, value) => {
                self.elements().filter(|&elements| elements <= MAX_FILLED)?;
                let dims: Vec<usize> = dims.iter().map(|&dim| dim as usize).collect();
                Some(ArrayD::from_elem(IxDyn(&dims), *value).into_shared())
            }
        }
    }

    /// Its numbers as integers that may depend on free sizes; `None` where they are fractions or too many.
    pub fn to_sizes(&self) -> Option<ArcArray<Dim, IxDyn>> {
        if self.elements().is_none_or(|elements| elements > MAX_SIZES as u64) {
            return None;
        }
        let whole = |value: f32| (value.fract() == 0.0).then(|| Dim::known(value as i128));
        match &self.data {
            Data::Sizes(array) => Some(array.clone()),
            Data::Ints(array) => Some(array.mapv(|value| Dim::known(i128::from(value))).into_shared()),
            Data::Floats(array) => {
                let sizes: Option<Vec<Dim>> = array.iter().copied().map(whole).collect();
                Some(Array::from_shape_vec(array.raw_dim(), sizes?).ok()?.into_shared())
            }
            Data::Fill(..) => Constant::new(self.to_floats()?).to_sizes(),
        }
    }

    /// The integers of a list or a single integer; `None` where they are anything else.
    pub fn ints(&self) -> Option<Vec<i64>> {
        let sizes = self.to_sizes()?;
        sizes.iter().map(|dim| i64::try_from(dim.as_known()?).ok()).collect()
    }

    /// The number that all of it is.
    pub fn uniform(&self) -> Option<f32> {
        match &self.data {
            Data::Fill(_, value) => Some(*value),
            Data::Floats(array) => {
                let first = *array.first()?;
                array.iter().all(|&value| value == first).then_some(first)
            }
            Data::Ints(_) | Data::Sizes(_) => Constant::new(self.to_floats()?).uniform(),
        }
    }

    /// The single number that it holds.
    pub fn scalar(&self) -> Option<f32> {
        if self.elements() == Some(1) { self.uniform() } else { None }
    }

    /// The same numbers under other sizes; `None` where these are more or fewer.
    pub fn reshaped(&self, dims: &[u64]) -> Option<Constant> {
        let sizes: Vec<usize> = dims.iter().map(|&dim| usize::try_from(dim)).collect::<Result<_, _>>().ok()?;
        let to = IxDyn(&sizes);
        let data = match &self.data {
            Data::Floats(array) => Data::Floats(array.to_shape(to).ok()?.into_owned().into_shared()),
            Data::Ints(array) => Data::Ints(array.to_shape(to).ok()?.into_owned().into_shared()),
            Data::Sizes(array) => Data::Sizes(array.to_shape(to).ok()?.into_owned().into_shared()),
            Data::Fill(_, value) => {
                let elements = dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim));
                (elements.is_some() && elements == self.elements()).then(|| Data::Fill(dims.to_vec(), *value))?
            }
        };
        Some(Constant { name: Arc::clone(&self.name), data })
    }

    /// The same numbers with the axes in another order; `order` names for each new axis the old one.
    pub fn permuted(&self, order: &[usize]) -> Constant {
        let order_of = IxDyn(order);
        let data = match &self.data {
            Data::Floats(array) => {
                Data::Floats(array.clone().permuted_axes(order_of).as_standard_layout().into_owned().into_shared())
            }
            Data::Ints(array) => {
                Data::Ints(array.clone().permuted_axes(order_of).as_standard_layout().into_owned().into_shared())
            }
            Data::Sizes(array) => {
                Data::Sizes(array.clone().permuted_axes(order_of).as_standard_layout().into_owned().into_shared())
            }
            Data::Fill(dims, value) => Data::Fill(order.iter().map(|&axis| dims[axis]).collect(), *value),
        };
        Constant { name: Arc::clone(&self.name), data }
    }

    /// Each number changed by a function.
    pub fn map(&self, change: impl Fn(f32) -> f32) -> Option<Constant> {
        let data = match &self.data {
            Data::Fill(dims, value) => Data::Fill(dims.clone(), change(*value)),
            Data::Floats(_) | Data::Ints(_) | Data::Sizes(_) => self.to_floats()?.mapv(change).into(),
        };
        Some(Constant { name: Arc::clone(&self.name), data })
    }

    /// Its numbers along one axis where those along all others are the same, as a bias for each channel is;
    /// `axes` are the sizes that it is broadcast to, aligned at the last. `None` where they differ along another.
    pub fn along(&self, rank: usize, axis: usize) -> Option<Vec<f32>> {
        let dims = self.dims();
        let own = (axis + dims.len()).checked_sub(rank);
        let others = (0..dims.len()).filter(|&at| Some(at) != own).all(|at| dims[at] == 1);
        if others {
            return Some(self.to_floats()?.iter().copied().collect());
        }
        self.uniform().map(|value| vec![value])
    }
}

macro_rules! data_from {
    ($($element:ty => $variant:ident,)*) => {
        $(
            impl From<ArrayD<$element>> for Data {
                fn from(array: ArrayD<$element>) -> Data {
                    Data::$variant(array.into_shared())
                }
            }

            impl From<ArcArray<$element, IxDyn>> for Data {
                fn from(array: ArcArray<$element, IxDyn>) -> Data {
                    Data::$variant(array)
                }
            }
        )*
    };
}

data_from! {
    f32 => Floats,
    i64 => Ints,
    Dim => Sizes,
}
