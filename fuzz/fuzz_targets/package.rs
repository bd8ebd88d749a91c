#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    microgw_fuzz::package::run(data);
});
