//! Augmentation: each image is changed at random before it is learned from, so that a net sees few images twice.

use std::borrow::Cow;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::image::Image;
use super::pixels::Pixels;
use super::preprocess::{Interpolation, Order, Preprocess, ResizeTo, Step};
use super::random::{below, between, normal, uniform};
use super::statistics::Pca;

/// What is changed, and how much; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// The probability of mirroring left and right.
    pub mirror: f64,
    /// Black pixels added on every side before a part of the former size is cut out at random.
    pub crop: usize,
    /// A part of random size and proportion, resized to the input of the net, in the place of the preprocessing's own
    /// resizing, cropping and padding (Szegedy et al. 2014, arXiv:1409.4842).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resized_crop: Option<ResizedCrop>,
    /// The most that each channel is shifted by, in parts of the range of a byte.
    pub color_shift: f64,
    /// The standard deviation of the share of each principal component of the training set's colours that is added to an
    /// image (Krizhevsky et al. 2012, section 4.1; there 0.1).
    pub pca: f64,
    /// The most degrees by which an image is turned, to either side.
    pub rotate: f64,
    /// The side of a square of pixels that are set to the mean (DeVries & Taylor 2017, arXiv:1708.04552).
    pub cutout: usize,
    /// The parameter of the beta distribution of shares in which pairs of images and their labels are mixed (Zhang et al.
    /// 2017, arXiv:1710.09412).
    pub mixup: f64,
}

/// Which parts of an image [`Augment::resized_crop`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResizedCrop {
    /// The least and the largest share of the area.
    pub scale: [f64; 2],
    /// The least and the largest proportion of width to height.
    pub ratio: [f64; 2],
}

impl Default for ResizedCrop {
    fn default() -> Self {
        ResizedCrop { scale: [0.08, 1.0], ratio: [0.75, 4.0 / 3.0] }
    }
}

impl Augment {
    /// Whether anything is changed at random.
    pub fn is_random(&self) -> bool {
        *self != Augment::default()
    }

    /// What is wrong with it: the key, and what it takes.
    pub fn fault(&self) -> Option<(&'static str, String)> {
        let checks = [
            ("mirror", self.mirror, (0.0..=1.0).contains(&self.mirror), "a probability is between 0 and 1"),
            ("color_shift", self.color_shift, (0.0..=1.0).contains(&self.color_shift), "it is between 0 and 1"),
            ("pca", self.pca, (0.0..=10.0).contains(&self.pca), "it is between 0 and 10"),
            ("rotate", self.rotate, (0.0..=180.0).contains(&self.rotate), "degrees are between 0 and 180"),
            ("mixup", self.mixup, (0.0..=4.0).contains(&self.mixup), "it is between 0 and 4"),
            ("crop", self.crop as f64, self.crop <= 10_000, "it is at most 10000 pixels"),
        ];
        if let Some((key, value, _, range)) = checks.into_iter().find(|(_, _, holds, _)| !holds) {
            return Some((key, format!("is {value}, but {range}")));
        }
        let ResizedCrop { scale, ratio } = self.resized_crop?;
        if !(0.0 < scale[0] && scale[0] <= scale[1] && scale[1] <= 1.0) {
            return Some(("resized_crop.scale", format!("is {scale:?}, but takes [least, most] above 0 and up to 1")));
        }
        if !(0.0 < ratio[0] && ratio[0] <= ratio[1] && ratio[1].is_finite()) {
            return Some(("resized_crop.ratio", format!("is {ratio:?}, but takes [least, most] above 0")));
        }
        None
    }
}

/// From an image to the input of a net, with augmentation or without.
#[derive(Clone, Debug)]
pub struct Pipeline {
    preprocess: Preprocess,
    augment: Augment,
    pca: Option<Pca>,
    /// Channels, height and width of the input.
    size: [usize; 3],
    tables: Vec<[f32; 256]>,
}

