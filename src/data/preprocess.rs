//! From a photo to a net's input: the steps of a `preprocess` block as plain data, and their execution.
//!
//! The steps that move pixels run in the order in which they are listed, on bytes, as Pillow and torchvision do it;
//! then the bytes become numbers: channel order, value range, mean and standard deviation. With `resize 256; crop 224`
//! and the usual mean and std the result equals torchvision's for the same decoded pixels, bit for bit.

use std::borrow::Cow;
use std::ops::Range;

use ndarray::Array3;

use super::error::DataError;
use super::image::{Image, MAX_PIXELS};
use super::pixels::Pixels;
use super::resize::resize;

/// How a resampled pixel is made of the old ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// A triangle, widened by the scale when shrinking (antialiased).
    #[default]
    Bilinear,
    /// Keys' cubic with a = -0.5, widened by the scale when shrinking (antialiased).
    Bicubic,
    /// The pixel under the new one's centre.
    Nearest,
}

/// The size to resize to, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResizeTo {
    /// The shorter side gets this length, the longer one keeps the proportion, rounded down.
    Short(usize),
    /// Both sides, whatever the proportion.
    Exact {
        /// Height.
        h: usize,
        /// Width.
        w: usize,
    },
}

/// One step on the pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Resample to another size.
    Resize {
        /// The new size.
        to: ResizeTo,
        /// The filter.
        interpolation: Interpolation,
    },
    /// Cut out the middle; where the image is smaller it is first padded with black. Rounding is torchvision's: an odd
    /// remainder of `2k + 1` pixels leaves the even one of `k` and `k + 1` above (and on the left).
    Crop {
        /// Height, in pixels.
        h: usize,
        /// Width, in pixels.
        w: usize,
    },
    /// Add a border.
    Pad {
        /// Rows above.
        top: usize,
        /// Columns on the left.
        left: usize,
        /// Rows below.
        bottom: usize,
        /// Columns on the right.
        right: usize,
        /// The border's value in every channel, a byte before it is scaled.
        value: u8,
    },
    /// Reduce to one channel: ITU-R 601-2 luma, `(19595 R + 38470 G + 7471 B + 32768) >> 16`.
    Gray,
}

/// The order of colour channels in the net's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red, as nets that come from Caffe want it.
    Bgr,
}

/// The range of values onto which a byte's 0..=255 is mapped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// What 0 becomes.
    pub lo: f32,
    /// What 255 becomes.
    pub hi: f32,
}

impl Default for Scale {
    fn default() -> Self {
        Scale { lo: 0.0, hi: 1.0 }
    }
}

/// A whole `preprocess` block. Its default has no step and the scale 0..1: torchvision's `ToTensor`.
///
/// After the [`steps`](Self::steps), a byte `b` of channel `c` (counted in the net's order, that is after
/// [`order`](Self::order)) becomes `(lo + b / 255 * (hi - lo) - mean[c]) / std[c]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preprocess {
    /// What happens to the pixels, first to last.
    pub steps: Vec<Step>,
    /// The order of the channels; no effect on a grey image.
    pub order: Order,
    /// The value range before mean and std.
    pub scale: Scale,
    /// Subtracted: empty for nothing, one value for all channels, or one a channel.
    pub mean: Vec<f32>,
    /// Divided by: empty for nothing, one value for all channels, or one a channel.
    pub std: Vec<f32>,
}

/// Why a preprocessing cannot be carried out. `step` counts from 0 in [`Preprocess::steps`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PreprocessFault {
    /// A step asks for a side without pixels.
    #[error("step {} (`{}`) asks for a height or width of 0", step + 1, name)]
    Empty {
        /// The step.
        step: usize,
        /// Its word in the language.
        name: &'static str,
    },
    /// A step leads to more pixels than are computed.
    #[error("step {} (`{}`) leads to more than {MAX_PIXELS} pixels", step + 1, name)]
    TooManyPixels {
        /// The step.
        step: usize,
        /// Its word in the language.
        name: &'static str,
    },
    /// `mean` or `std` has neither one value nor one a channel.
    #[error("`{name}` has {given} values for {channels} channels")]
    Count {
        /// `mean` or `std`.
        name: &'static str,
        /// Its number of values.
        given: usize,
        /// The channels of the preprocessed image.
        channels: usize,
    },
    /// A value with which no finite input comes out.
    #[error("`{name}` holds {value}")]
    Value {
        /// `scale`, `mean` or `std`.
        name: &'static str,
        /// The value.
        value: f32,
    },
    /// Several test-time crops are wanted, but no step says how large they are.
    #[error("{crops} crops are asked for, but no `crop` step says how large they are")]
    NoCrop {
        /// The crops asked for.
        crops: usize,
    },
    /// Crops at the corners need an image at least as large as they are.
    #[error("an image of {h} x {w} is smaller than the crops of {crop_h} x {crop_w} at its corners")]
    CropTooLarge {
        /// The image's height in front of the crop.
        h: usize,
        /// The image's width in front of the crop.
        w: usize,
        /// The crop's height.
        crop_h: usize,
        /// The crop's width.
        crop_w: usize,
    },
}

