//! Any bytes are a model of ONNX or an error. What is read has two sources, with blocks and flat, that compile to the same
//! net. Mutations keep the message a message, so that a model as a start leads to others.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use netc::onnx::{ImportOptions, import_bytes};
use netc::{compile_text, outline, weights};
use netc_fuzz::messages::{Dice, changed};

/// Numbers that weights may have to be made in a run; what a file only describes may be more.
const MOST_NUMBERS: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let options = ImportOptions { without_weights: true, ..ImportOptions::default() };
    let imported = match import_bytes(bytes, &options) {
        Ok(imported) => imported,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let numbers = weights::parameters(&imported.net, &imported.shapes)
        .iter()
        .try_fold(0u64, |sum, parameter| {
            let size = parameter.spec.shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size))?;
            sum.checked_add(size)
        })
        .unwrap_or(u64::MAX);
    if numbers <= MOST_NUMBERS {
        let again = import_bytes(bytes, &ImportOptions::default()).expect("it was read without its weights");
        assert!(again.weights.len() <= numbers as usize);
    }
    for text in [imported.text(), imported.flat_text()] {
        let compiled = compile_text("model.net", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let difference = outline::difference(&imported.net, &compiled.net);
        assert!(difference.is_none(), "{difference:?}\n{text}");
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut dice = Dice(u64::from(seed));
    let mut bytes = |content: &[u8]| {
        let mut buffer = content.to_vec();
        buffer.resize(content.len() + 8, 0);
        let capacity = buffer.len();
        let size = fuzzer_mutate(&mut buffer, content.len(), capacity);
        buffer.truncate(size);
        buffer
    };
    let new = match dice.below(16) {
        0 => None,
        _ => changed(&data[..size], &mut dice, &mut bytes),
    };
    match new.filter(|new| new.len() <= max_size) {
        Some(new) => {
            data[..new.len()].copy_from_slice(&new);
            new.len()
        }
        None => fuzzer_mutate(data, size, max_size),
    }
});
