//! Arguments that several operators of ONNX write alike: sizes, padding, and ranges of axes.

use super::{Axes, Import, Live, Target, Unfit};
use crate::dim::Dim;

impl Import<'_> {
    /// Sizes to which a tensor is reshaped, from a list in which -1 is what remains and 0 the size as it is.
    ///
    /// # Errors
    /// When the list is not known, or two sizes are left open.
    pub fn targets(sizes: &[Dim], from: &Axes, zero_is_size: bool) -> Result<Vec<Target>, Unfit> {
        let dims = from.dims()?;
        let mut targets = Vec::new();
        for (at, size) in sizes.iter().enumerate() {
            targets.push(match size.as_known() {
                Some(-1) => Target::Rest,
                Some(0) if !zero_is_size => {
                    let own = dims.get(at).ok_or_else(|| Unfit::new("a size 0 has no axis to copy"))?;
                    Target::Size(own.clone())
                }
                Some(known) if known <= 0 => return Err(Unfit::new(format!("a size is {known}"))),
                _ => Target::Size(size.clone()),
            });
        }
        if targets.iter().filter(|target| **target == Target::Rest).count() > 1 {
            return Err(Unfit::new("two of its sizes are -1"));
        }
        Ok(targets)
    }

    /// What a Pad adds: for each axis that it pads, how many positions in front and behind.
    ///
    /// # Errors
    /// When the numbers are not known.
    pub fn pads(&self, rank: usize) -> Result<Vec<(usize, i64, i64)>, Unfit> {
        let pads = match self.known(1, "padding")? {
            Some(pads) => pads.ints(),
            None => self.attrs.ints("pads")?.map(<[i64]>::to_vec),
        };
        let pads = pads.ok_or_else(|| Unfit::new("its padding is not known"))?;
        let axes = match self.known(3, "list of axes")? {
            Some(axes) => axes.ints().ok_or_else(|| Unfit::new("its axes are no integers"))?,
            None => (0..rank as i64).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(Unfit::new(format!("it has {} numbers of padding for {} axes", pads.len(), axes.len())));
        }
        let (before, behind) = pads.split_at(axes.len());
        let mut padded = Vec::new();
        for ((&axis, &before), &behind) in axes.iter().zip(before).zip(behind) {
            if (before, behind) != (0, 0) {
                padded.push((self.axis_at(axis, rank)?, before, behind));
            }
        }
        Ok(padded)
    }

    /// What padded cells hold.
    ///
    /// # Errors
    /// When it is not one known number.
    pub fn pad_value(&self) -> Result<f32, Unfit> {
        match self.known(2, "value")? {
            Some(value) => value.scalar().ok_or_else(|| Unfit::new("its value is not one number")),
            None => self.attrs.float("value", 0.0),
        }
    }

    /// What a Slice takes: for each axis that it cuts, which positions.
    ///
    /// # Errors
    /// When they are not known, go backwards, or none remain.
    pub fn ranges(&self, live: &Live) -> Result<Vec<(usize, Range)>, Unfit> {
        let dims = live.axes.dims()?;
        let list = |at: usize, name: &str| -> Result<Option<Vec<Dim>>, Unfit> {
            if let Some(known) = self.known(at, name)? {
                let sizes = known.to_sizes().ok_or_else(|| Unfit::new(format!("its {name} are no integers")))?;
                return Ok(Some(sizes.iter().cloned().collect()));
            }
            let ints = self.attrs.ints(name)?;
            Ok(ints.map(|ints| ints.iter().map(|&value| Dim::known(i128::from(value))).collect()))
        };
        let missing = || Unfit::new("its starts or ends are missing");
        let (starts, ends) = (list(1, "starts")?.ok_or_else(missing)?, list(2, "ends")?.ok_or_else(missing)?);
        let axes = list(3, "axes")?.unwrap_or_else(|| (0..starts.len()).map(|at| Dim::from(at as u64)).collect());
        let steps = list(4, "steps")?.unwrap_or_else(|| vec![Dim::ONE; starts.len()]);
        if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
            return Err(Unfit::new("its starts, ends, axes and steps are lists of different lengths"));
        }
        let mut ranges = Vec::new();
        for (((start, end), axis), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
            let axis = axis.as_known().and_then(|axis| i64::try_from(axis).ok());
            let at = self.axis_at(axis.ok_or_else(|| Unfit::new("an axis is not known"))?, dims.len())?;
            let range = Range::of(start, end, step, &dims[at])?;
            if !range.is_all(&dims[at]) {
                ranges.push((at, range));
            }
        }
        Ok(ranges)
    }
}

/// Positions of an axis: every `step`-th from `start` on, up to `end` without it.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// The first.
    pub start: u64,
    /// Where they end.
    pub end: Dim,
    /// From one to the next.
    pub step: u64,
}

impl Range {
    /// From numbers as a Slice has them: counted from the end where negative, and cut off at the ends of the axis.
    fn of(start: &Dim, end: &Dim, step: &Dim, size: &Dim) -> Result<Range, Unfit> {
        let step = step.as_u64().filter(|&step| step > 0);
        let step = step.ok_or_else(|| Unfit::new("it goes backwards or in steps that are not known"))?;
        let place = |at: &Dim| -> Result<Dim, Unfit> {
            let at =
                if at.as_known().is_some_and(|at| at < 0) { Dim::max(&at.add(size)?, &Dim::ZERO)? } else { at.clone() };
            // Ends of files are numbers larger than any size.
            let far = at.as_known().is_some_and(|at| at >= i128::from(i32::MAX));
            if far { Ok(size.clone()) } else { Ok(Dim::min(&at, size)?) }
        };
        let (start, end) = (place(start)?, place(end)?);
        let first =
            start.as_u64().ok_or_else(|| Unfit::new("it starts at a place that depends on the input's size"))?;
        if end.at_least(&Dim::from(first + 1)) == Some(false) {
            return Err(Unfit::new("nothing remains of its operand"));
        }
        Ok(Range { start: first, end, step })
    }

    fn is_all(&self, size: &Dim) -> bool {
        self.start == 0 && self.end == *size && self.step == 1
    }
}
