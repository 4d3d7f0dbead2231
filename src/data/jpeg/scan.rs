//! Scans: entropy-coded coefficients of one or more components (T.81, annexes F and G).

use super::huffman::{Bits, Huffman};
use super::{Component, Fault, ZIGZAG, idct};

/// What a scan's header says.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pub(super) parts: Vec<Part>,
    /// First and last coefficient, in zigzag order.
    pub(super) band: (usize, usize),
    /// The bit below the lowest one that an earlier scan gave; 0 in the first scan of a coefficient.
    pub(super) high: u8,
    /// The lowest bit that this scan gives.
    pub(super) low: u8,
    /// Units between restart markers; 0 for none.
    pub(super) restart_interval: usize,
}

/// A component's part in a scan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Which component.
    pub(super) component: usize,
    /// Which Huffman tables, for DC and AC.
    pub(super) tables: (usize, usize),
}

/// The Huffman tables in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) dc: [Option<Huffman>; 4],
    pub(super) ac: [Option<Huffman>; 4],
}

/// What goes on from block to block and starts anew at a restart marker.
#[derive(Default)]
struct State {
    /// The last DC value of each part.
    predictions: [i32; 4],
    /// Blocks to come without coefficients in the band.
    empty_blocks: u32,
}

/// How the blocks of a scan are coded.
#[derive(Clone, Copy)]
enum Coding {
    Sequential,
    DcFirst,
    DcRefined,
    AcFirst,
    AcRefined,
}

/// Decodes a scan whose entropy-coded data starts at `at`; `progressive` is the frame's. Returns where it ends.
pub(super) fn decode(
    data: &[u8],
    at: usize,
    scan: &Scan,
    tables: &Tables,
    components: &mut [Component],
    progressive: bool,
) -> Result<usize, Fault> {
    let coding = match (progressive, scan.band.0, scan.high) {
        (false, ..) => Coding::Sequential,
        (true, 0, 0) => Coding::DcFirst,
        (true, 0, _) => Coding::DcRefined,
        (true, _, 0) => Coding::AcFirst,
        (true, ..) => Coding::AcRefined,
    };
    let mut decoder = BlockDecoder { bits: Bits::new(data, at), scan, tables, coding, state: State::default() };
    let (across, down) = units(scan, components);
    for unit in 0..across * down {
        if scan.restart_interval > 0 && unit > 0 && unit.is_multiple_of(scan.restart_interval) {
            decoder.bits.restart(unit / scan.restart_interval - 1)?;
            decoder.state = State::default();
        }
        decoder.unit(unit / across, unit % across, components)?;
    }
    Ok(decoder.bits.at())
}

/// Units across and down: blocks of the image in a scan of one component, otherwise groups of blocks of each.
fn units(scan: &Scan, components: &[Component]) -> (usize, usize) {
    match scan.parts.as_slice() {
        [part] => {
            let component = &components[part.component];
            (component.width.div_ceil(8), component.height.div_ceil(8))
        }
        parts => parts.first().map_or((0, 0), |part| {
            let component = &components[part.component];
            (component.blocks_across / component.factors.0, component.blocks_down / component.factors.1)
        }),
    }
}

struct BlockDecoder<'a> {
    bits: Bits<'a>,
    scan: &'a Scan,
    tables: &'a Tables,
    coding: Coding,
    state: State,
}

