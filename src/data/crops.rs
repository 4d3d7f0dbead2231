//! Test-time crops: several views of one photo, whose predictions are averaged (Krizhevsky, Sutskever and Hinton 2012,
//! section 4.1: "five 224 x 224 patches (the four corner patches and the center patch) as well as their horizontal
//! reflections").

use ndarray::Array3;

use super::error::DataError;
use super::image::Image;
use super::preprocess::{Preprocess, PreprocessFault, Step};

/// How many views of a photo the net sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Crops {
    /// The centre: what [`Preprocess::apply`] gives.
    #[default]
    One,
    /// Top left, top right, bottom left, bottom right, centre.
    Five,
    /// The five, then their mirror images in the same order.
    Ten,
}

impl Crops {
    /// 1, 5 or 10.
    pub fn count(self) -> usize {
        match self {
            Crops::One => 1,
            Crops::Five => 5,
            Crops::Ten => 10,
        }
    }

    /// The crops of that number, if there are such.
    pub fn from_count(count: usize) -> Option<Crops> {
        [Crops::One, Crops::Five, Crops::Ten].into_iter().find(|crops| crops.count() == count)
    }
}

/// The net's inputs for the views of `image`, each channels, height, width. The views are cut where the last `crop` step
/// of `preprocess` stands; what follows it is done to each of them.
///
/// # Errors
/// Those of [`Preprocess::apply`]; with more than one crop also a `preprocess` without `crop`, and an image that is
/// smaller than the crop when it gets there.
pub fn crops(image: &Image, preprocess: &Preprocess, crops: Crops) -> Result<Vec<Array3<f32>>, DataError> {
    if crops == Crops::One {
        return Ok(vec![preprocess.apply(image)?]);
    }
    several(image, preprocess, crops).map_err(|fault| DataError::Preprocess { file: image.file().to_path_buf(), fault })
}

fn several(image: &Image, preprocess: &Preprocess, crops: Crops) -> Result<Vec<Array3<f32>>, PreprocessFault> {
    preprocess.check()?;
    let size = |step: &Step| if let Step::Crop { h, w } = *step { Some((h, w)) } else { None };
    let last = preprocess.steps.iter().enumerate().rev().find_map(|(index, step)| Some((index, size(step)?)));
    let Some((index, (crop_h, crop_w))) = last else {
        return Err(PreprocessFault::NoCrop { crops: crops.count() });
    };
    let whole = preprocess.run_steps(image.pixels(), 0..index)?;
    let (h, w) = (whole.h, whole.w);
    let (Some(down), Some(right)) = (h.checked_sub(crop_h), w.checked_sub(crop_w)) else {
        return Err(PreprocessFault::CropTooLarge { h, w, crop_h, crop_w });
    };
    let corners = [(0, 0), (0, right), (down, 0), (down, right)];
    let mut views: Vec<_> = corners.iter().map(|&(top, left)| whole.cut(top, left, crop_h, crop_w)).collect();
    views.push(whole.middle(crop_h, crop_w));
    if crops == Crops::Ten {
        views.extend_from_within(..);
        views[5..].iter_mut().for_each(|view| *view = view.mirrored());
    }
    let finish = |view| {
        let view = preprocess.run_steps(view, index + 1..preprocess.steps.len())?;
        Ok(preprocess.numbers(&view))
    };
    views.iter().map(finish).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::preprocess::{Interpolation, ResizeTo};

    #[test]
    fn crops_need_a_size_that_fits() {
        let image = Image::from_gray("photo", 6, 8, &[0; 48]).unwrap();
        let steps = |steps: Vec<Step>| Preprocess { steps, ..Preprocess::default() };
        let without = crops(&image, &steps(vec![]), Crops::Five).unwrap_err();
        assert!(without.to_string().contains("5 crops are asked for, but no `crop` step"), "{without}");
        let larger = crops(&image, &steps(vec![Step::Crop { h: 6, w: 9 }]), Crops::Ten).unwrap_err();
        assert!(larger.to_string().contains("an image of 6 x 8 is smaller than the crops of 6 x 9"), "{larger}");
        assert_eq!([1, 5, 10, 3].map(Crops::from_count), [Some(Crops::One), Some(Crops::Five), Some(Crops::Ten), None]);
    }

    #[test]
    fn what_follows_the_crop_is_done_to_each_view() {
        let image = Image::from_gray("photo", 6, 8, &(0..48).collect::<Vec<u8>>()).unwrap();
        let to = ResizeTo::Exact { h: 2, w: 4 };
        let resize = Step::Resize { to, interpolation: Interpolation::Nearest };
        let preprocess =
            Preprocess { steps: vec![Step::Crop { h: 4, w: 4 }, Step::Gray, resize], ..Preprocess::default() };
        let views = crops(&image, &preprocess, Crops::Ten).unwrap();
        assert!(views.iter().all(|view| view.dim() == (1, 2, 4)));
        let first = |view: &Array3<f32>| (view[[0, 0, 0]] * 255.0).round();
        // The second row of each crop, at its left and, in the mirror images, at its right end.
        assert_eq!(views.iter().map(first).collect::<Vec<_>>(), [8., 12., 24., 28., 18., 11., 15., 27., 31., 21.]);
    }
}