impl PreprocessFault {
    /// The word in the language that is at fault, where it is one.
    pub fn name(&self) -> Option<&'static str> {
        match *self {
            PreprocessFault::Empty { name, .. }
            | PreprocessFault::TooManyPixels { name, .. }
            | PreprocessFault::Count { name, .. }
            | PreprocessFault::Value { name, .. } => Some(name),
            PreprocessFault::NoCrop { .. } | PreprocessFault::CropTooLarge { .. } => None,
        }
    }

    /// What to do about it, as a sentence without its full stop.
    pub fn fix(&self) -> String {
        match self {
            PreprocessFault::Empty { .. } => "give a size of at least 1".to_string(),
            PreprocessFault::TooManyPixels { .. } => {
                "give a smaller size, or an image of usual proportions".to_string()
            }
            PreprocessFault::Count { channels, name, .. } => {
                format!("give `{name}` one value, or {channels}; `gray` leaves one channel")
            }
            PreprocessFault::Value { name: "std", .. } => "give positive numbers".to_string(),
            PreprocessFault::Value { .. } => "give finite numbers".to_string(),
            PreprocessFault::NoCrop { .. } => {
                "add a `crop` step to the net's `preprocess`, or ask for one crop".to_string()
            }
            PreprocessFault::CropTooLarge { .. } => "put a larger `resize` in front of the `crop`".to_string(),
        }
    }
}

impl Preprocess {
    /// What a net without a `preprocess` block gets: resized to exactly `h` x `w` (bilinear), grey when the input has
    /// one channel (`c`), values 0..1.
    pub fn fallback(c: usize, h: usize, w: usize) -> Preprocess {
        let mut steps = Vec::new();
        if c == 1 {
            steps.push(Step::Gray);
        }
        steps.push(Step::Resize { to: ResizeTo::Exact { h, w }, interpolation: Interpolation::Bilinear });
        Preprocess { steps, ..Preprocess::default() }
    }

    /// Checks everything that does not depend on the image; the first fault found.
    pub fn check(&self) -> Result<(), PreprocessFault> {
        for (step, kind) in self.steps.iter().enumerate() {
            let (h, w) = match *kind {
                Step::Resize { to: ResizeTo::Short(n), .. } => (n, n),
                Step::Resize { to: ResizeTo::Exact { h, w }, .. } | Step::Crop { h, w } => (h, w),
                Step::Pad { .. } | Step::Gray => continue,
            };
            if h == 0 || w == 0 {
                return Err(PreprocessFault::Empty { step, name: kind.name() });
            }
            bounded(h, w, step, kind)?;
        }
        let finite = |name, values: &[f32]| match values.iter().find(|value| !value.is_finite()) {
            Some(&value) => Err(PreprocessFault::Value { name, value }),
            None => Ok(()),
        };
        finite("scale", &[self.scale.lo, self.scale.hi])?;
        finite("mean", &self.mean)?;
        finite("std", &self.std)?;
        if let Some(&value) = self.std.iter().find(|&&value| value <= 0.0) {
            return Err(PreprocessFault::Value { name: "std", value });
        }
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if !matches!(values.len(), 0 | 1) && values.len() != self.channels() {
                return Err(PreprocessFault::Count { name, given: values.len(), channels: self.channels() });
            }
        }
        Ok(())
    }

    /// The channels of the result: 1 with a `gray` step, otherwise 3.
    pub fn channels(&self) -> usize {
        if self.steps.contains(&Step::Gray) { 1 } else { 3 }
    }

    /// Height and width of the result, where they do not depend on the image.
    pub fn fixed_size(&self) -> Option<(usize, usize)> {
        self.steps.iter().fold(None, |size, step| match *step {
            Step::Resize { to: ResizeTo::Exact { h, w }, .. } | Step::Crop { h, w } => Some((h, w)),
            Step::Resize { to: ResizeTo::Short(n), .. } => size.and_then(|(h, w)| short_side(h, w, n)),
            Step::Pad { top, left, bottom, right, .. } => {
                let (h, w) = size?;
                Some((h.checked_add(top)?.checked_add(bottom)?, w.checked_add(left)?.checked_add(right)?))
            }
            Step::Gray => size,
        })
    }

    /// The net's input for `image`: channels, height, width.
    pub fn apply(&self, image: &Image) -> Result<Array3<f32>, DataError> {
        let fault = |fault| DataError::Preprocess { file: image.file().to_path_buf(), fault };
        self.check().map_err(fault)?;
        let pixels = self.run_steps(image.pixels(), 0..self.steps.len()).map_err(fault)?;
        Ok(self.numbers(&pixels))
    }

    /// Runs some of the steps.
    pub(super) fn run_steps<'a>(
        &self,
        pixels: &'a Pixels,
        steps: Range<usize>,
    ) -> Result<Cow<'a, Pixels>, PreprocessFault> {
        let wanted = self.steps.iter().enumerate().filter(|(index, _)| steps.contains(index));
        wanted
            .into_iter()
            .try_fold(Cow::Borrowed(pixels), |pixels, (index, step)| step.run(index, &pixels).map(Cow::Owned))
    }

    /// Bytes to numbers.
    pub(super) fn numbers(&self, pixels: &Pixels) -> Array3<f32> {
        let (c, h, w) = (pixels.c, pixels.h, pixels.w);
        let tables: Vec<[f32; 256]> = (0..c).map(|channel| self.table(channel)).collect();
        Array3::from_shape_fn((c, h, w), |(channel, y, x)| {
            let source = if self.order == Order::Bgr { c - 1 - channel } else { channel };
            tables[channel][usize::from(pixels.bytes[(y * w + x) * c + source])]
        })
    }

    /// The number that each byte of a channel becomes, rounded as torchvision's float32 steps round.
    pub(super) fn table(&self, channel: usize) -> [f32; 256] {
        let of = |values: &[f32]| values.get(channel).or(values.first()).copied();
        let (lo, hi) = (f64::from(self.scale.lo), f64::from(self.scale.hi));
        std::array::from_fn(|byte| {
            let value = (lo + (hi - lo) * byte as f64 / 255.0) as f32;
            (value - of(&self.mean).unwrap_or(0.0)) / of(&self.std).unwrap_or(1.0)
        })
    }
}

