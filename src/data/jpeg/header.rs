//! Marker segments: the frame, its tables, the scans' headers, and the application segments that say what the colours
//! are and which way is up.

use super::color::{ColorSpace, to_rgb};
use super::huffman::{Huffman, next_marker};
use super::scan::{self, Part, Scan, Tables};
use super::{Component, Fault};

/// The most scans that are decoded; encoders make some ten. Each costs time in proportion to the pixels, not to its bytes.
const MAX_SCANS: usize = 100;

/// A JPEG read up to its first scan.
#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    data: &'a [u8],
    /// Behind the last segment that was read.
    at: usize,
    /// The code of the next marker's segment, which `at` points to.
    marker: u8,
    frame: Option<Frame>,
    quantisation: [Option<[u16; 64]>; 4],
    tables: Tables,
    restart_interval: usize,
    jfif: bool,
    /// The colour transform that Adobe's segment names.
    adobe: Option<u8>,
    exif: Option<&'a [u8]>,
}

#[derive(Debug)]
struct Frame {
    progressive: bool,
    width: usize,
    height: usize,
    components: Vec<Component>,
}

/// Reads numbers from a segment.
struct Segment<'a> {
    bytes: &'a [u8],
    /// Where the segment starts in the file.
    start: usize,
    at: usize,
}

impl<'a> Segment<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let taken = self.bytes.get(self.at..self.at + count).ok_or(self.damaged("a segment is too short"))?;
        self.at += count;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        Ok(self.take(1)?[0])
    }

    fn halves(&mut self) -> Result<(u8, u8), Fault> {
        self.byte().map(|byte| (byte >> 4, byte & 15))
    }

    fn word(&mut self) -> Result<u16, Fault> {
        let pair = self.take(2)?;
        Ok(u16::from_be_bytes([pair[0], pair[1]]))
    }

    fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn damaged(&self, what: &'static str) -> Fault {
        Fault::Damaged { at: self.start + self.at, what }
    }
}

impl<'a> Decoder<'a> {
    /// Reads the segments in front of the first scan.
    pub(crate) fn new(data: &'a [u8]) -> Result<Decoder<'a>, Fault> {
        let mut decoder = Decoder {
            data,
            at: 2,
            marker: 0,
            frame: None,
            quantisation: [None; 4],
            tables: Tables::default(),
            restart_interval: 0,
            jfif: false,
            adobe: None,
            exif: None,
        };
        decoder.read_to_scan()?;
        if decoder.marker != SOS || decoder.frame.is_none() {
            return Err(decoder.damaged("a scan is missing"));
        }
        Ok(decoder)
    }

    /// Height and width that the frame claims, in pixels.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.frame.as_ref().map_or((0, 0), |frame| (frame.height, frame.width))
    }

