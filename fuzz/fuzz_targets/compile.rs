//! Any text compiles or is refused with messages that can be shown and fixes that can be applied.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| netc_fuzz::compile(bytes));
