//! Changes to a protocol buffer that leave it one: fields are taken away, doubled, moved or changed inside, and the lengths
//! around them stay right.

/// The next number of a sequence that looks random.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end.max(1)
    }
}

struct Field {
    number: u64,
    kind: u64,
    /// What stands behind the number, without its length.
    content: Vec<u8>,
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while 0x80 <= value {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn fields(bytes: &[u8]) -> Option<Vec<Field>> {
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        let tag = varint(bytes, &mut at)?;
        let start = at;
        let (from, to) = match tag & 7 {
            0 => {
                varint(bytes, &mut at)?;
                (start, at)
            }
            1 => (start, start + 8),
            5 => (start, start + 4),
            2 => {
                let len = usize::try_from(varint(bytes, &mut at)?).ok()?;
                (at, at.checked_add(len)?)
            }
            _ => return None,
        };
        found.push(Field { number: tag >> 3, kind: tag & 7, content: bytes.get(from..to)?.to_vec() });
        at = to;
    }
    (!found.is_empty()).then_some(found)
}

fn written(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        write_varint(&mut out, field.number << 3 | field.kind);
        if field.kind == 2 {
            write_varint(&mut out, field.content.len() as u64);
        }
        out.extend(&field.content);
    }
    out
}

/// A message changed in one place, somewhere inside; `bytes` changes the content of a field that is no message.
/// `None` where it is no message.
pub fn changed(message: &[u8], dice: &mut Dice, bytes: &mut dyn FnMut(&[u8]) -> Vec<u8>) -> Option<Vec<u8>> {
    let mut all = fields(message)?;
    let at = dice.below(all.len());
    match dice.below(8) {
        0 => {
            all.remove(at);
        }
        1 => {
            let (number, kind, content) = (all[at].number, all[at].kind, all[at].content.clone());
            all.insert(dice.below(all.len()), Field { number, kind, content });
        }
        2 => {
            let other = dice.below(all.len());
            all.swap(at, other);
        }
        3 => {
            // What another field holds, which often is a name or a list of sizes.
            let other = dice.below(all.len());
            if all[at].kind == all[other].kind {
                all[at].content = all[other].content.clone();
            }
        }
        _ => {
            let field = &mut all[at];
            let inner = (field.kind == 2).then(|| changed(&field.content, dice, bytes)).flatten();
            let fixed = field.content.len();
            field.content = inner.unwrap_or_else(|| bytes(&field.content));
            match field.kind {
                0 => {
                    let value = varint(&field.content, &mut 0).unwrap_or(0);
                    field.content.clear();
                    write_varint(&mut field.content, value);
                }
                1 | 5 => field.content.resize(fixed, 0),
                _ => {}
            }
        }
    }
    Some(written(&all))
}
