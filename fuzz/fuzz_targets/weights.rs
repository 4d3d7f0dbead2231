//! Any bytes are a checkpoint or an error; what it holds can be read as numbers.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use netc::weights::{Bytes, Checkpoint};

fuzz_target!(|bytes: &[u8]| {
    match Checkpoint::from_bytes(&Bytes::from(bytes.to_vec()), Path::new("fuzz.pth")) {
        Ok(checkpoint) => {
            for (_, tensor) in checkpoint.iter() {
                if tensor.len() <= 1 << 16 {
                    assert_eq!(tensor.to_f32().len(), tensor.len());
                }
            }
            assert!(checkpoint.non_finite().len() <= checkpoint.len());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