impl Pipeline {
    /// For a net that takes `size: [channels, height, width]`. Where colours are to be shifted along principal components,
    /// `pca` has them.
    ///
    /// # Errors
    /// When the preprocessing gives other sizes.
    pub fn new(preprocess: &Preprocess, augment: Augment, pca: Option<Pca>, size: [usize; 3]) -> Result<Self, String> {
        preprocess.check().map_err(|fault| format!("the net's preprocessing is wrong: {fault}"))?;
        let [c, h, w] = size;
        if preprocess.channels() != c {
            return Err(format!("the net takes {c} channels, but its preprocessing gives {}", preprocess.channels()));
        }
        if augment.resized_crop.is_none() && preprocess.fixed_size().is_some_and(|fixed| fixed != (h, w)) {
            return Err(format!("the net takes {h}x{w} pixels, but its preprocessing gives others"));
        }
        let tables = (0..c).map(|channel| preprocess.table(channel)).collect();
        Ok(Pipeline { preprocess: preprocess.clone(), augment, pca, size, tables })
    }

    /// Floats of an input.
    pub fn floats(&self) -> usize {
        self.size.iter().product()
    }

    /// The preprocessing, without augmentation.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Channels, height and width of an input.
    pub fn size(&self) -> [usize; 3] {
        self.size
    }

    /// An input as red, green and blue, as far as bytes can show it.
    pub fn bytes(&self, input: &[f32]) -> Vec<u8> {
        let [c, h, w] = self.size;
        let byte = |channel: usize, pixel: usize| {
            let (table, x) = (&self.tables[channel], input[channel * h * w + pixel]);
            let byte = (x - table[0]) / (table[255] - table[0]) * 255.0;
            byte.round().clamp(0.0, 255.0) as u8
        };
        let source = |channel: usize| match (c, self.preprocess.order) {
            (1, _) => 0,
            (_, Order::Bgr) => 2 - channel,
            (_, Order::Rgb) => channel,
        };
        (0..h * w).flat_map(|pixel| [0, 1, 2].map(|channel| byte(source(channel), pixel))).collect()
    }

    /// The augmentation.
    pub fn augment(&self) -> &Augment {
        &self.augment
    }

    /// The same without augmentation.
    #[must_use]
    pub fn plain(&self) -> Pipeline {
        Pipeline { augment: Augment::default(), ..self.clone() }
    }

    /// Writes an image as the net takes it, `[c, h, w]`, changed as the random numbers say.
    ///
    /// # Errors
    /// When the preprocessing does not fit the image.
    pub fn prepare(&self, image: &Image, random: &mut ChaCha8Rng, to: &mut [f32]) -> Result<(), DataError> {
        let fault = |fault| DataError::Preprocess { file: image.file().to_path_buf(), fault };
        let mut pixels = match self.augment.resized_crop {
            Some(crop) => Cow::Owned(self.resized_crop(image.pixels(), crop, random).map_err(fault)?),
            None => self.preprocess.run_steps(image.pixels(), 0..self.preprocess.steps.len()).map_err(fault)?,
        };
        let [c, h, w] = self.size;
        if (pixels.c, pixels.h, pixels.w) != (c, h, w) {
            let what = format!("becomes {}x{}x{}, but the net takes {c}x{h}x{w}", pixels.c, pixels.h, pixels.w);
            let help = "let `preprocess` resize to exactly the net's input".to_owned();
            return Err(DataError::Dataset { file: image.file().to_path_buf(), place: None, what, help });
        }
        if 0.0 < self.augment.rotate {
            let angle = between(random, -self.augment.rotate, self.augment.rotate);
            pixels = Cow::Owned(rotated(&pixels, angle.to_radians()));
        }
        let view = View::draw(&self.augment, random);
        let offsets = self.offsets(random);
        for channel in 0..c {
            let source = if self.preprocess.order == Order::Bgr && c == 3 { 2 - channel } else { channel };
            let plane = &mut to[channel * h * w..(channel + 1) * h * w];
            view.write(&pixels, source, &self.tables[channel], offsets[source], plane);
        }
        self.cut_out(random, to);
        Ok(())
    }

    /// Several views of an image without augmentation, one after the other; see [`crops`](super::crops()).
    ///
    /// # Errors
    /// When the preprocessing has no crop, or does not fit the image.
    pub fn views(&self, image: &Image, crops: super::Crops) -> Result<Vec<f32>, DataError> {
        let views = super::crops(image, &self.preprocess, crops)?;
        Ok(views.into_iter().flatten().collect())
    }