impl BlockDecoder<'_> {
    /// Decodes the blocks of the unit in this row and column of units.
    fn unit(&mut self, row: usize, column: usize, components: &mut [Component]) -> Result<(), Fault> {
        let scan = self.scan;
        let alone = scan.parts.len() == 1;
        for (index, part) in scan.parts.iter().enumerate() {
            let component = &mut components[part.component];
            let (h, v) = if alone { (1, 1) } else { component.factors };
            for y in row * v..(row + 1) * v {
                for x in column * h..(column + 1) * h {
                    self.place(index, part, component, y, x)?;
                }
            }
        }
        self.bits.check()
    }

    /// Decodes the block at `y`, `x` of a component to where it is kept.
    fn place(&mut self, index: usize, part: &Part, component: &mut Component, y: usize, x: usize) -> Result<(), Fault> {
        let at = y * component.blocks_across + x;
        match self.coding {
            Coding::Sequential => {
                let mut block = [0; 64];
                self.sequential(index, part, &mut block)?;
                component.store(y, x, &block);
                Ok(())
            }
            Coding::DcFirst => {
                let value = self.dc(index, part)?;
                component.coefficients[at][0] = (value << self.scan.low) as i16;
                Ok(())
            }
            Coding::DcRefined => {
                component.coefficients[at][0] |= (self.bits.take(1) << self.scan.low) as i16;
                Ok(())
            }
            Coding::AcFirst => self.ac_first(part, &mut component.coefficients[at]),
            Coding::AcRefined => self.ac_refined(part, &mut component.coefficients[at]),
        }
    }

    fn dc(&mut self, index: usize, part: &Part) -> Result<i32, Fault> {
        let table = self.tables.dc[part.tables.0].as_ref().ok_or(self.bits.damaged("a DC Huffman table is missing"))?;
        let size = u32::from(self.bits.decode(table)?);
        if size > 16 {
            return Err(self.bits.damaged("a DC difference of more than 16 bits"));
        }
        let prediction = &mut self.state.predictions[index];
        *prediction = prediction.wrapping_add(self.bits.take_signed(size));
        Ok(*prediction)
    }

    /// The next run of zeros and the size of what follows.
    fn run_size(&mut self, part: &Part) -> Result<(usize, u32), Fault> {
        let table =
            self.tables.ac[part.tables.1].as_ref().ok_or(self.bits.damaged("an AC Huffman table is missing"))?;
        let value = self.bits.decode(table)?;
        Ok((usize::from(value >> 4), u32::from(value & 15)))
    }

    fn sequential(&mut self, index: usize, part: &Part, block: &mut [i16; 64]) -> Result<(), Fault> {
        block[0] = self.dc(index, part)? as i16;
        let mut k = 1;
        while k < 64 {
            match self.run_size(part)? {
                (15, 0) => k += 16,
                (_, 0) => break,
                (run, size) => {
                    k += run;
                    *self.coefficient(block, k)? = self.bits.take_signed(size) as i16;
                    k += 1;
                }
            }
        }
        Ok(())
    }

    /// The coefficient at a place of the zigzag order, which must not lie behind the band.
    fn coefficient<'b>(&self, block: &'b mut [i16; 64], k: usize) -> Result<&'b mut i16, Fault> {
        if k > self.scan.band.1 {
            return Err(self.bits.damaged("a run of zeros that leaves the block"));
        }
        Ok(&mut block[usize::from(ZIGZAG[k])])
    }

    /// Blocks without coefficients, this one included.
    fn empty_blocks(&mut self, exponent: usize) -> u32 {
        (1 << exponent) + self.bits.take(exponent as u32)
    }

    fn ac_first(&mut self, part: &Part, block: &mut [i16; 64]) -> Result<(), Fault> {
        if self.state.empty_blocks > 0 {
            self.state.empty_blocks -= 1;
            return Ok(());
        }
        let mut k = self.scan.band.0;
        while k <= self.scan.band.1 {
            match self.run_size(part)? {
                (15, 0) => k += 16,
                (exponent, 0) => {
                    self.state.empty_blocks = self.empty_blocks(exponent) - 1;
                    break;
                }
                (run, size) => {
                    k += run;
                    *self.coefficient(block, k)? = (self.bits.take_signed(size) << self.scan.low) as i16;
                    k += 1;
                }
            }
        }
        Ok(())
    }

    fn ac_refined(&mut self, part: &Part, block: &mut [i16; 64]) -> Result<(), Fault> {
        let bit = 1i16 << self.scan.low;
        let mut k = self.scan.band.0;
        while self.state.empty_blocks == 0 && k <= self.scan.band.1 {
            let (run, size) = self.run_size(part)?;
            let new = match (run, size) {
                (15, 0) => 0,
                (exponent, 0) => {
                    self.state.empty_blocks = self.empty_blocks(exponent);
                    break;
                }
                _ if self.bits.take(1) == 1 => bit,
                _ => -bit,
            };
            k = self.refine(block, k, run, bit);
            if new != 0 {
                *self.coefficient(block, k)? = new;
            }
            k += 1;
        }
        if self.state.empty_blocks > 0 {
            self.refine(block, k, 64, bit);
            self.state.empty_blocks -= 1;
        }
        Ok(())
    }

    /// Gives the coefficients from `k` on that are not 0 another bit, up to the zero behind `run` other zeros or the
    /// end of the band. Returns where that is.
    fn refine(&mut self, block: &mut [i16; 64], k: usize, run: usize, bit: i16) -> usize {
        let mut zeros = run;
        for k in k..=self.scan.band.1 {
            let value = &mut block[usize::from(ZIGZAG[k])];
            if *value == 0 {
                if zeros == 0 {
                    return k;
                }
                zeros -= 1;
            } else if self.bits.take(1) == 1 && *value & bit == 0 {
                *value = value.wrapping_add(if *value > 0 { bit } else { -bit });
            }
        }
        self.scan.band.1 + 1
    }
}

impl Component {
    /// Transforms a block and puts its samples in their place.
    fn store(&mut self, y: usize, x: usize, block: &[i16; 64]) {
        let Some(quantisation) = &self.quantisation else { return };
        let stride = 8 * self.blocks_across;
        for (row, samples) in idct::block(block, quantisation).iter().enumerate() {
            let start = (8 * y + row) * stride + 8 * x;
            self.samples[start..start + 8].copy_from_slice(samples);
        }
    }

    /// Transforms the collected coefficients of a progressive frame.
    pub(super) fn finish(&mut self) {
        let coefficients = std::mem::take(&mut self.coefficients);
        for (at, block) in coefficients.iter().enumerate() {
            self.store(at / self.blocks_across, at % self.blocks_across, block);
        }
    }
}
