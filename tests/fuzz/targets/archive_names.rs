#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| unfazed::tests::properties::archive_names(bytes));