impl Step {
    /// The step's word in the language.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Resize { .. } => "resize",
            Step::Crop { .. } => "crop",
            Step::Pad { .. } => "pad",
            Step::Gray => "gray",
        }
    }

    pub(super) fn run(&self, index: usize, pixels: &Pixels) -> Result<Pixels, PreprocessFault> {
        let too_many = || PreprocessFault::TooManyPixels { step: index, name: self.name() };
        match *self {
            Step::Resize { to, interpolation } => {
                let (h, w) = match to {
                    ResizeTo::Exact { h, w } => (h, w),
                    ResizeTo::Short(n) => short_side(pixels.h, pixels.w, n).ok_or_else(too_many)?,
                };
                bounded(h, w, index, self)?;
                Ok(resize(pixels, h, w, interpolation))
            }
            Step::Crop { h, w } if h <= pixels.h && w <= pixels.w => Ok(pixels.middle(h, w)),
            Step::Crop { h, w } => {
                let (down, right) = (h.saturating_sub(pixels.h), w.saturating_sub(pixels.w));
                let border = [down / 2, right / 2, down.div_ceil(2), right.div_ceil(2)];
                Ok(pixels.padded(border, 0).ok_or_else(too_many)?.middle(h, w))
            }
            Step::Pad { top, left, bottom, right, value } => {
                pixels.padded([top, left, bottom, right], value).ok_or_else(too_many)
            }
            Step::Gray => Ok(pixels.gray()),
        }
    }
}

/// Refuses more than [`MAX_PIXELS`].
fn bounded(h: usize, w: usize, step: usize, kind: &Step) -> Result<(), PreprocessFault> {
    match h.checked_mul(w) {
        Some(pixels) if pixels <= MAX_PIXELS => Ok(()),
        _ => Err(PreprocessFault::TooManyPixels { step, name: kind.name() }),
    }
}