    /// The EXIF data without its name, as a TIFF file.
    pub(crate) fn exif(&self) -> Option<&'a [u8]> {
        self.exif
    }

    /// Decodes all scans: RGB bytes in rows. Takes some nine bytes a pixel.
    pub(crate) fn decode(mut self) -> Result<Vec<u8>, Fault> {
        let space = self.color_space()?;
        let Some(mut frame) = self.frame.take() else {
            return Err(self.damaged("a frame is missing"));
        };
        frame.allocate();
        let mut scans = 0;
        while self.marker == SOS {
            scans += 1;
            if scans > MAX_SCANS {
                return Err(Fault::Unsupported("more than 100 scans"));
            }
            let scan = self.scan_header(&mut frame)?;
            self.at = scan::decode(self.data, self.at, &scan, &self.tables, &mut frame.components, frame.progressive)?;
            self.read_to_scan()?;
        }
        for component in &mut frame.components {
            if component.known[0].is_none() {
                return Err(self.damaged("a component has no scan"));
            }
            component.finish();
        }
        to_rgb(&frame.components, space, frame.width, frame.height)
    }

    fn damaged(&self, what: &'static str) -> Fault {
        Fault::Damaged { at: self.at, what }
    }

    /// Reads segments up to the next start of a scan or the end of the image; `at` is then behind the marker.
    fn read_to_scan(&mut self) -> Result<(), Fault> {
        loop {
            let code = next_marker(self.data, self.at).ok_or(self.damaged("a marker is missing"))?;
            self.marker = self.data[code];
            self.at = code + 1;
            match self.marker {
                SOS | EOI => return Ok(()),
                // Markers without a segment: TEM, restarts, SOI.
                0x01 | 0xd0..=0xd8 => {}
                _ => {
                    let mut segment = self.segment()?;
                    self.read_segment(&mut segment)?;
                }
            }
        }
    }

    /// The segment at `at`, which then is behind it.
    fn segment(&mut self) -> Result<Segment<'a>, Fault> {
        let short = self.damaged("a segment is cut off");
        let length = self.data.get(self.at..self.at + 2).ok_or(short)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let start = self.at + 2;
        let bytes = self.data.get(start..self.at + length).ok_or(short)?;
        self.at += length;
        Ok(Segment { bytes, start, at: 0 })
    }

    fn read_segment(&mut self, segment: &mut Segment<'a>) -> Result<(), Fault> {
        match self.marker {
            0xc0..=0xc2 => self.read_frame(segment),
            0xc4 => self.read_huffman(segment),
            0xdb => self.read_quantisation(segment),
            0xdd => {
                self.restart_interval = usize::from(segment.word()?);
                Ok(())
            }
            0xc3 | 0xc5..=0xc7 => Err(Fault::Unsupported("lossless or hierarchical coding")),
            0xc9..=0xcf => Err(Fault::Unsupported("arithmetic coding")),
            0xe0 => {
                self.jfif |= segment.bytes.starts_with(b"JFIF\0");
                Ok(())
            }
            0xe1 if self.exif.is_none() => {
                self.exif = segment.bytes.strip_prefix(b"Exif\0\0");
                Ok(())
            }
            0xee => {
                if let Some(&[_, _, _, _, _, _, transform, ..]) = segment.bytes.strip_prefix(b"Adobe") {
                    self.adobe = Some(transform);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read_quantisation(&mut self, segment: &mut Segment) -> Result<(), Fault> {
        while !segment.is_empty() {
            let (wide, index) = segment.halves()?;
            let mut table = [0; 64];
            for step in &mut table {
                *step = if wide == 0 { u16::from(segment.byte()?) } else { segment.word()? };
            }
            let place = self.quantisation.get_mut(usize::from(index));
            *place.ok_or(segment.damaged("a quantisation table beyond the fourth"))? = Some(table);
        }
        Ok(())
    }

    fn read_huffman(&mut self, segment: &mut Segment) -> Result<(), Fault> {
        while !segment.is_empty() {
            let (class, index) = segment.halves()?;
            let mut counts = [0; 16];
            counts.copy_from_slice(segment.take(16)?);
            let values = segment.take(counts.iter().map(|&count| usize::from(count)).sum())?;
            let table = Huffman::new(&counts, values).ok_or(segment.damaged("the Huffman table is no prefix code"))?;
            let tables = if class == 0 { &mut self.tables.dc } else { &mut self.tables.ac };
            let place = tables.get_mut(usize::from(index));
            *place.ok_or(segment.damaged("a Huffman table beyond the fourth"))? = Some(table);
        }
        Ok(())
    }

    fn read_frame(&mut self, segment: &mut Segment) -> Result<(), Fault> {
        if self.frame.is_some() {
            return Err(segment.damaged("a second frame"));
        }
        if segment.byte()? != 8 {
            return Err(Fault::Unsupported("samples of other than 8 bits"));
        }
        let (height, width) = (usize::from(segment.word()?), usize::from(segment.word()?));
        if height == 0 || width == 0 {
            return Err(segment.damaged("a height or width of 0"));
        }
        let mut components = Vec::new();
        for _ in 0..segment.byte()? {
            let id = segment.byte()?;
            let (h, v) = segment.halves()?;
            let table = usize::from(segment.byte()?);
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) || table > 3 {
                return Err(segment.damaged("a sampling factor or table out of range"));
            }
            components.push(Component::new(id, (usize::from(h), usize::from(v)), table));
        }
        let mut frame = Frame { progressive: self.marker == 0xc2, width, height, components };
        frame.lay_out();
        self.frame = Some(frame);
        Ok(())
    }

    /// Reads the header of the scan at `at`, checks it against what earlier scans gave, and notes what it gives.
    fn scan_header(&mut self, frame: &mut Frame) -> Result<Scan, Fault> {
        let mut segment = self.segment()?;
        let mut parts: Vec<Part> = Vec::new();
        for _ in 0..segment.byte()? {
            let id = segment.byte()?;
            let (dc, ac) = segment.halves()?;
            let component = frame.components.iter().position(|component| component.id == id);
            let component = component.ok_or(segment.damaged("a scan of a component that the frame does not have"))?;
            if dc > 3 || ac > 3 || parts.iter().any(|part| part.component == component) {
                return Err(segment.damaged("a scan names a component twice or a table out of range"));
            }
            parts.push(Part { component, tables: (usize::from(dc), usize::from(ac)) });
        }
        let band = (usize::from(segment.byte()?), usize::from(segment.byte()?));
        let (high, low) = segment.halves()?;
        let scan = if frame.progressive {
            Scan { parts, band, high, low, restart_interval: self.restart_interval }
        } else {
            Scan { parts, band: (0, 63), high: 0, low: 0, restart_interval: self.restart_interval }
        };
        let factors: usize = scan.parts.iter().map(|part| frame.components[part.component].blocks_in_unit()).sum();
        let sane = match (scan.parts.len(), frame.progressive, band) {
            (0 | 5.., ..) => false,
            (1, false, _) | (1, true, (0, 0)) => true,
            (1, true, (first, last)) => 0 < first && first <= last && last < 64,
            (_, false, _) | (_, true, (0, 0)) => factors <= 10,
            (_, true, _) => false,
        };
        if !sane || scan.low > 13 {
            return Err(segment.damaged("a scan header out of range"));
        }
        for part in &scan.parts {
            let component = &mut frame.components[part.component];
            for known in &mut component.known[scan.band.0..=scan.band.1] {
                let expected = if scan.high == 0 { None } else { Some(scan.high) };
                if *known != expected || scan.high > 0 && scan.high != scan.low + 1 {
                    return Err(segment.damaged("a scan repeats or leaves out bits"));
                }
                *known = Some(scan.low);
            }
            if component.quantisation.is_none() {
                component.quantisation = self.quantisation[component.table];
            }
            if component.quantisation.is_none() {
                return Err(segment.damaged("a quantisation table is missing"));
            }
        }
        Ok(scan)
    }

    /// What the components mean, by libjpeg's rules.
    fn color_space(&self) -> Result<ColorSpace, Fault> {
        let ids: Vec<u8> =
            self.frame.iter().flat_map(|frame| &frame.components).map(|component| component.id).collect();
        match (ids.as_slice(), self.adobe) {
            ([_], _) => Ok(ColorSpace::Gray),
            ([_, _, _], Some(0)) if !self.jfif => Ok(ColorSpace::Rgb),
            ([b'R', b'G', b'B'], None) if !self.jfif => Ok(ColorSpace::Rgb),
            ([_, _, _], _) => Ok(ColorSpace::YCbCr),
            ([_, _, _, _], None | Some(0)) => Ok(ColorSpace::Cmyk),
            ([_, _, _, _], Some(_)) => Ok(ColorSpace::Ycck),
            _ => Err(Fault::Unsupported("this number of colour components")),
        }
    }
}

/// Start of a scan.
const SOS: u8 = 0xda;

/// End of the image.
const EOI: u8 = 0xd9;

impl Frame {
    /// Works out the components' sizes from the frame's.
    fn lay_out(&mut self) {
        let most_h = self.components.iter().map(|component| component.factors.0).max().unwrap_or(1);
        let most_v = self.components.iter().map(|component| component.factors.1).max().unwrap_or(1);
        let units = (self.width.div_ceil(8 * most_h), self.height.div_ceil(8 * most_v));
        for component in &mut self.components {
            let (h, v) = component.factors;
            component.width = (self.width * h).div_ceil(most_h);
            component.height = (self.height * v).div_ceil(most_v);
            component.blocks_across = units.0 * h;
            component.blocks_down = units.1 * v;
        }
    }

    fn allocate(&mut self) {
        for component in &mut self.components {
            let blocks = component.blocks_across * component.blocks_down;
            component.samples = vec![0; 64 * blocks];
            if self.progressive {
                component.coefficients = vec![[0; 64]; blocks];
            }
        }
    }
}

impl Component {
    fn new(id: u8, factors: (usize, usize), table: usize) -> Component {
        Component {
            id,
            factors,
            table,
            width: 0,
            height: 0,
            blocks_across: 0,
            blocks_down: 0,
            quantisation: None,
            known: [None; 64],
            coefficients: Vec::new(),
            samples: Vec::new(),
        }
    }

    fn blocks_in_unit(&self) -> usize {
        self.factors.0 * self.factors.1
    }
}
