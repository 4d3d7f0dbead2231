//! Several parts of one arena at once.

use std::ops::Range;

/// Parts of one slice that may be read while one other part is written.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The parts to read, in the order asked for; `None` where a part is the one that is written.
    pub read: Vec<Option<&'a [f32]>>,
    /// The parts to write, in the order asked for.
    pub write: Vec<&'a mut [f32]>,
}

/// Splits `arena` into parts to read and parts to write. Parts to read may repeat or overlap each other; a part to read
/// that equals the first part to write is given as `None`: the caller works in place.
///
/// # Panics
/// When parts to write overlap each other, or a part to read overlaps one in another way than by being equal.
pub fn split<'a>(arena: &'a mut [f32], read: &[Range<usize>], write: &[Range<usize>]) -> Parts<'a> {
    // Cut the arena at the parts to write; what lies between them is shared.
    let mut order: Vec<usize> = (0..write.len()).collect();
    order.sort_by_key(|&at| write[at].start);
    let mut written: Vec<Option<&'a mut [f32]>> = write.iter().map(|_| None).collect();
    let mut shared: Vec<(usize, &'a [f32])> = Vec::with_capacity(write.len() + 1);
    let (mut rest, mut start) = (arena, 0);
    for at in order {
        let part = &write[at];
        assert!(start <= part.start, "parts to write overlap");
        let (before, tail) = rest.split_at_mut(part.start - start);
        let (own, tail) = tail.split_at_mut(part.len());
        shared.push((start, before));
        written[at] = Some(own);
        (rest, start) = (tail, part.end);
    }
    shared.push((start, rest));
    let find = |part: &Range<usize>| {
        if write.first() == Some(part) {
            return None;
        }
        let at = shared.partition_point(|&(start, _)| start <= part.start);
        let (start, slice) = shared[at - 1];
        Some(&slice[part.start - start..part.end - start])
    };
    Parts { read: read.iter().map(find).collect(), write: written.into_iter().flatten().collect() }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn gives_the_parts_that_were_asked_for() {
        let mut arena: Vec<f32> = (0u8..20).map(f32::from).collect();
        let parts = split(&mut arena, &[0..4, 10..12, 4..8, 2..4], &[4..8, 14..16]);
        assert_eq!(parts.read[0], Some(&[0.0, 1.0, 2.0, 3.0][..]));
        assert_eq!(parts.read[1], Some(&[10.0, 11.0][..]));
        assert_eq!(parts.read[2], None);
        assert_eq!(parts.read[3], Some(&[2.0, 3.0][..]));
        assert_eq!(parts.write[0], &[4.0, 5.0, 6.0, 7.0]);
        assert_eq!(parts.write[1], &[14.0, 15.0]);
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn refuses_overlapping_parts_to_write() {
        split(&mut [0.0; 8], &[], &[0..4, 2..6]);
    }
}
