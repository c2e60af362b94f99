//! Attributes parse or are refused; what parses keeps its digest when written and read again.
#![no_main]

use edgeseal_core::attributes::Attributes;
use edgeseal_core::json::{Limits, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = parse(data, Limits { max_bytes: 1 << 20, max_depth: 64 });
    let Ok(attributes) = Attributes::parse(data) else { return };
    let digest = attributes.digest();
    let written = serde_json::to_vec(&attributes).expect("attributes are JSON");
    // Writing may spell a number longer than it came; then the bound may refuse it.
    if let Ok(again) = Attributes::parse(&written) {
        assert_eq!(again.digest(), digest);
    }
});
