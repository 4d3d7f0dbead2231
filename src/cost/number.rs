//! Counts for people to read.

use crate::dim::Dim;

/// The digits in groups of three; a formula as it is.
///
/// ```
/// use netc::cost::number::grouped;
/// use netc::dim::Dim;
///
/// assert_eq!(grouped(&Dim::from(4_089_184_256u64)), "4,089,184,256");
/// assert_eq!(grouped(&Dim::symbol("H", 1)), "H");
/// ```
pub fn grouped(count: &Dim) -> String {
    let digits = count.as_u64().map_or_else(|| count.to_string(), |count| count.to_string());
    if count.is_symbolic() {
        return digits;
    }
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
    let mut text = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if 0 < at && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three significant digits and a unit of 1000s: `4.09 G`; below 1000 the number itself.
///
/// ```
/// use netc::cost::number::short;
///
/// assert_eq!(short(4_089_184_256.0), "4.09 G");
/// assert_eq!(short(999.0), "999");
/// assert_eq!(short(999_999.0), "1.00 M");
/// ```
pub fn short(value: f64) -> String {
    scaled(value, 1000.0, &["", " K", " M", " G", " T", " P", " E"])
}

/// Three significant digits and a unit of 1024s: `6.89 MiB`.
///
/// ```
/// use netc::cost::number::bytes;
///
/// assert_eq!(bytes(7_225_344.0), "6.89 MiB");
/// assert_eq!(bytes(1000.0), "1000 B");
/// ```
pub fn bytes(value: f64) -> String {
    scaled(value, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"])
}

/// Three significant digits and a unit of time: `1.25 ms`.
///
/// ```
/// use netc::cost::number::time;
///
/// assert_eq!(time(0.00125), "1.25 ms");
/// assert_eq!(time(0.0), "0 s");
/// ```
pub fn time(seconds: f64) -> String {
    if seconds == 0.0 {
        return "0 s".to_owned();
    }
    let units = [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")];
    let (unit, name) = units.into_iter().find(|(unit, _)| *unit <= seconds).unwrap_or((1e-9, "ns"));
    format!("{} {name}", three_digits(seconds / unit))
}

fn scaled(value: f64, base: f64, units: &[&str]) -> String {
    let (mut value, mut unit) = (value, 0);
    // What would round up to the base is shown in the next unit.
    while base - 0.5 <= value.abs() && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let digits = if unit == 0 { format!("{value:.0}") } else { three_digits(value) };
    format!("{digits}{}", units[unit])
}

fn three_digits(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude < 9.995 {
        format!("{value:.2}")
    } else if magnitude < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}