    /// What is added to each channel, in the unit of the input.
    fn offsets(&self, random: &mut ChaCha8Rng) -> [f32; 3] {
        let mut offsets = [0.0f64; 3];
        if 0.0 < self.augment.color_shift {
            let most = self.augment.color_shift;
            offsets.iter_mut().for_each(|offset| *offset += between(random, -most, most));
        }
        if let Some(pca) = self.pca.as_ref().filter(|_| 0.0 < self.augment.pca) {
            for (vector, value) in pca.vectors.iter().zip(pca.values) {
                let share = self.augment.pca * normal(random) * value;
                offsets.iter_mut().zip(vector).for_each(|(offset, part)| *offset += share * part);
            }
        }
        // A byte's whole range is what the table's ends are apart.
        std::array::from_fn(|channel| {
            let table = self.tables[if self.tables.len() == 1 { 0 } else { channel }];
            (offsets[channel] * f64::from(table[255] - table[0])) as f32
        })
    }

    /// Sets a square around a random pixel to zero, which is the mean of the input; parts of it may lie outside.
    fn cut_out(&self, random: &mut ChaCha8Rng, to: &mut [f32]) {
        let ([_, h, w], side) = (self.size, self.augment.cutout);
        if side == 0 {
            return;
        }
        let span = |center: usize, size: usize| center.saturating_sub(side / 2)..size.min(center + side - side / 2);
        let (rows, columns) = (span(below(random, h), h), span(below(random, w), w));
        for plane in to.chunks_exact_mut(h * w) {
            rows.clone().for_each(|row| plane[row * w..][columns.clone()].fill(0.0));
        }
    }

    /// A part of random size and proportion; as torchvision draws it: of ten tries the first that fits, else the largest
    /// middle part of a proportion that is allowed.
    fn resized_crop(
        &self,
        pixels: &Pixels,
        crop: ResizedCrop,
        random: &mut ChaCha8Rng,
    ) -> Result<Pixels, super::preprocess::PreprocessFault> {
        let grey = self.preprocess.steps.contains(&Step::Gray);
        let pixels = if grey { Cow::Owned(pixels.gray()) } else { Cow::Borrowed(pixels) };
        let [top, left, h, w] = part(crop, [pixels.h, pixels.w], random);
        let interpolation = self.preprocess.steps.iter().find_map(|step| match step {
            Step::Resize { interpolation, .. } => Some(*interpolation),
            _ => None,
        });
        let to = ResizeTo::Exact { h: self.size[1], w: self.size[2] };
        let resize = Step::Resize { to, interpolation: interpolation.unwrap_or(Interpolation::Bilinear) };
        resize.run(0, &pixels.cut(top, left, h, w))
    }
}

/// Top, left, height and width of a random part.
fn part(crop: ResizedCrop, [h, w]: [usize; 2], random: &mut ChaCha8Rng) -> [usize; 4] {
    let area = (h * w) as f64;
    let [least, most] = crop.ratio.map(f64::ln);
    for _ in 0..10 {
        let taken = area * between(random, crop.scale[0], crop.scale[1]);
        let ratio = between(random, least, most).exp();
        let [part_w, part_h] = [(taken * ratio).sqrt(), (taken / ratio).sqrt()].map(|side| side.round() as usize);
        if 0 < part_w && part_w <= w && 0 < part_h && part_h <= h {
            return [below(random, h - part_h + 1), below(random, w - part_w + 1), part_h, part_w];
        }
    }
    let ratio = (w as f64 / h as f64).clamp(crop.ratio[0], crop.ratio[1]);
    let part_w = ((h as f64 * ratio).round() as usize).clamp(1, w);
    let part_h = ((w as f64 / ratio).round() as usize).clamp(1, h);
    [(h - part_h) / 2, (w - part_w) / 2, part_h, part_w]
}

/// Which pixel each pixel of the input shows.
struct View {
    /// How far the image is moved, in pixels.
    shift: [isize; 2],
    mirrored: bool,
}

impl View {
    fn draw(augment: &Augment, random: &mut ChaCha8Rng) -> View {
        let places = 2 * augment.crop + 1;
        let mut moved = || if augment.crop == 0 { 0 } else { below(random, places) as isize - augment.crop as isize };
        let shift = [moved(), moved()];
        View { shift, mirrored: 0.0 < augment.mirror && uniform(random) < augment.mirror }
    }