/// Height and width when the shorter side becomes `short`.
fn short_side(h: usize, w: usize, short: usize) -> Option<(usize, usize)> {
    let long = h.max(w).checked_mul(short)? / h.min(w).max(1);
    Some(if w <= h { (long, short) } else { (short, long) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn image() -> Image {
        Image::from_rgb("photo", 2, 3, (0..18).map(|byte| byte * 10).collect()).unwrap()
    }

    #[test]
    fn numbers_are_scaled_ordered_and_normalised() {
        let preprocess = Preprocess {
            order: Order::Bgr,
            scale: Scale { lo: 0.0, hi: 255.0 },
            mean: vec![100.0, 110.0, 120.0],
            std: vec![2.0],
            ..Preprocess::default()
        };
        let input = preprocess.apply(&image()).unwrap();
        assert_eq!(input.dim(), (3, 2, 3));
        // The second pixel of the first row is 30, 40, 50.
        assert_eq!([input[[0, 0, 1]], input[[1, 0, 1]], input[[2, 0, 1]]], [-25.0, -35.0, -45.0]);
        let signed = Preprocess { scale: Scale { lo: -1.0, hi: 1.0 }, ..Preprocess::default() };
        assert_eq!(signed.apply(&image()).unwrap()[[0, 0, 0]], -1.0);
    }

    #[test]
    fn halves_go_to_the_even_neighbour() {
        let kept = |crop: usize| {
            let image = Image::from_gray("row", 1, 12, &(0..12).collect::<Vec<u8>>()).unwrap();
            let steps = vec![Step::Crop { h: 1, w: crop }];
            let scale = Scale { lo: 0.0, hi: 255.0 };
            Preprocess { steps, scale, ..Preprocess::default() }.apply(&image).unwrap()[[0, 0, 0]]
        };
        // 0.5, 1, 1.5, 2, 2.5 and 3.5 pixels on the left.
        assert_eq!([11, 10, 9, 8, 7, 5].map(kept), [0.0, 1.0, 2.0, 2.0, 2.0, 4.0]);
    }

    #[test]
    fn the_fixed_size_is_known_without_an_image() {
        let pad = Step::Pad { top: 1, left: 2, bottom: 3, right: 4, value: 0 };
        let short = Step::Resize { to: ResizeTo::Short(4), interpolation: Interpolation::Nearest };
        let size = |steps: &[Step]| Preprocess { steps: steps.to_vec(), ..Preprocess::default() }.fixed_size();
        assert_eq!(size(&[short, pad]), None);
        assert_eq!(size(&[short, Step::Crop { h: 5, w: 6 }, pad]), Some((9, 12)));
        assert_eq!(size(&[Step::Crop { h: 8, w: 6 }, short]), Some((5, 4)));
        assert_eq!(Preprocess::fallback(1, 28, 30).fixed_size(), Some((28, 30)));
        assert_eq!(Preprocess::fallback(1, 28, 30).channels(), 1);
        assert_eq!(Preprocess::fallback(3, 28, 30).channels(), 3);
    }

    #[test]
    fn faults_are_found_before_any_work() {
        let exact = |h, w| Step::Resize { to: ResizeTo::Exact { h, w }, interpolation: Interpolation::Bilinear };
        let steps = |steps: Vec<Step>| Preprocess { steps, ..Preprocess::default() };
        for (preprocess, expected) in [
            (steps(vec![Step::Gray, exact(0, 9)]), "step 2 (`resize`) asks for a height or width of 0"),
            (steps(vec![exact(20_000, 20_000)]), "step 1 (`resize`) leads to more than 100000000 pixels"),
            (
                steps(vec![Step::Crop { h: usize::MAX, w: usize::MAX }]),
                "step 1 (`crop`) leads to more than 100000000 pixels",
            ),
            (Preprocess { mean: vec![0.5; 2], ..Preprocess::default() }, "`mean` has 2 values for 3 channels"),
            (Preprocess { std: vec![0.5, 0.0, 1.0], ..Preprocess::default() }, "`std` holds 0"),
            (Preprocess { mean: vec![f32::NAN], ..Preprocess::default() }, "`mean` holds NaN"),
            (Preprocess { scale: Scale { lo: 0.0, hi: f32::INFINITY }, ..Preprocess::default() }, "`scale` holds inf"),
        ] {
            assert_eq!(preprocess.check().unwrap_err().to_string(), expected);
            let error = preprocess.apply(&image()).unwrap_err();
            assert_eq!(error.to_string(), format!("cannot preprocess `photo`: {expected}"));
        }
    }

    #[test]
    fn sizes_that_depend_on_the_image_are_bounded() {
        let image = Image::from_gray("column", 100_000, 1, &[0; 100_000]).unwrap();
        let short = Step::Resize { to: ResizeTo::Short(9000), interpolation: Interpolation::Bilinear };
        let pad = Step::Pad { top: usize::MAX, left: 0, bottom: 1, right: 0, value: 0 };
        for (step, name) in [(short, "resize"), (pad, "pad"), (Step::Crop { h: 1, w: 2000 }, "crop")] {
            let error = Preprocess { steps: vec![step], ..Preprocess::default() }.apply(&image).unwrap_err();
            let expected = format!("step 1 (`{name}`) leads to more than 100000000 pixels");
            assert!(error.to_string().ends_with(&expected), "{error}");
        }
    }
}