    /// Writes one channel; black outside of the image.
    fn write(&self, pixels: &Pixels, channel: usize, table: &[f32; 256], offset: f32, to: &mut [f32]) {
        let (h, w, c) = (pixels.h as isize, pixels.w as isize, pixels.c);
        for (y, line) in (0..h).zip(to.chunks_exact_mut(pixels.w)) {
            let row = y + self.shift[0];
            if !(0..h).contains(&row) {
                line.fill(table[0] + offset);
                continue;
            }
            let source = &pixels.bytes[row as usize * pixels.w * c..][..pixels.w * c];
            for (x, to) in (0..w).zip(line) {
                let column = if self.mirrored { w - 1 - x } else { x } + self.shift[1];
                let byte = if (0..w).contains(&column) { source[column as usize * c + channel] } else { 0 };
                *to = table[usize::from(byte)] + offset;
            }
        }
    }
}

/// The image turned around its middle; bilinear, black outside.
fn rotated(pixels: &Pixels, angle: f64) -> Pixels {
    let (sin, cos) = angle.sin_cos();
    let (middle_y, middle_x) = ((pixels.h as f64 - 1.0) / 2.0, (pixels.w as f64 - 1.0) / 2.0);
    let at = |y: i64, x: i64, channel: usize| {
        let inside = (0..pixels.h as i64).contains(&y) && (0..pixels.w as i64).contains(&x);
        if inside { f64::from(pixels.bytes[(y as usize * pixels.w + x as usize) * pixels.c + channel]) } else { 0.0 }
    };
    let mut bytes = Vec::with_capacity(pixels.bytes.len());
    for y in 0..pixels.h {
        for x in 0..pixels.w {
            let (down, right) = (y as f64 - middle_y, x as f64 - middle_x);
            let (row, column) = (middle_y + cos * down + sin * right, middle_x + cos * right - sin * down);
            let (top, left) = (row.floor(), column.floor());
            let (below, beside) = (row - top, column - left);
            let (top, left) = (top as i64, left as i64);
            for channel in 0..pixels.c {
                let upper = at(top, left, channel) * (1.0 - beside) + at(top, left + 1, channel) * beside;
                let lower = at(top + 1, left, channel) * (1.0 - beside) + at(top + 1, left + 1, channel) * beside;
                bytes.push((upper * (1.0 - below) + lower * below).round() as u8);
            }
        }
    }
    Pixels { bytes, ..*pixels }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::random::stream;

    fn image(h: usize, w: usize) -> Image {
        let bytes = (0..3 * h * w).map(|at| (at * 7 % 251) as u8).collect();
        Image::from_rgb("test", h, w, bytes).unwrap()
    }

    fn preprocess() -> Preprocess {
        Preprocess { mean: vec![0.5, 0.4, 0.3], std: vec![0.2, 0.3, 0.4], ..Preprocess::default() }
    }

    fn prepared(augment: Augment, image: &Image, seed: u64) -> Vec<f32> {
        let pca = Pca { values: [0.2, 0.05, 0.01], vectors: [[0.6, 0.6, 0.53], [-0.7, 0.0, 0.7], [0.4, -0.8, 0.4]] };
        let pipeline = Pipeline::new(&preprocess(), augment, Some(pca), [3, image.height(), image.width()]).unwrap();
        let mut to = vec![f32::NAN; pipeline.floats()];
        pipeline.prepare(image, &mut stream("test", [seed, 0, 0]), &mut to).unwrap();
        to
    }

    #[test]
    fn without_augmentation_it_is_the_preprocessing() {
        let image = image(5, 4);
        let expected: Vec<f32> = preprocess().apply(&image).unwrap().into_iter().collect();
        assert_eq!(prepared(Augment::default(), &image, 1), expected);
    }

    #[test]
    fn mirroring_exchanges_left_and_right() {
        let image = image(3, 4);
        let (plain, mirrored) = (
            prepared(Augment::default(), &image, 1),
            prepared(Augment { mirror: 1.0, ..Augment::default() }, &image, 1),
        );
        for (row, mirrored) in plain.chunks_exact(4).zip(mirrored.chunks_exact(4)) {
            assert!(row.iter().rev().eq(mirrored));
        }
        let half = Augment { mirror: 0.5, ..Augment::default() };
        let count = (0..400).filter(|&seed| prepared(half.clone(), &image, seed) != plain).count();
        assert!((160..240).contains(&count), "{count} of 400");
    }

    #[test]
    fn crops_move_the_image_and_show_black_beside_it() {
        let image = image(6, 6);
        let plain = prepared(Augment::default(), &image, 1);
        let black = preprocess().table(0)[0];
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..300 {
            let moved = prepared(Augment { crop: 2, ..Augment::default() }, &image, seed);
            let fits = |dy: isize, dx: isize| {
                (0..6isize).all(|y| {
                    (0..6isize).all(|x| {
                        let inside = (0..6).contains(&(y + dy)) && (0..6).contains(&(x + dx));
                        let expected = if inside { plain[((y + dy) * 6 + x + dx) as usize] } else { black };
                        moved[(y * 6 + x) as usize] == expected
                    })
                })
            };
            let shift = (-2..=2).flat_map(|dy| (-2..=2).map(move |dx| (dy, dx))).find(|&(dy, dx)| fits(dy, dx));
            seen.insert(shift.expect("one of 25 shifts"));
        }
        assert_eq!(seen.len(), 25);
    }

    #[test]
    fn colours_are_shifted_as_a_whole() {
        let image = image(3, 3);
        let plain = prepared(Augment::default(), &image, 1);
        for augment in [Augment { color_shift: 0.1, ..Augment::default() }, Augment { pca: 0.1, ..Augment::default() }]
        {
            let shifted = prepared(augment, &image, 1);
            assert_ne!(shifted, plain);
            for (channel, std) in [0.2, 0.3, 0.4].into_iter().enumerate() {
                let off: Vec<f32> = (channel * 9..channel * 9 + 9).map(|at| shifted[at] - plain[at]).collect();
                assert!(off.iter().all(|x| (x - off[0]).abs() < 1e-5 && x.abs() <= 0.1 / std + 1e-5), "{off:?}");
            }
        }
    }

    #[test]
    fn a_square_is_cut_out() {
        let cut = prepared(Augment { cutout: 3, ..Augment::default() }, &image(9, 9), 5);
        let zeros = cut[..81].iter().filter(|&&x| x == 0.0).count();
        assert!((4..=9).contains(&zeros), "{zeros}");
    }

    #[test]
    fn a_turn_by_nothing_changes_nothing_and_by_a_quarter_turns() {
        let image = image(5, 5);
        let pixels = image.pixels();
        assert_eq!(rotated(pixels, 0.0), *pixels);
        let quarter = rotated(pixels, std::f64::consts::FRAC_PI_2);
        for (y, x) in [(0, 0), (1, 3), (4, 2)] {
            assert_eq!(quarter.bytes[(y * 5 + x) * 3], pixels.bytes[(x * 5 + 4 - y) * 3]);
        }
    }

    #[test]
    fn faults_name_their_key() {
        let key = |augment: Augment| augment.fault().map(|(key, _)| key);
        assert_eq!(key(Augment::default()), None);
        assert_eq!(key(Augment { mirror: 1.5, ..Augment::default() }), Some("mirror"));
        assert_eq!(key(Augment { pca: f64::NAN, ..Augment::default() }), Some("pca"));
        let crop = |scale, ratio| Augment { resized_crop: Some(ResizedCrop { scale, ratio }), ..Augment::default() };
        assert_eq!(key(crop([0.0, 1.0], [1.0, 1.0])), Some("resized_crop.scale"));
        assert_eq!(key(crop([0.1, 1.0], [2.0, 1.0])), Some("resized_crop.ratio"));
    }

    proptest! {
        #[test]
        fn parts_lie_inside(h in 1usize..60, w in 1usize..60, seed: u64, least in 0.01f64..1.0, ratio in 0.1f64..1.0) {
            let crop = ResizedCrop { scale: [least, 1.0], ratio: [ratio, 1.0 / ratio] };
            let [top, left, part_h, part_w] = part(crop, [h, w], &mut stream("test", [seed, 0, 0]));
            prop_assert!(0 < part_h && 0 < part_w && top + part_h <= h && left + part_w <= w);
        }
    }
}
